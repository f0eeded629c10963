"""Denoising diffusion: learn to take noise away, then begin with nothing but noise.

Ho, Jain and Abbeel 2020 (DDPM), Song, Meng and Ermon 2021 (DDIM), Ho and Salimans 2022 (guidance).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from triptych.core.bits_per_dim import nats_to_bits_per_dim
from triptych.core.config import Settings
from triptych.core.errors import UsageError
from triptych.core.generative_model import GenerativeModel
from triptych.core.lr_schedules import warmup_cosine
from triptych.core.objectives import Objective, StepContext
from triptych.core.rng import SamplerNoise
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec, LikelihoodQuery
from triptych.diffusion.denoisers import (
    Denoiser,
    Prediction,
    Target,
    add_noise,
    clip_denoised,
    parts_of,
    training_target,
)
from triptych.diffusion.guidance import classifier_free_guidance
from triptych.diffusion.samplers import SOLVERS, SolverName, encode, spaced
from triptych.diffusion.schedules import ScheduleName, make_schedule
from triptych.diffusion.variational_bound import variational_bound
from triptych.nets.unet import UNet


class DiffusionConfig(Settings):
    """What is fixed when training starts."""

    former_names = MappingProxyType({"rate": "lr"})

    schedule: ScheduleName = "straight"
    """How noise grows with t: DDPM's linear betas, the cosine schedule, or the straight path."""
    target: Target = "velocity"
    """What the U-Net predicts: the noise (as in DDPM), the velocity dx/dtau, or the clean image."""
    timesteps: int = Field(1000, ge=2)
    """T, the number of noising steps."""
    channels: tuple[int, ...] = (64, 96, 128)
    """Channels of the U-Net's levels, the finest first; multiples of 8."""
    blocks: int = Field(1, ge=1)
    """Residual blocks a level and side."""
    fold: int = Field(2, ge=1)
    """Side of the pixel squares folded into channels before the first convolution."""
    unlabelled: float = Field(0.1, ge=0, le=1)
    """Share of training pictures whose label is hidden, which guidance needs."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""


class DiffusionControls(Settings):
    """What may be chosen when sampling."""

    solver: SolverName = "dpm++"
    """ddpm (ancestral), ddim (deterministic, first order), heun, dpm++ (second order, multistep)."""
    steps: int = Field(16, ge=1)
    """Sampling steps; ddpm wants hundreds, ddim 50, heun 12 (two network calls each), dpm++ 16."""
    guidance: float = Field(1.0, ge=0)
    """How strongly the label pulls; 1 is no guidance."""
    clip: bool = True
    """Keep every predicted picture in [-1, 1] on the way."""


class Diffusion(GenerativeModel[DiffusionConfig, DiffusionControls]):
    """Minimises E ||target - network(x_t, t)||^2 over t and noise (Ho et al. 2020, eq. 14)."""

    Config, Controls = DiffusionConfig, DiffusionControls
    title = "Diffusion"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"fast": {"batch": 64}}
    ema_modules = ("unet",)
    log_help: ClassVar[dict[str, str]] = {
        "denoiser/loss": "Mean squared error of the predicted target over all noise levels: falls fast, then "
        "very slowly while the pictures still get better. It never reaches 0: noise cannot be foreseen.",
        "denoiser/early": "The same for the noisiest third of the path, where outlines are decided.",
        "denoiser/late": "The same for the cleanest third, where details are decided.",
    }
    likelihood_bounds = ("vlb",)

    def __init__(
        self,
        config: DiffusionConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        levels = len(config.channels)
        if spec.size % (config.fold * 2 ** (levels - 1)):
            raise UsageError(
                f"a picture of {spec.size} px cannot be folded by {config.fold} and then halved "
                f"{levels - 1} times: choose a size that is a multiple of {config.fold * 2 ** (levels - 1)}, "
                "or fewer --channels"
            )
        self.noise_shape = (spec.channels, spec.size, spec.size)
        self.conditional = spec.classes > 0
        self.schedule = make_schedule(config.schedule, config.timesteps)
        self.unet = UNet(spec.channels, config.channels, config.blocks, config.fold, spec.classes)

    def objectives(self) -> list[Objective]:
        """One player: the denoiser."""
        adam = torch.optim.Adam(self.unet.parameters(), self.config.lr, (0.9, 0.99), fused=True)
        return [Objective("denoiser", adam, self.loss, max_grad_norm=1.0, lr_schedule=warmup_cosine)]

    def loss(self, batch: Batch, turn: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the network's prediction at times spread evenly over the batch."""
        total = self.config.timesteps
        spread = (
            batch.rows.to(batch.images.device) + turn.rand()
        ) / batch.global_size  # (B,) one in each 1/B
        t = (spread * total).long().clamp(max=total - 1) + 1  # (B,) in 1..T
        noise = turn.randn(*self.noise_shape)
        x_t = add_noise(self.schedule, batch.images, noise, t)
        labels = batch.labels
        if labels is not None:
            labels = torch.where(turn.rand() < self.config.unlabelled, self.spec.classes, labels)
        output = self.unet(x_t, t / total, labels)
        wanted = training_target(self.config.target, self.schedule, batch.images, noise, t)
        errors = (output - wanted).square().flatten(1).mean(1)  # (B,)
        seen = {"early": errors[spread > 2 / 3], "late": errors[spread < 1 / 3]}
        return errors.mean(), {name: part.detach().mean() for name, part in seen.items() if len(part)}

    def denoiser(self, labels: Tensor | None, controls: DiffusionControls) -> Denoiser:
        """The network as a denoiser of pictures with these labels, (B,) int64, guided and clipped."""

        def bare(asked: Tensor | None) -> Denoiser:
            def denoise(x_t: Tensor, t: Tensor) -> Prediction:
                output = self.unet(x_t, t / self.config.timesteps, asked)
                return parts_of(self.config.target, self.schedule, output, x_t, t)

            return denoise

        denoise = bare(labels)
        if labels is not None and controls.guidance != 1:
            denoise = classifier_free_guidance(
                denoise, bare(torch.full_like(labels, self.spec.classes)), controls.guidance
            )
        return clip_denoised(denoise, self.schedule) if controls.clip else denoise

    def generate(
        self, noise: Tensor, condition: Condition, controls: DiffusionControls, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """One frame a sampling step, and the finished picture."""
        times = spaced(self.config.timesteps, controls.steps)
        denoise = self.denoiser(self.labels_or_none(condition, noise), controls)
        moments = SOLVERS[controls.solver](denoise, self.schedule, noise, times, SamplerNoise(seeds))
        for step, moment in enumerate(moments):
            yield GenerationStep(step, controls.steps, moment.noisy, partial(torch.as_tensor, moment.image))

    def labels_or_none(self, condition: Condition, noise: Tensor) -> Tensor | None:
        """The condition's labels; the "no label" class for all when none are given to a conditional model."""
        if not self.conditional or condition.labels is not None:
            return condition.labels if self.conditional else None
        return torch.full((len(noise),), self.spec.classes, dtype=torch.int64, device=noise.device)

    def invert(
        self, images: Tensor, condition: Condition, controls: DiffusionControls, seeds: Sequence[int]
    ) -> Tensor:
        """The deterministic path run backwards, twice as finely as it is drawn, unguided: (B, C, H, W)."""
        times = spaced(self.config.timesteps, min(2 * controls.steps, self.config.timesteps))
        plain = controls.model_copy(update={"guidance": 1.0, "clip": False})
        denoise = self.denoiser(self.labels_or_none(condition, images), plain)
        return encode(denoise, self.schedule, images, times)

    def bits_per_dim(self, query: LikelihoodQuery) -> Tensor:
        """The variational bound of the chain through all times, of which `draws` are visited.

        See `diffusion.variational_bound`. Unguided. Predicted pictures are clipped to [-1, 1]: the chain's
        means may be any function of x_t, and towards a picture that lies in [-1, 1] clipping never errs.
        Pixels that do not count (padding) leave their noise in the bound: it still holds, a little less
        tightly.
        """
        labels = self.labels_or_none(query.condition, query.pixels)
        denoise = self.denoiser(labels, self.Controls(guidance=1, clip=True))
        terms = variational_bound(denoise, self.schedule, query.pixels, query.draws, query.seeds, query.box)
        return nats_to_bits_per_dim(torch.as_tensor(sum(terms)), query.pixels.shape[1:], query.box)
