"""The hierarchical VAE: latent variables in groups, from one vector to feature maps, each given those above.

Sonderby et al. 2016, "Ladder Variational Autoencoders"; Child 2021, "Very Deep VAEs Generalize
Autoregressive Models and Can Outperform Them on Images", with the discretized logistic mixture of Salimans
et al. 2017 for pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from triptych.core import bits_per_dim as bits
from triptych.core.config import Settings
from triptych.core.errors import UsageError
from triptych.core.generative_model import GenerativeModel
from triptych.core.images import to_float
from triptych.core.lr_schedules import warmup_cosine
from triptych.core.objectives import Objective, StepContext
from triptych.core.rng import SamplerNoise
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec, LikelihoodQuery
from triptych.nets.ladder import Gaussian, LadderDecoder, LadderEncoder, Rung, TopDownBlock
from triptych.nets.likelihoods import LogisticMixture, mixture_channels


class HierarchicalVaeConfig(Settings):
    """Settings that are fixed when training starts."""

    width: int = Field(64, ge=8)
    """Channels of every feature map."""
    depth: int = Field(2, ge=1)
    """Groups of latent variables, and residual cells of the encoder, at each size; at 1 px there is one
    group."""
    latent: int = Field(8, ge=1)
    """Channels of each group of latent variables."""
    mixture: int = Field(5, ge=1)
    """Components of the logistic mixture that describes each pixel."""
    beta: float = Field(1.0, ge=0)
    """Weight of the KL term: 1 is the ELBO."""
    warmup: float = Field(0.1, ge=0, le=1)
    """Share of the run over which beta rises from 0."""
    free_bits: float = Field(0.0, ge=0)
    """Bits of each group that the KL term leaves free of charge, so that no group is given up early."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""


class HierarchicalVaeControls(Settings):
    """Settings that may change from sample to sample."""

    truncation: float = Field(1.0, ge=0)
    """Scale of the noise at every group: below 1 the images are more typical and less varied."""


