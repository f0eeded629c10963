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
    """The options of every training, whatever the model."""

    former_names = MappingProxyType({"colour": "color", "average": "ema_std"})
    former_values = MappingProxyType({"color": {"grey": "gray"}})

    data: str = "digits"
    """Source of the images: digits, shapes, mnist, fashion-mnist, cifar10, emoji, celeba, folder:PATH, ..."""
    size: int | None = Field(None, ge=4, le=1024)
    """Side of the images in pixels; left out: what suits the source."""
    color: Literal["auto", "gray", "rgb"] = "auto"
    """Color mode of the images; auto: that of most of them."""
    flip: bool = False
    """Mirror each image with probability 1/2, for data in which left and right do not matter."""
    conditional: bool | None = None
    """Train a conditional model, which samples the class asked for; left out: where the source has labels."""
    seed: int = Field(0, ge=0)
    """Seed of all random numbers of the run."""
    batch: int = Field(128, ge=1)
    """Images per training step."""
    micro_batch: int | None = Field(None, ge=1)
    """Images per forward pass, where memory is short; gradients are accumulated over the batch. Batch norm
    and adaptive augmentation then see only these images."""
    minutes: float | None = Field(None, gt=0)
    """Budget in minutes of training time."""
    steps: int | None = Field(None, ge=1)
    """Budget in steps."""
    images: int | None = Field(None, ge=1)
    """Budget in training images seen."""
    epochs: float | None = Field(None, gt=0)
    """Budget in passes over the training images."""
    flops: float | None = Field(None, gt=0)
    """Budget in floating-point operations, as PyTorch counts them for one step: 1e13, for example."""
    ema_std: float = Field(0.1, gt=0, lt=0.28)
    """Width of the EMA of the weights: standard deviation of its profile, as a share of the run so far."""
    device: str = "auto"
    """auto, cpu, or PyTorch's name of a GPU: cuda, cuda:1, mps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the networks; auto: bf16 on GPUs that support it and CPUs with AMX, else fp32."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; left out: PyTorch's choice."""
    save_every: int | None = Field(None, ge=1)
    """Steps between checkpoints; left out: about one a minute."""
    track: tuple[Literal["tensorboard"], ...] = ()
    """Write events for a live view into the run's directory: tensorboard --logdir runs."""
    on_collapse: Literal["warn", "stop", "rollback"] = "warn"
    """When the GAN monitor finds collapse or divergence: warn and continue, stop, or roll back to the last
    healthy checkpoint and continue at lower learning rates (also for a NaN loss of any model, which otherwise
    stops)."""

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
        """Describe what is about to be done, in one line.

        Args:
            batch: Images per step.
            seconds_per_step: As timed; None: not timed.

        Returns:
            Duration, steps, device, threads and precision, in words.
        """
        pace = None if seconds_per_step is None else self.steps * seconds_per_step
        lasts = "" if pace is None else f"{duration(pace)}: "
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        chosen = Arithmetic(self.precision, self.channels_last).words()
        reason = self.precision_reason and f" ({self.precision_reason})"
        steps = f"{self.steps:,} step{'s' * (self.steps != 1)} of {batch} image{'s' * (batch != 1)}"
        return f"{lasts}{steps} on {self.device}, {threads}, {chosen}{reason}"

    @classmethod
    def trial(cls, device: torch.device, arithmetic: Arithmetic) -> Plan:
        """Make a plan for timing a few steps: far from its end, with the present number of threads.

        Args:
            device: Where to compute.
            arithmetic: Precision and memory format.

        Returns:
            The plan.
        """
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
        """Say how to repeat a run with a budget in minutes to the bit; "" for other budgets.

        step: how many were trained. A run that the clock ended early had planned its schedules for more.
        """
        if self.limit_seconds is None:
            return ""
        if step >= self.steps:
            return (
                f"{self.budget} came to {step:,} steps: to repeat this run exactly, give "
                f"--steps {self.steps} instead of --minutes"
            )
        return (
            f"the budget of {self.budget} ended at step {step:,} of {self.steps:,} planned: "
            f"--steps {self.steps} trains all of them"
        )
