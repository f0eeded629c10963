"""The first stage of latent diffusion: an autoencoder that makes images small and hardly loses anything.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", section 3.1 and
appendix G: a Gaussian latent under a very small KL weight; or finite scalar quantization (Mentzer et al.
2023).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from triptych.core.config import Settings
from triptych.core.errors import UsageError
from triptych.core.generative_model import GenerativeModel
from triptych.core.lr_schedules import warmup_cosine
from triptych.core.objectives import Objective, StepContext
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec
from triptych.nets.autoencoder_kl import Decoder, Encoder
from triptych.nets.finite_scalar import FiniteScalarQuantizer
from triptych.nets.patch_discriminator import PatchDiscriminator

WIDTHS = (1, 2, 2, 4)  # channels at each resolution, in multiples of `width`


class KlLatent(Settings):
    """A Gaussian latent, held near N(0, I) by a small weight."""

    kind: Literal["kl"] = "kl"
    channels: int = Field(4, ge=1)
    """Channels of the latent."""
    weight: float = Field(1e-6, ge=0)
    """Weight of the KL term against the absolute error, both summed over an image."""


class FsqLatent(Settings):
    """A discrete latent: each channel rounded to a few levels."""

    kind: Literal["fsq"] = "fsq"
    levels: tuple[int, ...] = (8, 5, 5, 5)
    """Number of levels of each latent channel; their product is the number of codes."""


class AutoencoderConfig(Settings):
    """Settings that are fixed when training starts."""

    down: Literal[2, 4, 8] = 4
    """How many times smaller the latent's side is than the image's."""
    latent: Annotated[KlLatent | FsqLatent, Field(discriminator="kind")] = KlLatent()
    """What the latent is: Gaussian (kl) or quantized (fsq)."""
    width: int = Field(32, ge=32, multiple_of=32)
    """Channels at the image's resolution; a multiple of 32, the groups of each norm."""
    blocks: int = Field(1, ge=1)
    """Residual blocks at each resolution."""
    adversarial: float = Field(0.0, ge=0)
    """Weight of a patch discriminator's verdict: above 0, reconstructions are sharper and training is
    slower."""
    adversarial_start: float = Field(0.5, ge=0, lt=1)
    """Share of the run after which that verdict counts."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""


class AutoencoderControls(Settings):
    """Settings that may change from sample to sample."""

    truncation: float = Field(1.0, ge=0)
    """Scale of the noise that stands in for a latent."""


class Autoencoder(GenerativeModel[AutoencoderConfig, AutoencoderControls]):
    """Minimize |x - decode(encode(x))| with a latent that is cheap to model.

    It has no prior of its own. What `sample` draws is the decoder's image of Gaussian noise with the mean
    and standard deviation that each latent channel has on training images: noise of the right scale but
    without structure, and so no image. A `latent_diffusion` model learns the structure.
    """

    Config, Controls = AutoencoderConfig, AutoencoderControls
    title = "Autoencoder"
    ema_modules = ("encoder", "decoder", "quant_conv", "post_quant_conv", "latent_mean", "latent_std")
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {"conditional": False},
        "sharp": {"conditional": False, "adversarial": 0.1},
    }
    fitted_buffers = ("latent_mean", "latent_std")
    reconstructs = True
    log_help: ClassVar[dict[str, str]] = {
        "autoencoder/loss": "Absolute error plus the weighted KL term: lower is better.",
        "autoencoder/error": "Mean absolute error of reconstructions in units of [-1, 1]: 0.02 is 2.5 gray "
        "levels.",
        "autoencoder/kl": "Nats that the latent of one image carries beyond N(0, I).",
        "autoencoder/codes": "Share of the codes that this batch used.",
        "autoencoder/verdict": "The discriminator's mean output on reconstructions: rises as they look real.",
        "discriminator/loss": "Hinge loss: 2 while it only guesses, 0 when it tells every patch.",
        "discriminator/real": "Its mean output on real images: positive when it recognizes them.",
        "discriminator/fake": "Its mean output on reconstructions: negative when it recognizes them.",
    }

    latent_mean: Tensor  # (C, 1, 1), over training images
    latent_std: Tensor  # (C, 1, 1)

    def __init__(
        self,
        config: AutoencoderConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        if spec.size % config.down:
            raise UsageError(f"--down {config.down} does not divide the side of the images, {spec.size} px")
        resolutions = config.down.bit_length()  # 2 -> 2, 4 -> 3, 8 -> 4
        widths = [config.width * factor for factor in WIDTHS[:resolutions]]
        self.quantizer: FiniteScalarQuantizer | None = None
        self.quant_conv: nn.Conv2d | None = None
        self.post_quant_conv: nn.Conv2d | None = None
        if isinstance(config.latent, FsqLatent):
            if min(config.latent.levels, default=0) < 2:
                raise UsageError(f"each latent channel needs at least 2 levels, got {config.latent.levels}")
            channels = encoded = len(config.latent.levels)
            self.quantizer = FiniteScalarQuantizer(config.latent.levels)
        else:
            channels, encoded = config.latent.channels, 2 * config.latent.channels
            self.quant_conv = nn.Conv2d(encoded, encoded, 1)
            self.post_quant_conv = nn.Conv2d(channels, channels, 1)
        self.encoder = Encoder(spec.channels, encoded, widths, config.blocks)
        self.decoder = Decoder(channels, spec.channels, widths, config.blocks)
        self.discriminator = PatchDiscriminator(spec.channels) if config.adversarial else None
        self.noise_shape = (channels, spec.size // config.down, spec.size // config.down)
        self.register_buffer("latent_mean", torch.zeros(channels, 1, 1))
        self.register_buffer("latent_std", torch.ones(channels, 1, 1))

    def objectives(self) -> list[Objective]:
        """Encoder and decoder; then the discriminator, if there is one."""
        own = [p for name, p in self.named_parameters() if not name.startswith("discriminator.")]
        adam = torch.optim.Adam(own, self.config.lr, (0.9, 0.99), fused=True)
        objectives = [Objective("autoencoder", adam, self.loss, max_grad_norm=1.0, lr_schedule=warmup_cosine)]
        if self.discriminator is not None:
            critic = torch.optim.Adam(
                self.discriminator.parameters(), self.config.lr / 2, (0.5, 0.99), fused=True
            )
            objectives.append(
                Objective("discriminator", critic, self.discriminator_loss, lr_schedule=warmup_cosine)
            )
        return objectives

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log of the standard deviation of the Gaussian latent: (B, C, h, w) each."""
        assert self.quant_conv is not None
        mean, log_variance = self.quant_conv(self.encoder(images)).float().chunk(2, dim=1)
        return mean, 0.5 * log_variance.clamp(-30, 20)

    def encode(self, images: Tensor) -> Tensor:
        """The latent of images: the Gaussian's mean, or the rounded values.

        Args:
            images: (B, channels, H, W) in [-1, 1].

        Returns:
            (B, *noise_shape).
        """
        if self.quantizer is not None:
            return self.quantizer(self.encoder(images).float())
        return self.moments(images)[0]

    def decode(self, latent: Tensor) -> Tensor:
        """(B, *noise_shape) -> (B, channels, H, W), about in [-1, 1]. A quantized latent is rounded first."""
        if self.quantizer is not None and not self.training:
            latent = self.quantizer.nearest(latent)
        if self.post_quant_conv is not None:
            latent = self.post_quant_conv(latent)
        return self.decoder(latent).float()

    def loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute error, the KL term, and the discriminator's output once that counts.

        Args:
            batch: Images, (B, C, H, W) in [-1, 1].
            context: Of the step: its progress, and the draws of the latent.

        Returns:
            The loss, and values to log.
        """
        images, logged = batch.images, {}
        penalty = torch.zeros((), device=images.device)
        if self.quantizer is not None:
            latent = self.quantizer(self.encoder(images).float())
            used = self.quantizer.indices(latent.detach()).unique().numel()
            logged["codes"] = torch.tensor(used / self.quantizer.codes)
        else:
            assert isinstance(self.config.latent, KlLatent)
            mean, log_std = self.moments(images)
            latent = mean + log_std.exp() * context.randn(*self.noise_shape)
            kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).flatten(1).sum(1).mean()
            penalty, logged["kl"] = self.config.latent.weight * kl / math.prod(images.shape[1:]), kl
        reconstruction = context.cached("reconstruction", lambda: self.decode(latent))
        error = (reconstruction - images).abs().mean()
        loss = error + penalty
        logged["error"] = error
        if self.discriminator is not None and context.progress >= self.config.adversarial_start:
            verdict = self.discriminator(reconstruction).mean()
            loss, logged["verdict"] = loss - self.config.adversarial * verdict, verdict
        return loss, {name: value.detach() for name, value in logged.items()}

    def discriminator_loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The hinge loss on patches of images and of their reconstructions (Lim and Ye 2017).

        Args:
            batch: Images, (B, C, H, W) in [-1, 1].
            context: Of the step: shares the reconstructions between both losses.

        Returns:
            The loss, and values to log.
        """
        assert self.discriminator is not None
        reconstruction = context.cached("reconstruction", lambda: self.decode(self.encode(batch.images)))
        real, fake = self.discriminator(batch.images), self.discriminator(reconstruction.detach())
        loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        return loss, {"real": real.detach().mean(), "fake": fake.detach().mean()}

    @torch.no_grad()
    def fit_after_training(self, batches: Iterator[Batch]) -> None:
        """Measure the mean and standard deviation of each latent channel.

        Args:
            batches: Training images, (B, channels, H, W) in [-1, 1].
        """
        channels = self.noise_shape[0]
        total, squares, count = torch.zeros(channels).double(), torch.zeros(channels).double(), 0
        for batch in batches:
            latent = self.encode(batch.images).double().cpu()  # (B, C, h, w)
            total = total + latent.sum((0, 2, 3))
            squares = squares + latent.square().sum((0, 2, 3))
            count += latent.shape[0] * latent.shape[2] * latent.shape[3]
        mean = total / count
        std = (squares / count - mean**2).clamp(min=1e-12).sqrt()
        self.latent_mean.copy_(mean[:, None, None])
        self.latent_std.copy_(std[:, None, None])

    def generate(
        self, noise: Tensor, condition: Condition, controls: AutoencoderControls, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """One step: the decoder's image of noise at the latent's scale. It has no structure."""
        latent = noise * controls.truncation * self.latent_std + self.latent_mean
        yield GenerationStep(1, 1, noise, lambda: self.decode(latent))

    def invert(
        self, images: Tensor, condition: Condition, controls: AutoencoderControls, seeds: Sequence[int]
    ) -> Tensor:
        """The latent, as the noise that stands for it: (B, *noise_shape)."""
        return (self.encode(images) - self.latent_mean) / self.latent_std