class HierarchicalVae(GenerativeModel[HierarchicalVaeConfig, HierarchicalVaeControls]):
    """Maximize E_q[log p(x|z)] - sum over groups of KL(q(z_k|z_<k, x) || p(z_k|z_<k)) (Child 2021, eq. 3
    and 4).

    Both run top-down through the same blocks (Sonderby et al. 2016, section 2.3). With labels y all three
    depend on them.
    """

    Config, Controls = HierarchicalVaeConfig, HierarchicalVaeControls
    title = "Hierarchical VAE"
    ema_modules = ("decoder", "encoder")
    presets: ClassVar[dict[str, dict[str, Any]]] = {"fast": {}}
    log_help: ClassVar[dict[str, str]] = {
        "autoencoder/loss": "The negative ELBO in bits per dimension: lower is better; 8 is a model that "
        "knows nothing.",
        "autoencoder/distortion": "Bits per dimension to describe an image given its latent variables.",
        "autoencoder/rate": "Bits per dimension that the latent variables carry: near 0 means that they "
        "are not used (posterior collapse).",
        "autoencoder/active_groups": "Groups of latent variables that carry more than 0.01 bits each.",
    }
    likelihood_bounds = ("elbo", "iwae")

    def __init__(
        self,
        config: HierarchicalVaeConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        sizes = ladder_sizes(spec.size)
        groups = [
            Rung(size, config.latent)
            for size in reversed(sizes[1:] or sizes)
            for _ in range(1 if size == 1 else config.depth)
        ]
        self.noise_shape = (sum(group.numbers for group in groups),)
        self.conditional = spec.classes > 0
        self.encoder = LadderEncoder(spec.channels, sizes, config.width, config.depth)
        outputs = mixture_channels(spec.channels, config.mixture)
        self.decoder = LadderDecoder(groups, spec.size, config.width, outputs, spec.classes)
        self.dimensions = spec.channels * spec.size**2

    def objectives(self) -> list[Objective]:
        """One: encoder and decoder together."""
        adam = torch.optim.AdamW(
            self.parameters(), self.config.lr, (0.9, 0.95), weight_decay=0.01, fused=True
        )
        return [Objective("autoencoder", adam, self.loss, max_grad_norm=1.0, lr_schedule=warmup_cosine)]

    def loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The negative ELBO in bits per dimension, with beta and free bits.

        Args:
            batch: Images, (B, C, H, W) in [-1, 1], and labels, (B,) int64 or None.
            context: Of the step: its progress, and the draws of the latent variables.

        Returns:
            The loss, and values to log.
        """
        noise = context.randn(*self.noise_shape)
        mixture, kls = self.pass_through(batch.images, self.labels(batch.labels), noise)
        unit = math.log(2) * self.dimensions
        reconstruction = -mixture.log_prob(batch.images).flatten(1).sum(1).mean() / unit
        each = torch.stack([kl.mean() for kl in kls])  # (groups,) nats
        charged = each.clamp(min=self.config.free_bits * math.log(2)).sum() / unit
        beta = self.config.beta * (
            min(1.0, context.progress / self.config.warmup) if self.config.warmup else 1.0
        )
        logged = {
            "distortion": reconstruction,
            "rate": each.sum() / unit,
            "active_groups": (each > 0.01 * math.log(2)).sum().float(),
        }
        return reconstruction + beta * charged, {name: value.detach() for name, value in logged.items()}

    def labels(self, labels: Tensor | None) -> Tensor | None:
        """The labels that the decoder is told; None for an unconditional model. UsageError where one is
        missing."""
        if not self.conditional:
            return None
        if labels is None:
            raise UsageError(
                "this VAE was trained with labels and knows no image without one: give the labels"
            )
        return labels

    def split(self, noise: Tensor) -> list[Tensor]:
        """(B, *noise_shape) -> one (B, channels, size, size) a group, from the top."""
        groups = self.decoder.rungs
        parts = noise.split([group.numbers for group in groups], dim=1)
        return [part.view(-1, g.channels, g.size, g.size) for part, g in zip(parts, groups, strict=True)]

    def pass_through(
        self, images: Tensor, labels: Tensor | None, noise: Tensor
    ) -> tuple[LogisticMixture, list[Tensor]]:
        """Encode images, draw each group from its posterior and decode.

        Args:
            images: (B, C, H, W) in [-1, 1].
            labels: (B,) int64, or None.
            noise: (B, *noise_shape) standard normal: the draws.

        Returns:
            The distribution of the pixels, and the KL divergence of each group in nats, (B,) each.
        """
        maps, draws, kls = self.encoder(images), self.split(noise), []

        def choose(number: int, block: TopDownBlock, prior: Gaussian, x: Tensor) -> Tensor:
            posterior = block.posteriors(x, maps[x.shape[-1]])
            kls.append(posterior.kl(prior))
            return posterior.at(draws[number])

        return self.mixture_of(self.decoder(len(images), labels, choose)), kls

    def mixture_of(self, output: Tensor) -> LogisticMixture:
        """The distribution of the pixels that the decoder's output stands for."""
        output = output if output.dtype == torch.float64 else output.float()
        return LogisticMixture.of(output, self.spec.channels, self.config.mixture)

    def generate(
        self,
        noise: Tensor,
        condition: Condition,
        controls: HierarchicalVaeControls,
        seeds: Sequence[int],
    ) -> Iterator[GenerationStep]:
        """One step: every group from its prior, then the mean of the pixels' mixture: the mode has specks."""
        scaled = noise * controls.truncation
        labels = self.labels(condition.labels)

        def decode() -> Tensor:
            draws = self.split(scaled)
            return self.mixture_of(
                self.decoder(len(noise), labels, lambda k, _, prior, x: prior.at(draws[k]))
            ).mean()

        yield GenerationStep(1, 1, scaled, decode)

    def invert(
        self, images: Tensor, condition: Condition, controls: HierarchicalVaeControls, seeds: Sequence[int]
    ) -> Tensor:
        """The posterior means, each as the noise of its prior: (B, *noise_shape)."""
        maps, noise = self.encoder(images), []

        def choose(number: int, block: TopDownBlock, prior: Gaussian, x: Tensor) -> Tensor:
            mean = block.posteriors(x, maps[x.shape[-1]]).mean
            noise.append(((mean - prior.mean) * (-prior.log_std).exp()).flatten(1))
            return mean

        self.decoder(len(images), self.labels(condition.labels), choose)
        return torch.cat(noise, dim=1)

    def bits_per_dim(self, query: LikelihoodQuery) -> Tensor:
        """The ELBO, or the importance-weighted bound of Burda et al. 2016, eq. 8, with k = draws.

        A label that is not given is summed out, each class alike.
        """
        if not self.conditional or query.condition.labels is not None:
            nats = self.nats(query, query.condition.labels)
        else:
            classes = range(self.spec.classes)
            labels = [torch.full((len(query.pixels),), y, device=query.pixels.device) for y in classes]
            each = torch.stack([self.nats(query, y) for y in labels])  # (classes, B)
            nats = math.log(self.spec.classes) - (-each).logsumexp(0)
        return bits.nats_to_bits_per_dim(nats, query.pixels.shape[1:], query.box)

    def nats(self, query: LikelihoodQuery, labels: Tensor | None) -> Tensor:
        """A bound on -log P(x|y).

        Args:
            query: Images, the bound, the number of draws and their seeds.
            labels: (B,) int64, or None.

        Returns:
            (B,) nats, float64 on the CPU.
        """
        images = to_float(query.pixels)
        draws = SamplerNoise(query.seeds, "bound")
        like = torch.empty(len(images), *self.noise_shape, device=images.device)
        log_weights = torch.stack(
            [self.log_weight(query, images, labels, draws.randn_like(like)) for _ in range(query.draws)]
        )  # (draws, B)
        if query.bound == "elbo":
            return -log_weights.mean(0)
        return math.log(query.draws) - log_weights.logsumexp(0)

    def log_weight(
        self, query: LikelihoodQuery, images: Tensor, labels: Tensor | None, noise: Tensor
    ) -> Tensor:
        """log P(x|z) + log p(z) - log q(z|x) for one draw of all groups.

        Args:
            query: For its box.
            images: (B, C, H, W) in [-1, 1].
            labels: (B,) int64, or None.
            noise: (B, *noise_shape) standard normal: the draw.

        Returns:
            (B,) nats, float64 on the CPU.
        """
        maps, draws, ratios = self.encoder(images), self.split(noise), []

        def choose(number: int, block: TopDownBlock, prior: Gaussian, x: Tensor) -> Tensor:
            posterior, eps = block.posteriors(x, maps[x.shape[-1]]), draws[number]
            latent = posterior.at(eps)
            under_prior = (latent - prior.mean) * (-prior.log_std).exp()
            ratio = posterior.log_std - prior.log_std + 0.5 * (eps.square() - under_prior.square())
            ratios.append(ratio.flatten(1).double().sum(1))
            return latent

        mixture = self.mixture_of(self.decoder(len(images), labels, choose).double())
        pixels = bits.crop(mixture.log_prob(images.double())[:, None], query.box).flatten(1).sum(1)
        return (pixels + torch.stack(ratios).sum(0)).cpu()


def ladder_sizes(size: int) -> list[int]:
    """Sides of the feature maps, from the image's on: halved while even and above 4 px, then 1 px."""
    sizes = [size]
    while sizes[-1] % 2 == 0 and sizes[-1] > 4:
        sizes.append(sizes[-1] // 2)
    return [*sizes, 1] if sizes[-1] > 1 else sizes
