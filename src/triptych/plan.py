"""From what was asked (options) to what will be done (plan), decided once and stored.

Nothing in a training step depends on the clock. A budget in minutes becomes a number of steps after
a short timed start; precision is bf16 only where the hardware has it and it was faster just now.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator

from triptych.core import device as devices
from triptych.core.family import Settings

DEFAULT_MINUTES = 5.0
AIM = 0.97  # share of the minutes that is planned: what is left is for a machine that slows down
OVERTIME = 1.05  # the clock ends a run at this share of its minutes

BUDGETS = ("minutes", "steps", "images", "epochs", "flops")

Precision = Literal["fp32", "bf16"]


class Options(Settings):
    """What every training can be asked for, whatever the family."""

    data: str = "digits"
    """Where the pictures come from: digits, shapes, mnist, fashion-mnist, cifar10, emoji, celeba, ..."""
    size: int | None = Field(None, ge=4, le=1024)
    """Side of the pictures in pixels; left out: what suits the source."""
    colour: Literal["auto", "grey", "rgb"] = "auto"
    """Colour mode; auto keeps grey pictures grey."""
    flip: bool = False
    """Mirror half of the pictures, for sets in which left and right do not matter."""
    conditional: bool | None = None
    """Tell the labels, so that a class can be asked for; left out: where the source has them."""
    seed: int = Field(0, ge=0)
    """Start of every random stream of the run."""
    batch: int = Field(128, ge=1)
    """Pictures a step."""
    micro_batch: int | None = Field(None, ge=1)
    """Pictures at once, where memory is short: gradients are added up over the batch.

    Batch norm sees these pictures alone, and so does what adaptive augmentation measures.
    """
    minutes: float | None = Field(None, gt=0)
    """Budget in minutes of training time."""
    steps: int | None = Field(None, ge=1)
    """Budget in steps."""
    images: int | None = Field(None, ge=1)
    """Budget in pictures seen."""
    epochs: float | None = Field(None, gt=0)
    """Budget in passes over the training pictures."""
    flops: float | None = Field(None, gt=0)
    """Budget in floating-point operations, as PyTorch counts those of one step: 1e13, for one."""
    average: float = Field(0.1, gt=0, lt=0.28)
    """Width of the averaged weights' memory, as a share of the run so far."""
    device: str = "auto"
    """auto, cpu, or a GPU by PyTorch's name."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the networks; auto takes bf16 where it is native and measured to be faster."""
    threads: int | None = Field(None, ge=1)
    """Processor threads; left out: PyTorch's choice."""
    save_every: int | None = Field(None, ge=1)
    """Steps between saved states; left out: about once a minute."""
    on_collapse: Literal["warn", "stop", "rollback"] = "warn"
    """When the watch finds a GAN collapsed or diverged: warn and go on, stop, or go on from the last good
    state at lower learning rates (also when a loss is not a number, which else always stops)."""

    @model_validator(mode="after")
    def one_budget(self) -> Options:
        """At most one budget; none means minutes."""
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one budget, not {' and '.join('--' + name for name in given)}")
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise ValueError(f"--micro-batch {self.micro_batch} must divide --batch {self.batch}")
        return self


class Arithmetic(NamedTuple):
    """How a device computes: what `--precision auto` chooses between."""

    precision: Precision
    channels_last: bool

    def words(self) -> str:
        """As run.json says it."""
        return self.precision + (", channels last" if self.channels_last else "")


class Timing(NamedTuple):
    """What a few steps showed."""

    seconds_per_step: float
    flops_per_step: int


class Plan(Settings):
    """What will be done: stored in run.json, and set again when the run is resumed."""

    steps: int
    """Steps in all; schedules run over them."""
    budget: str
    """The budget in words."""
    limit_seconds: float | None
    """Training time after which the clock ends the run."""
    device: str
    precision: Precision
    channels_last: bool
    threads: int
    world: int = 1
    timed: dict[str, float] = Field(default_factory=dict)
    """Seconds a step in the timed start, by arithmetic."""

    @classmethod
    def trial(cls, device: torch.device, arithmetic: Arithmetic) -> Plan:
        """A plan for timing a few steps: far from its end, with the threads of the moment."""
        return cls(
            steps=10**6,
            budget="a few steps",
            limit_seconds=None,
            device=str(device),
            precision=arithmetic.precision,
            channels_last=arithmetic.channels_last,
            threads=torch.get_num_threads(),
        )


def arithmetics(options: Options, device: torch.device) -> list[Arithmetic]:
    """The candidates worth timing; only one when a precision is asked for, which then fixes the bits."""
    last = devices.prefers_channels_last(device)
    if options.precision != "auto":
        return [Arithmetic(options.precision, last)]
    precisions: list[Precision] = ["fp32", "bf16"] if devices.bf16_is_native(device) else ["fp32"]
    candidates = [Arithmetic(precision, last) for precision in precisions]
    return candidates if last else [*candidates, Arithmetic(precisions[-1], True)]


def make_plan(
    options: Options, pictures: int, time_steps: Callable[[Arithmetic, float], Timing]
) -> tuple[Plan, int]:
    """Choose arithmetic and number of steps.

    pictures: in the training split. time_steps: times steps of a throw-away copy in an arithmetic for
    at most so many seconds. Returns the plan and the FLOPs of one step.
    """
    device = devices.choose(options.device)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    minutes = options.minutes
    if all(getattr(options, budget) is None for budget in BUDGETS):
        minutes = DEFAULT_MINUTES
    candidates = arithmetics(options, device)
    patience = min(5.0, max(1.0, 60 * minutes * 0.02)) if minutes else (1.5 if len(candidates) > 1 else 0.0)
    timings = {choice: time_steps(choice, patience) for choice in candidates}
    best = min(timings, key=lambda choice: timings[choice].seconds_per_step)
    steps, words = _steps(options, minutes, pictures, timings[best])
    plan = Plan(
        steps=steps,
        budget=words,
        limit_seconds=None if minutes is None else minutes * 60 * OVERTIME,
        device=str(device),
        precision=best.precision,
        channels_last=best.channels_last,
        threads=torch.get_num_threads(),
        timed={choice.words(): timing.seconds_per_step for choice, timing in timings.items()},
    )
    return plan, timings[best].flops_per_step


def _steps(options: Options, minutes: float | None, pictures: int, timing: Timing) -> tuple[int, str]:
    if minutes is not None:
        steps = int(minutes * 60 * AIM / timing.seconds_per_step)
        return max(1, steps), f"{minutes:g} minute{'s' * (minutes != 1)}"
    if options.steps:
        return options.steps, f"{options.steps} steps"
    if options.images:
        return max(1, round(options.images / options.batch)), f"{options.images} images"
    if options.flops:
        return max(1, round(options.flops / timing.flops_per_step)), f"{options.flops:.3g} FLOPs"
    assert options.epochs
    return max(1, round(options.epochs * pictures / options.batch)), f"{options.epochs:g} epochs"


def versions() -> dict[str, str]:
    """What the run was made with."""
    import platform

    import numpy as np

    import triptych

    return {
        "triptych": triptych.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu": devices.describe(torch.device("cpu")),
        "cores": str(os.cpu_count()),
    }
