"""The options of a training, and the plan made from them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator

from triptych.core.config import Settings
from triptych.core.time_left import duration

BUDGETS = ("minutes", "steps", "images", "epochs", "flops")

Precision = Literal["fp32", "bf16"]


class Options(Settings):
    """What every training can be asked for, whatever the family."""

    former_names = MappingProxyType({"colour": "color", "average": "ema_std"})
    former_values = MappingProxyType({"color": {"grey": "gray"}})

    data: str = "digits"
    """Where the pictures come from: digits, shapes, mnist, fashion-mnist, cifar10, emoji, celeba, ..."""
    size: int | None = Field(None, ge=4, le=1024)
    """Side of the pictures in pixels; left out: what suits the source."""
    color: Literal["auto", "gray", "rgb"] = "auto"
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
    ema_std: float = Field(0.1, gt=0, lt=0.28)
    """Width of the EMA of the weights: standard deviation of its profile, as a share of the run so far."""
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
    precision_reason: str = ""
    """Why this precision."""

    def words(self, batch: int, seconds_per_step: float | None) -> str:
        """What is about to be done, in one line. batch: images a step."""
        pace = None if seconds_per_step is None else self.steps * seconds_per_step
        lasts = "" if pace is None else f"{duration(pace)}: "
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        chosen = Arithmetic(self.precision, self.channels_last).words()
        reason = self.precision_reason and f" ({self.precision_reason})"
        steps = f"{self.steps:,} step{'s' * (self.steps != 1)} of {batch} image{'s' * (batch != 1)}"
        return f"{lasts}{steps} on {self.device}, {threads}, {chosen}{reason}"

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
