"""What a loss is given and what a learner declares: the step's context, objectives, games."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from triptych.core import rng as streams
from triptych.core.lr_schedules import constant
from triptych.core.types import Batch

T = TypeVar("T")


class StepContext:
    """What a loss may know beside weights and batch. Made anew for each (micro-)batch of a step."""

    def __init__(self, run_seed: int, step: int, done: float, movers: frozenset[str], batch: Batch) -> None:
        self.step, self.active = step, movers
        self.progress = done  # share of the planned run, 0..1: what warm-ups and coolings go by
        self.batch = batch
        self._seed, self._streams = run_seed, 0
        self._kept: dict[str, Any] = {}

    def randn(self, *shape: int) -> Tensor:
        """(B, *shape) standard normal: this (micro-)batch's rows of a draw for the global batch."""
        return self._cut(torch.randn, shape)

    def rand(self, *shape: int) -> Tensor:
        """(B, *shape) uniform in [0, 1), drawn like `randn`."""
        return self._cut(torch.rand, shape)

    def cached(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns, made once and shared by the players of this turn: a GAN's fakes."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def _cut(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        stream, self._streams = self._streams, self._streams + 1
        source = streams.generator(self._seed, self.step, stream)
        drawn = draw(self.batch.global_size, *shape, generator=source)  # (global batch, *shape)
        return drawn[self.batch.rows].to(self.batch.images.device)  # (B, *shape)


@dataclass(frozen=True)
class Objective:
    """Somebody who learns: a GAN is a game of two, a VAE or a diffusion model has one player."""

    name: str  # "critic", "generator", "denoiser": prefix in the log
    optimizer: torch.optim.Optimizer  # holds exactly the parameters this player may move
    loss: Callable[
        [Batch, StepContext], tuple[Tensor, dict[str, Tensor]]
    ]  # scalar to minimise; extras to log
    interval: int = 1  # its turn when step % every == 0
    max_grad_norm: float | None = None  # largest gradient norm
    lr_schedule: Callable[[float], float] = (
        constant  # learning-rate factor over the done share of the run, 0..1
    )

    def parameters(self) -> list[nn.Parameter]:
        """Every parameter this player may move, in the optimiser's order."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


@dataclass(frozen=True)
class AdversarialSpec:
    """Who plays against whom in a model of two players, and how to read what the judging one logs.

    The critic logs `real` and `fake`: its mean verdict on real pictures and on fakes.
    """

    critic: str = "discriminator"  # the judging player's name
    generator: str = "generator"
    critic_output: Literal["probabilities", "scores"] = "probabilities"  # of being real, or without a scale
    penalties: tuple[str, ...] = ()  # what the critic logs of what its loss punishes beside wrong verdicts
