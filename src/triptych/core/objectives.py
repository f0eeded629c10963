"""What a model minimizes: objectives, the context that a loss receives, the roles in an adversarial pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from triptych.core import rng
from triptych.core.lr_schedules import constant
from triptych.core.types import Batch

T = TypeVar("T")


class StepContext:
    """Context of one training step, passed to every loss: step, progress, active objectives, random draws.

    There is one context per micro-batch. Draws are functions of (run seed, step, number of the draw), made
    for the global batch and cut to the rows of the micro-batch: neither the size of micro-batches nor the
    number of workers changes them.

    Args:
        run_seed: The seed of the training.
        step: Steps done before this one.
        progress: Share of the planned steps done, in [0, 1].
        active: Names of the objectives that are updated in this step.
        batch: The micro-batch, on the device.
    """

    def __init__(
        self, run_seed: int, step: int, progress: float, active: frozenset[str], batch: Batch
    ) -> None:
        self.step, self.progress, self.active, self.batch = step, progress, active, batch
        self._run_seed, self._draws = run_seed, 0
        self._cache: dict[str, Any] = {}

    def randn(self, *shape: int) -> Tensor:
        """Draw from a standard normal distribution: (B, *shape) float32 on the batch's device."""
        return self._draw(torch.randn, shape)

    def rand(self, *shape: int) -> Tensor:
        """Draw uniformly from [0, 1): (B, *shape) float32 on the batch's device."""
        return self._draw(torch.rand, shape)

    def cached(self, key: str, make: Callable[[], T]) -> T:
        """Compute a value once per micro-batch and share it between objectives, as a GAN does its fakes.

        Args:
            key: The name of the value.
            make: Computes it at the first call.

        Returns:
            What `make` returned at the first call with this key.
        """
        if key not in self._cache:
            self._cache[key] = make()
        value: T = self._cache[key]
        return value

    def _draw(self, sampler: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        source = rng.generator(self._run_seed, self.step, self._draws)
        self._draws += 1
        drawn = sampler(self.batch.global_size, *shape, generator=source)  # (global batch, *shape)
        return drawn[self.batch.rows].to(self.batch.images.device)  # (B, *shape)


@dataclass(frozen=True)
class Objective:
    """One loss and the optimizer that minimizes it. A VAE or a diffusion model has one, a GAN two.

    The trainer computes gradients for the parameters of this optimizer only, so the critic's loss never
    touches the generator. Parameters with `requires_grad` False stay as they are.
    """

    name: str  # "critic", "generator", "denoiser": the prefix of logged values
    optimizer: torch.optim.Optimizer  # holds exactly the parameters that this objective updates
    loss: Callable[
        [Batch, StepContext], tuple[Tensor, dict[str, Tensor]]
    ]  # -> the scalar to minimize, further scalars to log; a function of (weights, batch, context) only
    interval: int = 1  # updated at steps that are multiples of it
    max_grad_norm: float | None = None  # gradients are clipped to this norm; None: not clipped
    lr_schedule: Callable[[float], float] = constant  # progress in [0, 1] -> factor on the learning rate

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that this objective updates, in the optimizer's order."""
        return [p for group in self.optimizer.param_groups for p in group["params"] if p.requires_grad]


@dataclass(frozen=True)
class AdversarialSpec:
    """Which objective of a GAN is the critic and which the generator, and what the critic's log values mean.

    The critic logs `real` and `fake`: its mean output on real images and on generated ones.
    """

    critic: str = "discriminator"  # name of the objective
    generator: str = "generator"  # name of the objective
    critic_output: Literal["probabilities", "scores"] = "probabilities"  # of being real, or unbounded scores
    penalties: tuple[str, ...] = ()  # logged values of the critic that are penalties, not classification
