"""Latent diffusion: a diffusion model of the latents of a trained autoencoder, its first stage.

Rombach, Blattmann, Lorenz, Esser and Ommer 2022, "High-Resolution Image Synthesis with Latent Diffusion
Models".
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, Protocol, cast

import torch
from pydantic import Field
from torch import Tensor

from triptych.core.errors import UsageError
from triptych.core.generative_model import GenerativeModel
from triptych.core.objectives import StepContext
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec, LikelihoodQuery
from triptych.diffusion.denoisers import Target
from triptych.diffusion.schedules import ScheduleName
from triptych.models._denoising import DenoisingConfig, DenoisingControls, DenoisingModel


class FirstStage(Protocol):
    """What latent diffusion asks of an autoencoder."""

    noise_shape: tuple[int, ...]
    latent_mean: Tensor
    latent_std: Tensor

    def encode(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, *noise_shape)."""
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """(B, *noise_shape) -> (B, channels, H, W)."""
        ...


class LatentDiffusionConfig(DenoisingConfig):
    """Settings that are fixed when training starts."""

    channels: tuple[int, ...] = (96, 128)
    """Channels of the U-Net's levels, the finest first; multiples of 8."""
    patch_size: int | None = Field(1, ge=1)
    """Side of the patches of the latent that become channels first."""
    schedule: Literal["linear", "cosine"] = "cosine"
    """How noise grows with t: the linear betas of DDPM, or the cosine schedule."""
    target: Target = "velocity"
    """What the network predicts: the noise, v = alpha noise - sigma latent (velocity), or the clean
    latent."""


class LatentDiffusionControls(DenoisingControls):
    """Settings that may change from sample to sample."""

    clip: bool = False
    """Latents have no bounds, so predicted ones are not clipped."""


class LatentDiffusion(DenoisingModel[LatentDiffusionConfig]):
    """Minimize E ||target - network(z_t, t)||^2 over latents z = encode(x), t and noise (Rombach et al.
    2022, eq. 2).

    The first stage is frozen and part of the model: it is saved with every checkpoint. Latents are scaled
    to mean 0 and standard deviation 1 per channel, as the first stage measured them after its training.
    """

    Config, Controls = LatentDiffusionConfig, LatentDiffusionControls
    title = "Latent diffusion"
    components: ClassVar[Mapping[str, str]] = {"first_stage": "autoencoder"}
    ema_modules = ("unet", "first_stage")
    preprocesses = True
    likelihood_bounds = ()
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {"batch": 64},
    }

    def __init__(
        self,
        config: LatentDiffusionConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        if not components or "first_stage" not in components:
            raise UsageError(
                "latent diffusion needs a trained autoencoder: triptych train autoencoder --data ..., then "
                "triptych train latent_diffusion --first-stage RUN --data ..."
            )
        channels, side, _ = components["first_stage"].noise_shape
        super().__init__(config, replace(spec, channels=channels, size=side), components)
        self.latent_spec, self.spec = self.spec, spec
        self.first_stage = copy.deepcopy(components["first_stage"]).eval().requires_grad_(False)
        self.component_models = {"first_stage": self.first_stage}  # what a fresh copy is built on

    @staticmethod
    def path(config: LatentDiffusionConfig) -> tuple[Target, ScheduleName]:
        """The config's target and schedule."""
        return config.target, config.schedule

    @property
    def stage(self) -> FirstStage:
        """The first stage."""
        return cast(FirstStage, self.first_stage)

    def train(self, mode: bool = True) -> LatentDiffusion:
        """Set the mode of the denoiser; the first stage stays in evaluation mode."""
        super().train(mode)
        self.first_stage.eval()
        return self

    @torch.no_grad()
    def preprocess(self, images: Tensor) -> Tensor:
        """The scaled latents of images: (B, channels, H, W) -> (B, *noise_shape)."""
        return (self.stage.encode(images) - self.stage.latent_mean) / self.stage.latent_std

    def decode(self, latent: Tensor) -> Tensor:
        """The images of scaled latents: (B, *noise_shape) -> (B, channels, H, W)."""
        return self.stage.decode(latent * self.stage.latent_std + self.stage.latent_mean)

    def loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The denoising loss of latents; a batch of images, rather than of latents, is encoded first.

        Args:
            batch: Images, (B, C, H, W) in [-1, 1] or (B, *noise_shape) latents, and labels.
            context: Of the step: times, noise, and which labels are hidden.

        Returns:
            The loss, and values to log.
        """
        if batch.images.shape[1:] != self.noise_shape:
            batch = replace(batch, images=self.preprocess(batch.images))
        return super().loss(batch, context)

    def generate(
        self,
        noise: Tensor,
        condition: Condition,
        controls: DenoisingControls,
        seeds: Sequence[int],
    ) -> Iterator[GenerationStep]:
        """Yields once per sampling step; latents are decoded when their image is asked for."""
        for step in super().generate(noise, condition, controls, seeds):
            latent = step.image()
            yield replace(step, image=partial(self.decode, latent.float()))

    def invert(
        self, images: Tensor, condition: Condition, controls: DenoisingControls, seeds: Sequence[int]
    ) -> Tensor:
        """Encode, then integrate the probability-flow ODE backwards."""
        return super().invert(self.preprocess(images), condition, controls, seeds)

    def bits_per_dim(self, query: LikelihoodQuery) -> Tensor:
        """Latent diffusion has no bound on the likelihood of pixels: the decoder is deterministic."""
        return GenerativeModel.bits_per_dim(self, query)
