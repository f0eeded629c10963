"""The variational autoencoder: an encoder to latent distributions, a decoder back to images.

Kingma and Welling 2013; conditional as in Sohn, Lee and Yan 2015; with the decoder's noise level learned
(Rybkin, Daniilidis and Levine 2021) and, unless the textbook's N(0, I) is asked for, the prior too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from triptych.core.bits_per_dim import crop, nats_to_bits_per_dim
from triptych.core.config import Settings
from triptych.core.errors import UsageError
from triptych.core.generative_model import GenerativeModel
from triptych.core.images import to_float
from triptych.core.lr_schedules import warmup_cosine
from triptych.core.objectives import Objective, StepContext
from triptych.core.rng import SamplerNoise
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec, LikelihoodQuery
from triptych.models._likelihoods import (
    LIKELIHOODS,
    GaussianLikelihood,
    LikelihoodSettings,
    LogisticLikelihood,
    binarize,
)
from triptych.nets import autoencoder as nets
from triptych.nets.realnvp import RealNVP


class VaeConfig(Settings):
    """What is fixed when training starts."""

    former_names = MappingProxyType({"rate": "lr", "warmup": "kl_warmup"})

    latent: int = Field(16, ge=1)
    """Dimensions of the latent space; with 2 it can be drawn as a map."""
    width: int = Field(32, ge=1)
    """Channels of the layers nearest the image."""
    prior: Literal["normal", "flow"] = "flow"
    """Distribution of latent vectors: N(0, I), or N(0, I) sent through a normalizing flow learned jointly.

    The flow closes the holes of the normal prior: regions to which no image is encoded but from which
    samples are drawn all the same (Chen et al. 2017; Dai and Wipf 2019). The ELBO stays a bound.
    """
    likelihood: LikelihoodSettings = GaussianLikelihood()
    """Distribution of pixels given the latent vector; bernoulli: of gray images, binarized at every step."""
    importance_samples: int = Field(1, ge=1)
    """Latent samples k per image: 1 trains the ELBO, more the tighter importance-weighted bound."""
    free_bits: float = Field(0.0, ge=0)
    """Nats per latent dimension that the KL term lets pass for free, against posterior collapse."""
    beta: float = Field(1.0, ge=0)
    """Weight of the KL term: 1 is the ELBO; more gives a more regular latent space and blurrier images."""
    kl_warmup: float = Field(0.1, ge=0, le=1)
    """Share of the run over which beta rises from 0, so that the latent space is used before it costs."""
    lr: float = Field(2e-3, gt=0)
    """Peak learning rate."""

    @model_validator(mode="after")
    def check_free_bits(self) -> VaeConfig:
        """Refuse free bits where the loss has no KL term per dimension."""
        if self.free_bits and (self.prior != "normal" or self.importance_samples > 1):
            raise ValueError(
                "--free-bits needs --prior normal and --importance-samples 1: only then has the loss a KL "
                "term for each latent dimension"
            )
        return self


class VaeControls(Settings):
    """What may be chosen when sampling."""

    truncation: float = Field(1.0, ge=0)
    """Scale of the latent vector: below 1 the images are more typical and less diverse."""


ACTIVE = 0.01  # variance of a dimension's posterior means over images, above which it counts as active


class Vae(GenerativeModel[VaeConfig, VaeControls]):
    """Maximizes E_q[log p(x|z)] - beta KL(q(z|x) || p(z)) (Kingma and Welling 2013, eq. 3).

    With several importance samples, the tighter bound of Burda, Grosse and Salakhutdinov 2016, eq. 8.

    Trained with labels y, all three depend on them: p(x|z, y), q(z|x, y), and with a flow p(z|y) (Sohn, Lee
    and Yan 2015).
    """

    Config, Controls = VaeConfig, VaeControls
    title = "VAE"
    accent_color = 1
    ema_modules = ("decoder", "encoder", "flow", "log_scale", "label_offset")
    channels_last = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {},
        "map": {"latent": 2, "conditional": False},  # a latent space that `steer map` shows whole
    }
    log_help: ClassVar[dict[str, str]] = {
        "autoencoder/loss": "The negative ELBO in nats per image (a density may exceed 1, so it may fall "
        "below 0): lower is better, and it should fall smoothly.",
        "autoencoder/reconstruction": "Distortion: nats per image given its latent vector; falls as "
        "reconstructions sharpen.",
        "autoencoder/kl": "Rate: nats that the latent vector carries about the image; near 0 means that the "
        "latent space is not used (posterior collapse).",
        "autoencoder/active_units": "Latent dimensions that depend on the image (variance of their posterior "
        "means over the batch above 0.01): the others have collapsed onto the prior.",
        "autoencoder/scale": "Standard deviation of the decoder's Gaussian, images in [-1, 1]: what it "
        "cannot explain.",
    }
    likelihood_bounds = ("elbo", "iwae")

    def __init__(
        self,
        config: VaeConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        self.noise_shape = (config.latent,)
        self.encoder = nets.encoder(spec, 2 * config.latent, config.width)
        self.conditional = spec.classes > 0
        self.decoder = nets.decoder(spec, config.latent + spec.classes, config.width)
        self.flow = RealNVP(config.latent, 6 if config.prior == "flow" else 0, condition=spec.classes)
        self.likelihood = LIKELIHOODS[config.likelihood.kind]
        self.binary = config.likelihood.kind == "bernoulli"
        if self.binary:
            if spec.channels != 1:
                raise UsageError("--likelihood bernoulli needs gray images: add --color gray")
            self.decoder = nn.Sequential(*list(self.decoder)[:-1])  # logits: no tanh
            self.likelihood_bounds = ("binarized-elbo", "binarized-iwae")  # never compared with 8-bit ones
        self.log_scale: Tensor | None = None  # of the decoder's distribution
        if isinstance(config.likelihood, GaussianLikelihood | LogisticLikelihood):
            self._add_scale(config.likelihood.scale)
        # The encoder sees the label as an offset to its first feature maps: what a convolution would make of
        # one constant input plane per class, except at the borders, without the cost of the planes.
        self.label_offset = nn.Linear(spec.classes, config.width, bias=False) if self.conditional else None

    def _add_scale(self, scale: float | None) -> None:
        del self.log_scale
        if scale is None:
            self.log_scale = nn.Parameter(torch.tensor(math.log(0.5)))
        else:
            self.register_buffer("log_scale", torch.tensor(math.log(scale)))

    def objectives(self) -> list[Objective]:
        """One objective, for encoder and decoder together."""
        adam = torch.optim.Adam(self.parameters(), self.config.lr, fused=True)
        return [
            Objective("autoencoder", adam, self.loss, max_grad_norm=self.clip_norm, lr_schedule=warmup_cosine)
        ]

    clip_norm = 1e4  # the loss is summed over pixels: only the first few steps come near it

    def one_hot(self, labels: Tensor | None) -> Tensor | None:
        """Encode labels for the networks.

        Args:
            labels: (B,) int64.

        Returns:
            (B, classes) float32; None for an unconditional VAE.

        Raises:
            UsageError: when a conditional VAE is given no labels.
        """
        if not self.conditional:
            return None
        if labels is None:
            raise UsageError(
                "this VAE was trained with labels and needs one for every image: give the images' labels"
            )
        return F.one_hot(labels, self.spec.classes).float()

    def posterior(self, images: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """The parameters of q(z|x, y).

        Args:
            images: (B, C, H, W) in [-1, 1].
            label: (B, classes) from `one_hot`, or None.

        Returns:
            Mean and log of the standard deviation, (B, latent) each.
        """
        if self.label_offset is None:
            parameters = self.encoder(images)  # (B, 2 * latent)
        else:
            offset = self.label_offset(label)[:, :, None, None]  # (B, width, 1, 1)
            parameters = self.encoder[1:](self.encoder[0](images) + offset)
        mean, log_std = parameters.float().chunk(2, dim=1)
        return mean, log_std.clamp(-7, 2)

    def decoder_outputs(self, latent: Tensor, label: Tensor | None) -> Tensor:
        """The parameters of p(x|z, y): mean images in [-1, 1], or logits where pixels are binary.

        Args:
            latent: (B, latent).
            label: (B, classes) from `one_hot`, or None.

        Returns:
            (B, C, H, W) float32.
        """
        code = latent if label is None else torch.cat([latent, label], dim=1)  # (B, latent + classes)
        return self.decoder(code).float()

    def decode(self, latent: Tensor, label: Tensor | None) -> Tensor:
        """The mean of p(x|z, y).

        Args:
            latent: (B, latent).
            label: (B, classes) from `one_hot`, or None.

        Returns:
            Images, (B, C, H, W) in [-1, 1].
        """
        return self.likelihood.mean(self.decoder_outputs(latent, label))

    def loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative ELBO, or importance-weighted bound: reconstruction plus beta times KL.

        Args:
            batch: images, (B, C, H, W) in [-1, 1], and labels, (B,) int64 or None.
            context: of the step; gives the noise of the latents and the progress of the KL warm-up.

        Returns:
            The mean over the batch, in nats per image, and its parts to log.
        """
        k = self.config.importance_samples
        images, label = batch.images, self.one_hot(batch.labels)
        noise = context.randn(k, *self.noise_shape)  # (B, k, latent)
        if self.binary:
            images = binarize(images, context.rand(*images.shape[1:]))
        mean, log_std = self.posterior(images, label)
        warmup = min(1.0, context.progress / self.config.kl_warmup) if self.config.kl_warmup else 1.0
        beta = self.config.beta * warmup
        if k == 1:
            latent = mean + log_std.exp() * noise[:, 0]  # the reparameterization trick
            reconstruction = self.reconstruction_nats(images, self.decoder_outputs(latent, label)).mean()
            kl = self.kl(mean, log_std, latent, label).mean()
            penalty = kl
            if self.config.free_bits:  # of each dimension's mean over the batch (Kingma et al. 2016)
                penalty = kl_by_dimension(mean, log_std).mean(0).clamp(min=self.config.free_bits).sum()
            loss = reconstruction + beta * penalty
        else:
            loss, reconstruction, kl = self._importance_weighted(images, label, mean, log_std, noise, beta)
        active = (mean.detach().var(0, correction=0) > ACTIVE).sum().float()
        logged = {"reconstruction": reconstruction, "kl": kl, "active_units": active}
        if self.log_scale is not None:
            logged["scale"] = self.log_scale.exp()
        return loss, {name: value.detach() for name, value in logged.items()}

    def _importance_weighted(
        self,
        images: Tensor,
        label: Tensor | None,
        mean: Tensor,
        log_std: Tensor,
        noise: Tensor,
        beta: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-log mean_k w_k, w = p(x|z) (p(z) / q(z|x))^beta; and the means of reconstruction and KL: () each.

        noise: (B, k, latent).
        """
        k = noise.shape[1]
        latent = (mean[:, None] + log_std.exp()[:, None] * noise).flatten(0, 1)  # (B k, latent)
        images, log_std = images.repeat_interleave(k, 0), log_std.repeat_interleave(k, 0)
        label = None if label is None else label.repeat_interleave(k, 0)
        reconstruction = self.reconstruction_nats(images, self.decoder_outputs(latent, label))  # (B k,)
        log_ratio = self._log_prior_ratio(latent, label, log_std, noise.flatten(0, 1))  # (B k,)
        log_weights = (beta * log_ratio - reconstruction).view(-1, k)
        loss = math.log(k) - log_weights.logsumexp(1).mean()
        return loss, reconstruction.mean(), -log_ratio.mean()

    def kl(self, mean: Tensor, log_std: Tensor, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """KL(q(z|x, y) || p(z|y)): in closed form for a normal prior, estimated from the latent for a flow.

        Args:
            mean: of q, (B, latent).
            log_std: of q, (B, latent).
            latent: a sample of q, (B, latent).
            label: (B, classes) from `one_hot`, or None.

        Returns:
            (B,), in nats.
        """
        if self.config.prior == "normal":
            return kl_by_dimension(mean, log_std).sum(1)
        with torch.autocast(latent.device.type, enabled=False):
            noise, log_det = self.flow.inverse(latent, label)
        cross_entropy = (0.5 * noise.square() + 0.5 * math.log(math.tau)).sum(1) - log_det
        return cross_entropy - (log_std + 0.5 * math.log(math.tau * math.e)).sum(1)

    def reconstruction_nats(self, images: Tensor, outputs: Tensor) -> Tensor:
        """-log p(x|z), summed over an image's pixels.

        Args:
            images: (B, C, H, W) in [-1, 1]; each -1 or 1 where pixels are binary.
            outputs: from `decoder_outputs`, (B, C, H, W).

        Returns:
            (B,), in nats.
        """
        return self.likelihood.nats(images, outputs, self.log_scale)

    def _log_prior_ratio(
        self, latent: Tensor, label: Tensor | None, log_std: Tensor, noise: Tensor
    ) -> Tensor:
        """log p(z|y) - log q(z|x, y) at z = mean + std noise: (B,), in nats.

        The entropy of q is not put in closed form: its noise is shared by the other terms of an importance
        weight, and where q is the true posterior all of it cancels.
        """
        with torch.autocast(latent.device.type, enabled=False):
            source, log_det = self.flow.inverse(latent, label)
        log_prior = log_det - 0.5 * source.square().sum(1)
        log_posterior = -log_std.sum(1) - 0.5 * noise.square().sum(1)
        return log_prior - log_posterior  # both lack the same multiple of log 2 pi

    def generate(
        self, noise: Tensor, condition: Condition, controls: VaeControls, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """Yields once: the decoder's mean image."""
        latent, label = noise * controls.truncation, self.one_hot(condition.labels)
        yield GenerationStep(1, 1, latent, lambda: self.decode(self.flow(latent, label), label))

    def invert(
        self, images: Tensor, condition: Condition, controls: VaeControls, seeds: Sequence[int]
    ) -> Tensor:
        """The mean of q(z|x, y), sent backwards through the flow if there is one: (B, latent)."""
        label = self.one_hot(condition.labels)
        noise, _ = self.flow.inverse(self.posterior(images, label)[0], label)
        return noise

    def first_layer_weight(self) -> Tensor | None:
        """(channels * 16, latent): the decoder's first layer, without the label's; None with a flow."""
        first = self.decoder[0]
        assert isinstance(first, nn.Linear)
        return first.weight[:, : self.config.latent].detach() if self.config.prior == "normal" else None

    def bits_per_dim(self, query: LikelihoodQuery) -> Tensor:
        """The ELBO, or the tighter importance-weighted bound (Burda et al. 2016, eq. 8) with k = draws.

        Both from the same latents z_1..z_k of q(z|x): the mean of log p(x, z) - log q(z|x), or the log of
        the mean of its exponential. A Bernoulli likelihood bounds images binarized once, by their seeds, and
        names its bounds so. Pixels outside the box are marginalized exactly. A label that is not
        given is summed out, each class alike: log p(x) >= log mean_y exp(bound of log p(x|y)).
        """
        pixels = query.pixels
        if not self.conditional or query.condition.labels is not None:
            nats = self._nats(query, query.condition.labels)
        else:
            classes = torch.arange(self.spec.classes, device=pixels.device)[:, None].expand(-1, len(pixels))
            by_class = torch.stack([self._nats(query, y) for y in classes])  # (classes, B)
            nats = math.log(self.spec.classes) - (-by_class).logsumexp(0)  # (B,)
        return nats_to_bits_per_dim(nats, pixels.shape[1:], query.box)

    def _nats(self, query: LikelihoodQuery, labels: Tensor | None) -> Tensor:
        """A bound on -log P(x|y) with these labels, (B,) int64: (B,) float64 on the CPU, in nats."""
        label = self.one_hot(labels)
        if self.binary:
            images = to_float(query.pixels)
            binary = binarize(
                images, torch.special.ndtr(SamplerNoise(query.seeds, "binarize").randn_like(images))
            )
            query = replace(query, pixels=(255 * (binary > 0)).to(torch.uint8).permute(0, 2, 3, 1))
        mean, log_std = self.posterior(to_float(query.pixels), label)
        noise = SamplerNoise(query.seeds, "bound")
        weights = torch.stack(
            [
                self._log_weight(query, label, mean, log_std, noise.randn_like(mean))
                for _ in range(query.draws)
            ]
        )  # (draws, B)
        if query.bound.endswith("elbo"):
            return -weights.mean(0)
        return math.log(query.draws) - weights.logsumexp(0)

    def _log_weight(
        self,
        query: LikelihoodQuery,
        label: Tensor | None,
        mean: Tensor,
        log_std: Tensor,
        noise: Tensor,
    ) -> Tensor:
        """log P(x|z, y) + log p(z|y) - log q(z|x, y) at z = mean + std noise: (B,) float64, CPU, in nats.

        P(x|z, y) is the probability of the stored values within the box: 8-bit levels, or binary pixels.
        """
        latent = mean + log_std.exp() * noise
        outputs = self.decoder_outputs(latent, label)
        log_likelihood = self.likelihood.log_prob(query.pixels, outputs, self.log_scale)  # (B, C, H, W)
        log_likelihood = crop(log_likelihood, query.box).flatten(1).sum(1)  # (B,)
        return log_likelihood + self._log_prior_ratio(latent, label, log_std, noise).cpu().double()


def kl_by_dimension(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)) of each latent dimension.

    Args:
        mean: (B, latent).
        log_std: (B, latent).

    Returns:
        (B, latent), in nats; the KL of the vectors is the sum over dimensions.

    References:
        Kingma and Welling 2013, appendix B.
    """
    return 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std)
