"""What is noted beside the tensors of a checkpoint, and of a snapshot."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator
from torch import Tensor

from triptych.core.config import Record
from triptych.runs.card import FORMAT, Rollback
from triptych.runs.weights import Comparison

log = logging.getLogger(__name__)

Files = dict[str, dict[str, Tensor]]  # file name without suffix -> tensors by name


class LogPosition(Record):
    """Where the newest line of the log stands."""

    step: int = 0
    seconds: float = 0.0
    """Training time until then."""


class LogAccumulators(Record):
    """Running sums of the values that the next line of the log averages."""

    sums: dict[str, float] = Field(default_factory=dict)
    counts: dict[str, int] = Field(default_factory=dict)


class _Compared(Record):
    format: Literal[1] = FORMAT
    seconds: float = 0.0
    """Training time so far."""
    comparison: Comparison | None = None
    """The newest comparison of raw and EMA weights."""

    @field_validator("comparison", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        """A comparison that cannot be read must not make the weights unreadable: it counts as none."""
        try:
            return None if value is None else Comparison.model_validate(value)
        except ValidationError as error:
            log.warning("the comparison of raw and EMA weights cannot be read: %s", error.errors()[0]["msg"])
            return None


class SnapshotMeta(_Compared):
    """The meta.json of a snapshot: EMA and raw weights kept on the way."""


class CheckpointMeta(_Compared):
    """The meta.json of a checkpoint: what training needs beside the tensors to go on."""

    step: int
    images: int = 0
    """Training images seen, with repetition."""
    total_steps: int = 0
    """Steps that the learning-rate schedules ran over."""
    peak_memory_bytes: int = 0
    learning_rates: dict[str, list[float]] = Field(default_factory=dict)
    """Objective -> the learning rate of each parameter group in the last step; empty after a rollback."""
    lr_scale: float = 1.0
    """Factor on all learning rates: below 1 after a rollback."""
    healthy: bool = False
    """Whether the GAN monitor found nothing wrong at this step."""
    rollbacks: tuple[Rollback, ...] = ()
    last_log: LogPosition = LogPosition()
    log_accumulators: LogAccumulators = LogAccumulators()


class Checkpoint(NamedTuple):
    """A checkpoint that was read and whose checksums hold."""

    tensors: Files
    meta: CheckpointMeta
    passed_over: list[str]
    """Newer checkpoints that are damaged, a sentence each."""


class Snapshot(NamedTuple):
    """The weights kept at one step of the training: "ema" and, but in old runs, "raw"."""

    tensors: Files
    meta: SnapshotMeta


def plainly(error: Exception) -> str:
    """What went wrong, without an error number or a long path."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{Path(error.filename).name}: {error.strerror}"
    return str(error)
