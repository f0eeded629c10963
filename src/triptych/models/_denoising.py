"""What denoising models share: networks, training loss, guided sampling, inversion and the variational bound.

`diffusion` and `flow_matching` are two choices of a path from image to noise and of a training target.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from triptych.core.bits_per_dim import nats_to_bits_per_dim
from triptych.core.config import Settings
from triptych.core.errors import UsageError
from triptych.core.generative_model import GenerativeModel
from triptych.core.lr_schedules import warmup_constant, warmup_cosine
from triptych.core.nearest import did_you_mean
from triptych.core.objectives import Objective, StepContext
from triptych.core.rng import SamplerNoise
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec, LikelihoodQuery
from triptych.diffusion.denoisers import (
    Denoiser,
    Prediction,
    Target,
    add_noise,
    clip_denoised,
    to_prediction,
    training_target,
)
from triptych.diffusion.guidance import classifier_free_guidance
from triptych.diffusion.samplers import SOLVERS, ode_inversion, trailing_times
from triptych.diffusion.schedules import ScheduleName, make_schedule
from triptych.diffusion.variational_bound import variational_bound
from triptych.nets.ddpm_unet import DdpmUNet
from triptych.nets.unet import PointNet, UNet


class DenoisingConfig(Settings):
    """Settings of training that denoising models share; each model adds its path and its target."""

    former_names = MappingProxyType(
        {"rate": "lr", "blocks": "blocks_per_level", "fold": "patch_size", "unlabelled": "label_dropout"}
    )

    timesteps: int = Field(1000, ge=2)
    """T, the number of noising steps."""
    network: Literal["compact", "ddpm"] = "compact"
    """The U-Net: compact (for minutes on a processor) or ddpm (as published in 2020, for GPUs)."""
    channels: tuple[int, ...] = (64, 96, 128)
    """Channels of the U-Net's levels, the finest first; multiples of 8."""
    blocks_per_level: int = Field(1, ge=1)
    """Residual blocks per level on the way down; one more on the way up."""
    patch_size: int | None = Field(None, ge=1)
    """Side of the pixel patches that become channels first; left out: 2 (compact) or 1 (ddpm)."""
    attention: tuple[int, ...] = ()
    """Sides in pixels of the feature maps that get self-attention (ddpm only)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout probability within residual blocks (ddpm only)."""
    label_dropout: float = Field(0.1, ge=0, le=1)
    """Share of training images whose label is hidden, which guidance needs."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate of Adam."""
    beta2: float = Field(0.99, ge=0, lt=1)
    """Adam's decay rate of squared gradients."""
    lr_schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate over the run: a short warm-up, then half a cosine down to 0, or constant."""


def known_solver(name: str) -> str:
    """The name itself, if it is one of `SOLVERS`. Raises ValueError for an unknown one, with the nearest."""
    if name not in SOLVERS:
        raise ValueError(f"unknown solver.{did_you_mean(name, SOLVERS)} There are: {', '.join(SOLVERS)}")
    return name


class DenoisingControls(Settings):
    """What may be chosen when sampling."""

    solver: Annotated[str, AfterValidator(known_solver)] = "dpm++"
    """Sampler: ddpm (ancestral), ddim or euler (deterministic, first order), heun, dpm++ (second order)."""
    steps: int = Field(16, ge=1)
    """Sampling steps: 16 for dpm++, 12 for heun (two network calls a step), 50 for ddim, 250 for ddpm."""
    guidance: float = Field(1.0, ge=0)
    """Strength of classifier-free guidance towards the label; 1 is no guidance."""
    clip: bool = True
    """Clip every predicted image to [-1, 1] while sampling."""


ConfigT = TypeVar("ConfigT", bound=DenoisingConfig)


class DenoisingModel(GenerativeModel[ConfigT, DenoisingControls]):
    """Minimizes E ||target - network(x_t, t)||^2 over images, t and noise, with equal weight for every t."""

    Controls: ClassVar[type[DenoisingControls]] = DenoisingControls
    ema_modules: ClassVar[tuple[str, ...]] = ("unet",)
    log_help: ClassVar[dict[str, str]] = {
        "denoiser/loss": "Mean squared error of the predicted target over all noise levels: falls fast, then "
        "very slowly while the images still get better. It never reaches 0: noise cannot be predicted.",
        "denoiser/high_noise": "The same for the third of the times with the most noise, where outlines are "
        "decided.",
        "denoiser/low_noise": "The same for the third with the least noise, where details are decided.",
    }
    likelihood_bounds: tuple[str, ...] = ("vlb",)

    def __init__(
        self,
        config: ConfigT,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        self.noise_shape = (spec.channels, spec.size, spec.size)
        self.conditional = spec.classes > 0
        self.target, name = self.path(config)
        self.schedule = make_schedule(name, config.timesteps)
        self.unet = make_network(config, spec)  # also where it is no U-Net: the name is part of saved weights

    @staticmethod
    @abstractmethod
    def path(config: Any) -> tuple[Target, ScheduleName]:
        """What the network predicts, and the path from image to noise."""

    def objectives(self) -> list[Objective]:
        """One objective: the denoiser."""
        betas = (0.9, self.config.beta2)
        adam = torch.optim.Adam(self.unet.parameters(), self.config.lr, betas, fused=True)
        schedule = warmup_cosine if self.config.lr_schedule == "cosine" else warmup_constant
        return [Objective("denoiser", adam, self.loss, max_grad_norm=1.0, lr_schedule=schedule)]

    def loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the network's prediction, at times stratified over the batch.

        Args:
            batch: images, (B, C, H, W) in [-1, 1], and labels, (B,) int64 or None.
            context: of the step; gives times, noise and which labels are hidden.

        Returns:
            The mean over the batch, and the means over its noisiest and its cleanest third to log.
        """
        total = self.config.timesteps
        u = (batch.rows.to(batch.images.device) + context.rand()) / batch.global_size  # (B,) one in each 1/B
        t = (u * total).long().clamp(max=total - 1) + 1  # (B,) in 1..T
        noise = context.randn(*self.noise_shape)
        x_t = add_noise(self.schedule, batch.images, noise, t)
        labels = batch.labels
        if labels is not None:
            labels = torch.where(context.rand() < self.config.label_dropout, self.spec.classes, labels)
        with self._seeded_dropout(context):
            output = self.unet(x_t, t / total, labels)
        target = training_target(self.target, self.schedule, batch.images, noise, t)
        errors = (output - target).square().flatten(1).mean(1)  # (B,)
        thirds = {"high_noise": errors[u > 2 / 3], "low_noise": errors[u < 1 / 3]}
        return errors.mean(), {name: part.detach().mean() for name, part in thirds.items() if len(part)}

    @contextmanager
    def _seeded_dropout(self, context: StepContext) -> Iterator[None]:
        """Seed PyTorch's generator, from which dropout draws, by the step: a resumed run draws the same."""
        if not self.config.dropout:
            yield
            return
        draw = context.rand()[0]  # (): of this micro-batch's first row
        with torch.random.fork_rng([draw.device] if draw.is_cuda else []):
            torch.manual_seed(int(2**24 * draw))
            yield

    def denoiser(self, labels: Tensor | None, controls: DenoisingControls) -> Denoiser:
        """The network as a denoiser, guided and clipped as the controls say.

        Args:
            labels: (B,) int64 in 0..classes, of the images to come; None for an unconditional model.
            controls: `guidance` and `clip`.

        Returns:
            A function of (x_t, t), for batches of B images.
        """

        def denoiser_given(labels: Tensor | None) -> Denoiser:
            def denoise(x_t: Tensor, t: Tensor) -> Prediction:
                output = self.unet(x_t, t / self.config.timesteps, labels)
                return to_prediction(self.target, self.schedule, output, x_t, t)

            return denoise

        denoise = denoiser_given(labels)
        if labels is not None and controls.guidance != 1:
            no_label = torch.full_like(labels, self.spec.classes)
            denoise = classifier_free_guidance(denoise, denoiser_given(no_label), controls.guidance)
        return clip_denoised(denoise, self.schedule) if controls.clip else denoise

    def generate(
        self, noise: Tensor, condition: Condition, controls: DenoisingControls, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """Yields once per sampling step, and the final image."""
        times = trailing_times(self.config.timesteps, controls.steps)
        denoise = self.denoiser(self.labels_or_none(condition, noise), controls)
        sampler = SOLVERS[controls.solver]
        for k, step in enumerate(sampler(denoise, self.schedule, noise, times, SamplerNoise(seeds))):
            yield GenerationStep(k, controls.steps, step.x_t, partial(torch.as_tensor, step.x0))

    def labels_or_none(self, condition: Condition, noise: Tensor) -> Tensor | None:
        """The labels that the network is given.

        Args:
            condition: its labels are (B,) int64 or None.
            noise: (B, *), for the number of images and the device.

        Returns:
            The condition's labels; the "no label" class for all images where a conditional model is given
            none; None for an unconditional model.
        """
        if not self.conditional or condition.labels is not None:
            return condition.labels if self.conditional else None
        return torch.full((len(noise),), self.spec.classes, dtype=torch.int64, device=noise.device)

    def invert(
        self, images: Tensor, condition: Condition, controls: DenoisingControls, seeds: Sequence[int]
    ) -> Tensor:
        """Integrate the probability-flow ODE backwards, in twice the steps and without guidance."""
        times = trailing_times(self.config.timesteps, min(2 * controls.steps, self.config.timesteps))
        plain = controls.model_copy(update={"guidance": 1.0, "clip": False})
        denoise = self.denoiser(self.labels_or_none(condition, images), plain)
        return ode_inversion(denoise, self.schedule, images, times)

    def bits_per_dim(self, query: LikelihoodQuery) -> Tensor:
        """The variational bound of the chain through all times, of which `draws` are sampled.

        See `diffusion.variational_bound`. Without guidance. Predicted images are clipped to [-1, 1]: the
        chain's means may be any function of x_t, and clipping never increases the error for an image that
        lies in [-1, 1]. Pixels outside the box (padding) leave their noise in the bound: it still holds, a
        little less tightly.
        """
        controls = DenoisingControls(guidance=1, clip=True)
        denoise = self.denoiser(self.labels_or_none(query.condition, query.pixels), controls)
        terms = variational_bound(denoise, self.schedule, query.pixels, query.draws, query.seeds, query.box)
        return nats_to_bits_per_dim(torch.as_tensor(sum(terms)), query.pixels.shape[1:], query.box)


def make_network(config: DenoisingConfig, spec: ImageSpec) -> nn.Module:
    """Build the network that the config describes; for images of one pixel (points) always a `PointNet`.

    Args:
        config: of the model.
        spec: shape and classes of the images.

    Returns:
        (x_t, t / T, labels) -> an output of x_t's shape.

    Raises:
        UsageError: when the images' size does not suit the number of levels, or settings do not suit the
            network.
    """
    if spec.size == 1:
        return PointNet(spec.channels, config.channels[-1], spec.classes)
    ddpm = config.network == "ddpm"
    if ddpm and config.patch_size not in (None, 1):
        raise UsageError("--network ddpm works on single pixels: leave out --patch-size")
    if not ddpm and (config.attention or config.dropout):
        raise UsageError("--attention and --dropout need --network ddpm: the compact network has neither")
    if any(n < 1 or n % 8 for n in config.channels) or not config.channels:
        given = " ".join(map(str, config.channels)) or "none"
        raise UsageError(f"--channels must be one or more multiples of 8, got {given}")
    patch_size = config.patch_size or (1 if ddpm else 2)
    levels = len(config.channels)
    if spec.size % (patch_size * 2 ** (levels - 1)):
        multiple = patch_size * 2 ** (levels - 1)
        raise UsageError(
            f"an image of {spec.size} px cannot be cut into patches of {patch_size} px and then halved "
            f"{levels - 1} times: choose a size that is a multiple of {multiple}, or fewer --channels"
        )
    if ddpm:
        return DdpmUNet(
            spec.channels, spec.size, config.channels, config.blocks_per_level, config.attention,
            spec.classes, config.timesteps, config.dropout,
        )  # fmt: skip
    return UNet(spec.channels, config.channels, config.blocks_per_level, patch_size, spec.classes)
