"""The variational autoencoder: pictures to latent distributions and back.

Kingma and Welling 2013, conditional as in Sohn, Lee and Yan 2015, with the decoder's noise level learnt
(Rybkin, Daniilidis and Levine 2021) and, unless the textbook's N(0, I) is asked for, the prior too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from triptych.core.bits_per_dim import crop, discretized_gaussian_log_likelihood, nats_to_bits_per_dim
from triptych.core.config import Settings
from triptych.core.errors import UsageError
from triptych.core.generative_model import GenerativeModel
from triptych.core.images import to_float
from triptych.core.lr_schedules import warmup_cosine
from triptych.core.objectives import Objective, StepContext
from triptych.core.rng import SamplerNoise
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec, LikelihoodQuery
from triptych.nets import autoencoder as nets
from triptych.nets.realnvp import RealNVP


class VaeConfig(Settings):
    """What is fixed when training starts."""

    former_names = MappingProxyType({"rate": "lr"})

    latent: int = Field(16, ge=1)
    """Numbers in one latent vector; 2 gives a latent space that can be drawn as a map."""
    width: int = Field(32, ge=1)
    """Channels of the layers nearest the picture."""
    prior: Literal["normal", "flow"] = "flow"
    """Where latent vectors come from: N(0, I), or noise sent through a flow that learns along.

    The flow mends the holes of the normal prior: places that no picture is encoded to but that are
    drawn all the same (Chen et al. 2017; Dai and Wipf 2019). The ELBO stays a bound.
    """
    beta: float = Field(1.0, ge=0)
    """Weight of the KL term: 1 is the ELBO; more gives a tidier latent space and blurrier pictures."""
    warmup: float = Field(0.1, ge=0, le=1)
    """Share of the run over which beta rises from 0, so that the latent space is used before it is priced."""
    lr: float = Field(2e-3, gt=0)
    """Peak learning rate."""


class VaeControls(Settings):
    """What may be chosen when sampling."""

    truncation: float = Field(1.0, ge=0)
    """Scale of the latent vector: below 1 the pictures are more typical and less varied."""


class Vae(GenerativeModel[VaeConfig, VaeControls]):
    """Maximises E_q[log p(x|z)] - beta KL(q(z|x) || p(z)) (Kingma and Welling 2013, eq. 3).

    Where it is told labels y all three depend on them: p(x|z, y), q(z|x, y), and with a flow p(z|y)
    (Sohn et al. 2015).
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
        "autoencoder/loss": "The negative ELBO in nats a picture (its density may exceed 1, so it may fall "
        "below 0): lower is better, and it should fall smoothly.",
        "autoencoder/reconstruction": "Nats to describe a picture given its latent vector: falls as "
        "reconstructions sharpen.",
        "autoencoder/kl": "Nats the latent vector carries about the picture: near 0 means that the latent "
        "space is not used (posterior collapse).",
        "autoencoder/scale": "The decoder's own noise, in units of [-1, 1]: what it cannot explain.",
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
        self.log_scale = nn.Parameter(torch.tensor(math.log(0.5)))  # of the decoder's Gaussian
        # what a convolution makes of one constant plane a class, but at the borders: the label costs nothing
        self.label_offset = nn.Linear(spec.classes, config.width, bias=False) if self.conditional else None

    def objectives(self) -> list[Objective]:
        """One player: encoder and decoder pull together."""
        adam = torch.optim.Adam(self.parameters(), self.config.lr, fused=True)
        return [
            Objective("autoencoder", adam, self.loss, max_grad_norm=self.clip_norm, lr_schedule=warmup_cosine)
        ]

    clip_norm = 1e4  # the loss is summed over pixels: only the first few steps come near it

    def one_hot(self, labels: Tensor | None) -> Tensor | None:
        """(B,) int64 -> (B, classes) float32; None for an unconditional VAE. UsageError without labels."""
        if not self.conditional:
            return None
        if labels is None:
            raise UsageError(
                "this VAE was trained with labels and knows no image without one: give the images' labels"
            )
        return F.one_hot(labels, self.spec.classes).float()

    def posterior(self, images: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """q(z|x, y): mean and log of the standard deviation, (B, latent) each.

        images: (B, C, H, W). label: (B, classes) as `one_hot` makes it.
        """
        if self.label_offset is None:
            found = self.encoder(images)  # (B, 2 * latent)
        else:
            seen = (
                self.encoder[0](images) + self.label_offset(label)[:, :, None, None]
            )  # (B, width, H/2, W/2)
            found = self.encoder[1:](seen)
        mean, log_std = found.float().chunk(2, dim=1)
        return mean, log_std.clamp(-7, 2)

    def decode(self, latent: Tensor, label: Tensor | None) -> Tensor:
        """The mean of p(x|z, y), (B, C, H, W). latent: (B, latent), label: as `one_hot` makes it."""
        code = latent if label is None else torch.cat([latent, label], dim=1)  # (B, latent + classes)
        return self.decoder(code).float()

    def loss(self, batch: Batch, turn: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative ELBO in nats a picture: reconstruction plus beta times KL, summed over pixels."""
        label = self.one_hot(batch.labels)
        mean, log_std = self.posterior(batch.images, label)
        latent = mean + log_std.exp() * turn.randn(*self.noise_shape)  # the reparameterisation trick
        reconstruction = self.gaussian_nats(batch.images, self.decode(latent, label)).mean()
        kl = self.kl(mean, log_std, latent, label).mean()
        beta = self.config.beta * (
            min(1.0, turn.progress / self.config.warmup) if self.config.warmup else 1.0
        )
        seen = {"reconstruction": reconstruction, "kl": kl, "scale": self.log_scale.exp()}
        return reconstruction + beta * kl, {name: value.detach() for name, value in seen.items()}

    def kl(self, mean: Tensor, log_std: Tensor, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """KL(q(z|x, y) || p(z|y)) in nats, (B,): in closed form, or under a flow from the latent drawn."""
        if self.config.prior == "normal":
            return kl_to_standard_normal(mean, log_std)
        with torch.autocast(latent.device.type, enabled=False):
            noise, log_det = self.flow.inverse(latent, label)
        cross_entropy = (0.5 * noise.square() + 0.5 * math.log(math.tau)).sum(1) - log_det
        return cross_entropy - (log_std + 0.5 * math.log(math.tau * math.e)).sum(1)

    def gaussian_nats(self, images: Tensor, means: Tensor) -> Tensor:
        """-log N(x; mean, scale^2) summed over a picture's pixels: (B,)."""
        error = (images - means) * (-self.log_scale).exp()
        return (0.5 * error.square() + self.log_scale + 0.5 * math.log(math.tau)).flatten(1).sum(1)

    def generate(
        self, noise: Tensor, condition: Condition, controls: VaeControls, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """One frame: the decoder's mean picture."""
        latent, label = noise * controls.truncation, self.one_hot(condition.labels)
        yield GenerationStep(1, 1, latent, lambda: self.decode(self.flow(latent, label), label))

    def invert(
        self, images: Tensor, condition: Condition, controls: VaeControls, seeds: Sequence[int]
    ) -> Tensor:
        """The mean of q(z|x, y), back through the flow if there is one: (B, latent)."""
        label = self.one_hot(condition.labels)
        noise, _ = self.flow.inverse(self.posterior(images, label)[0], label)
        return noise

    def first_layer_weight(self) -> Tensor | None:
        """(channels * 16, latent): the decoder's first layer; None where a flow stands before it.

        Weights beyond `latent` read the label and are left out.
        """
        first = self.decoder[0]
        assert isinstance(first, nn.Linear)
        return first.weight[:, : self.config.latent].detach() if self.config.prior == "normal" else None

    def bits_per_dim(self, query: LikelihoodQuery) -> Tensor:
        """The ELBO, or the tighter importance-weighted bound (Burda et al. 2016, eq. 8) with k = draws.

        Both from the same latents z_1..z_k of q(z|x): the mean of log p(x, z) - log q(z|x), or the log of
        the mean of its exponential. Pixels that do not count are marginalised exactly. A label that is not
        given is summed out, each class alike: log p(x) >= log mean_y exp(bound of log p(x|y)).
        """
        pixels = query.pixels
        if not self.conditional or query.condition.labels is not None:
            nats = self.nats(query, query.condition.labels)
        else:
            classes = torch.arange(self.spec.classes, device=pixels.device)[:, None].expand(-1, len(pixels))
            each = torch.stack([self.nats(query, y) for y in classes])
            nats = math.log(self.spec.classes) - (-each).logsumexp(0)  # (classes, B) -> (B,)
        return nats_to_bits_per_dim(nats, pixels.shape[1:], query.box)

    def nats(self, query: LikelihoodQuery, labels: Tensor | None) -> Tensor:
        """A bound on -log P(x|y) in nats, (B,) float64 on the CPU; see `bits_per_dim`."""
        label = self.one_hot(labels)
        mean, log_std = self.posterior(to_float(query.pixels), label)
        noise = SamplerNoise(query.seeds, "bound")
        weights = torch.stack(
            [self.log_weight(query, label, mean, log_std, noise.randn_like(mean)) for _ in range(query.draws)]
        )  # (draws, B)
        return -weights.mean(0) if query.bound == "elbo" else math.log(query.draws) - weights.logsumexp(0)

    def log_weight(
        self,
        query: LikelihoodQuery,
        label: Tensor | None,
        mean: Tensor,
        log_std: Tensor,
        noise: Tensor,
    ) -> Tensor:
        """log P(x|z, y) + log p(z|y) - log q(z|x, y) at z = mean + std noise, in nats: (B,) float64, CPU.

        P(x|z, y) is of the counted gray levels. The entropy of q is not put in closed form: its noise is
        the other terms' too, and where q is the true posterior all of it cancels.
        """
        latent = mean + log_std.exp() * noise
        picture = self.decode(latent, label)
        of_pixels = discretized_gaussian_log_likelihood(query.pixels, picture, self.log_scale.exp())
        seen = crop(of_pixels, query.box).flatten(1).sum(1)
        source, log_det = self.flow.inverse(latent, label)
        prior = log_det - 0.5 * source.square().sum(1)
        posterior = -log_std.sum(1) - 0.5 * noise.square().sum(1)
        return seen + (prior - posterior).cpu().double()  # both lack the same multiple of log 2 pi


def kl_to_standard_normal(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, I)) in nats, (B,) (Kingma and Welling 2013, appendix B)."""
    return 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1)
