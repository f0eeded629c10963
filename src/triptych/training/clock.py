"""Training time, running means for the log, and the progress that a callback receives after each step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from triptych.monitor.gan_monitor import GanMonitor
from triptych.runs.checkpoint import CheckpointMeta, LogAccumulators, LogPosition
from triptych.runs.options import Plan
from triptych.runs.run import Run
from triptych.training.trainer import Step, Trainer

SAVE_SECONDS = 60.0  # between checkpoints, unless `save_every` is set
PACE_MEMORY = 0.9  # of the moving average of seconds per step


@dataclass(frozen=True)
class Progress:
    """What a callback learns after each training step."""

    run: Run
    step: int  # steps done
    steps: int  # steps planned
    images_per_second: float
    losses: Callable[[], dict[str, float]]  # reading them waits for the device
    news: str = ""  # a fatal diagnosis of the GAN monitor; "" for none


StepCallback = Callable[[Progress], None]


class StepTimer:
    """Counts training time without sampling and saving, and averages logged values between log lines.

    Args:
        meta: Of the checkpoint that training goes on from; None for a new training.
    """

    def __init__(self, meta: CheckpointMeta | None = None) -> None:
        self.seconds = 0.0 if meta is None else meta.seconds
        self.saved_at = self._started = time.perf_counter()
        self._seconds_per_step, self._batch = 0.0, 0
        self._sums: dict[str, Any] = {}  # numbers, or scalars still on the device
        self._counts: dict[str, int] = {}
        self.last_log = LogPosition()
        if meta is not None:
            self.roll_back(meta)

    def start(self) -> None:
        """Start counting: the next step begins now."""
        self._started = time.perf_counter()

    def record(self, trainer: Trainer, step: Step) -> None:
        """Count the time since `start` and add the step's values to the running means.

        Args:
            trainer: Whose batch size gives images per second.
            step: The step that has just ended.
        """
        spent = time.perf_counter() - self._started
        self.seconds, self._batch = self.seconds + spent, trainer.options.batch
        before = self._seconds_per_step
        self._seconds_per_step = PACE_MEMORY * before + (1 - PACE_MEMORY) * spent if before else spent
        for name, value in step.values.items():
            # float32 sums on the device: a resumed run adds the same numbers in the same order
            self._sums[name] = value.float() + self._sums.get(name, 0.0)
            self._counts[name] = self._counts.get(name, 0) + 1

    def log_line(self, step: int) -> dict[str, Any]:
        """Return the next line of log.jsonl, with means since the line before, and start new means."""
        means = {name: float(self._sums[name]) / self._counts[name] for name in sorted(self._sums)}
        seconds = self.seconds - self.last_log.seconds
        images = (step - self.last_log.step) * self._batch
        self._sums, self._counts = {}, {}
        self.last_log = LogPosition(step=step, seconds=self.seconds)
        pace = {"seconds": round(self.seconds, 3), "images_per_second": round(images / max(seconds, 1e-9), 1)}
        return {"step": step, "images": step * self._batch, **pace, **means}

    def accumulators(self) -> LogAccumulators:
        """Return the running sums since the last log line, for a checkpoint."""
        sums = {name: float(value) for name, value in self._sums.items()}
        return LogAccumulators(sums=sums, counts=dict(self._counts))

    def roll_back(self, meta: CheckpointMeta) -> None:
        """Take the running means of an earlier checkpoint; the time spent since stays counted."""
        self._sums = dict(meta.log_accumulators.sums)
        self._counts = dict(meta.log_accumulators.counts)
        self.last_log = meta.last_log

    def save_due(self, step: int, every: int | None) -> bool:
        """Decide whether it is time for a checkpoint.

        Args:
            step: Steps done.
            every: Steps between checkpoints; None: `SAVE_SECONDS` decide.

        Returns:
            True if one should be saved now.
        """
        return step % every == 0 if every else time.perf_counter() - self.saved_at > SAVE_SECONDS

    def progress(self, run: Run, step: Step, plan: Plan, monitor: GanMonitor | None) -> Progress:
        """Build what the callback receives.

        Args:
            run: The run that is trained.
            step: The step that has just ended.
            plan: Says how many steps there will be.
            monitor: The GAN monitor, None for a model that is no GAN.

        Returns:
            Progress after this step.
        """

        def losses() -> dict[str, float]:
            return {name: float(value) for name, value in step.values.items() if name.endswith("/loss")}

        images_per_second = self._batch / max(self._seconds_per_step, 1e-9)
        return Progress(run, step.step, plan.steps, images_per_second, losses, urgent_news(monitor))


def urgent_news(monitor: GanMonitor | None) -> str:
    """The monitor's diagnosis in one line if it is fatal, else ""."""
    diagnosis = None if monitor is None else monitor.diagnosis
    return f"GAN monitor: {diagnosis.summary()}" if diagnosis is not None and diagnosis.fatal else ""
