"""From what was asked (options) to what will be done (plan), decided once and stored.

Nothing in a training step depends on the clock, nor does the choice of arithmetic: it follows from the device
and the family, so that the same command gives the same bits. A budget in minutes becomes a number of steps
after a short timed start, and the plan keeps that number; for other budgets the clock only tells how long
it will take.
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
GUESS_SECONDS = 0.5  # of timed steps, where only a person waits for the answer, ...
GUESSED_STEPS = 200  # ... and from so many steps on

BUDGETS = ("minutes", "steps", "images", "epochs", "flops")

Precision = Literal["fp32", "bf16"]


class Options(Settings):
    """What every training can be asked for, whatever the family."""

    data: str = "digits"
    """Where the pictures come from: digits, shapes, mnist, fashion-mnist, cifar10, emoji, celeba, ..."""
    size: int | None = Field(None, ge=4, le=1024)
    """Side of the pictures in pixels; left out: what suits the source."""
    colour: Literal["auto", "grey", "rgb"] = "auto"
    """Color mode; auto makes all images what most of them are."""
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
    """Arithmetic of the networks; auto takes bf16 on GPUs that have it and processors with AMX, else fp32."""
    threads: int | None = Field(None, ge=1)
    """Processor threads; left out: PyTorch's choice."""
    save_every: int | None = Field(None, ge=1)
    """Steps between saved states; left out: about once a minute."""
    track: tuple[Literal["tensorboard"], ...] = ()
    """Follow the training live, in the run's folder tensorboard: tensorboard --logdir runs."""
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
    """How a device computes."""

    precision: Precision
    channels_last: bool

    def words(self) -> str:
        """As run.json says it."""
        return self.precision + (", channels last" if self.channels_last else "")


class Timing(NamedTuple):
    """What a few steps showed."""

    seconds_per_step: float | None  # None where only operations were counted
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
    why: str = ""
    """Why this arithmetic."""
    timed: dict[str, float] = Field(default_factory=dict)
    """Of runs made by older versions: seconds a step, by the arithmetics that were then timed."""

    def words(self, batch: int, seconds_per_step: float | None) -> str:
        """What is about to be done, in one line. batch: images a step."""
        pace = None if seconds_per_step is None else self.steps * seconds_per_step
        lasts = "" if pace is None else f"{duration(pace)}: "
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        chosen = Arithmetic(self.precision, self.channels_last).words()
        steps = f"{self.steps:,} step{'s' * (self.steps != 1)} of {batch} image{'s' * (batch != 1)}"
        return f"{lasts}{steps} on {self.device}, {threads}, {chosen}{self.why and f' ({self.why})'}"

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

    def how_to_repeat(self, step: int) -> str:
        """How a run with a budget in minutes is made again to the bit; "" for other budgets.

        step: how many were trained. A run that the clock ended early had planned its schedules for more.
        """
        if self.limit_seconds is None:
            return ""
        if step >= self.steps:
            return (
                f"{self.budget} came to {step:,} steps: --steps {self.steps} in their place repeats this run"
            )
        return f"{self.budget} were over at step {step:,} of {self.steps:,}: --steps {self.steps} trains all"


def arithmetic(options: Options, device: torch.device, channels_last: bool = False) -> tuple[Arithmetic, str]:
    """The arithmetic of a training, and why: a function of the options, the device and the family alone.

    channels_last: whether the family's networks are faster so on processors.
    """
    last = devices.prefers_channels_last(device, channels_last)
    if options.precision != "auto":
        return Arithmetic(options.precision, last), "precision as asked for"
    pays, why = devices.bf16_pays(device)
    return Arithmetic("bf16" if pays else "fp32", last), why


def make_plan(
    options: Options,
    images: int,
    time_steps: Callable[[Arithmetic, float], Timing],
    channels_last: bool = False,
) -> tuple[Plan, Timing]:
    """Choose arithmetic and number of steps.

    images: in the training split. time_steps: counts the operations of steps of a throw-away copy in an
    arithmetic, and times them for about so many seconds, 0 for not at all. channels_last: whether the
    family's networks are faster so on processors. Returns the plan and what was counted and timed.
    """
    device = devices.choose(options.device)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    chosen, why = arithmetic(options, device, channels_last)
    minutes = options.minutes
    if all(getattr(options, budget) is None for budget in BUDGETS):
        minutes = DEFAULT_MINUTES
    timing = time_steps(chosen, _patience(options, minutes, images))
    steps, words = _steps(options, minutes, images, timing)
    plan = Plan(
        steps=steps,
        budget=words,
        limit_seconds=None if minutes is None else minutes * 60 * OVERTIME,
        device=str(device),
        precision=chosen.precision,
        channels_last=chosen.channels_last,
        threads=torch.get_num_threads(),
        why=why,
    )
    return plan, timing


def _patience(options: Options, minutes: float | None, images: int) -> float:
    """Seconds of timing: enough to plan minutes by, else for a guess, for a short run none."""
    if minutes is not None:
        return min(5.0, max(1.0, 60 * minutes * 0.02))
    if options.flops:
        return GUESS_SECONDS
    steps, _ = _steps(options, None, images, Timing(None, 1))
    return GUESS_SECONDS if steps >= GUESSED_STEPS else 0.0


def _steps(options: Options, minutes: float | None, images: int, timing: Timing) -> tuple[int, str]:
    if minutes is not None:
        assert timing.seconds_per_step is not None
        steps = int(minutes * 60 * AIM / timing.seconds_per_step)
        return max(1, steps), f"{minutes:g} minute{'s' * (minutes != 1)}"
    if options.steps:
        return options.steps, f"{options.steps} steps"
    if options.images:
        return max(1, round(options.images / options.batch)), f"{options.images} images"
    if options.flops:
        return max(1, round(options.flops / timing.flops_per_step)), f"{options.flops:.3g} FLOPs"
    assert options.epochs
    return max(1, round(options.epochs * images / options.batch)), f"{options.epochs:g} epochs"


def duration(seconds: float) -> str:
    """A time to come, in words: "about 5 minutes"."""
    if seconds < 55:
        return "under a minute" if seconds > 10 else "a few seconds"
    if seconds < 90 * 60:
        minutes = round(seconds / 60)
        return f"about {minutes} minute{'s' * (minutes != 1)}"
    return f"about {seconds / 3600:.1f} hours"


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
        "instructions": devices.instructions(),
    }
