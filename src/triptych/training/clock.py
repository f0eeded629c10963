"""The training clock, and what a watcher is told after each step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from triptych.monitor.gan_monitor import GanMonitor
from triptych.runs.checkpoint import CheckpointMeta, LogAccumulators, LogPosition
from triptych.runs.options import Plan
from triptych.runs.run import Run
from triptych.training.trainer import Step, Trainer

SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Progress:
    """What a watcher is told after every step."""

    run: Run
    step: int
    steps: int
    images_per_second: float
    losses: Callable[[], dict[str, float]]  # read only when asked: reading waits for the device
    news: str = ""  # what the watch has to say that cannot wait


Watcher = Callable[[Progress], None]


class StepTimer:
    """Training time, drawing and saving left out; and the running means of what the log shows next."""

    def __init__(self, meta: CheckpointMeta | None = None) -> None:
        self.seconds = 0.0 if meta is None else meta.seconds
        self.sums: dict[str, Any] = {}  # numbers, or scalars still on the device
        self.counts: dict[str, int] = {}
        self.last_log = LogPosition()
        if meta is not None:
            self.go_back(meta)
        self.batch, self.saved_at, self.started = 0, time.perf_counter(), time.perf_counter()
        self.pace = 0.0

    def go_on(self) -> None:
        """Start counting again."""
        self.started = time.perf_counter()

    def go_back(self, meta: CheckpointMeta) -> None:
        """Take up the running means of an earlier checkpoint, but not its time."""
        self.sums, self.counts = dict(meta.log_accumulators.sums), dict(meta.log_accumulators.counts)
        self.last_log = meta.last_log

    def lap(self, training: Trainer, step: Step) -> None:
        """Count the time of one step and take in what it showed."""
        spent = time.perf_counter() - self.started
        self.seconds, self.batch = self.seconds + spent, training.options.batch
        self.pace = spent if self.pace == 0 else 0.9 * self.pace + 0.1 * spent
        for name, value in step.values.items():
            # float32 sums on the device: a resumed run adds the same numbers in the same order
            self.sums[name] = value.float() + self.sums.get(name, 0.0)
            self.counts[name] = self.counts.get(name, 0) + 1

    def line(self, step: int) -> dict[str, Any]:
        """The log's next line: means since the line before."""
        means = {name: number(self.sums[name]) / self.counts[name] for name in sorted(self.sums)}
        seconds = self.seconds - self.last_log.seconds
        images = (step - self.last_log.step) * self.batch
        self.sums, self.counts = {}, {}
        self.last_log = LogPosition(step=step, seconds=self.seconds)
        pace = {"seconds": round(self.seconds, 3), "images_per_second": round(images / max(seconds, 1e-9), 1)}
        return {"step": step, "images": step * self.batch, **pace, **means}

    def accumulators(self) -> LogAccumulators:
        """The running sums, for a checkpoint."""
        sums = {name: number(value) for name, value in self.sums.items()}
        return LogAccumulators(sums=sums, counts=dict(self.counts))

    def save_due(self, step: int, every: int | None) -> bool:
        """Whether it is time for a state: by steps if asked, else by the clock."""
        return step % every == 0 if every else time.perf_counter() - self.saved_at > SAVE_SECONDS

    def progress(self, run: Run, step: Step, plan: Plan, lookout: GanMonitor | None) -> Progress:
        """What a watcher is told."""

        def losses() -> dict[str, float]:
            return {name: number(value) for name, value in step.values.items() if name.endswith("/loss")}

        return Progress(run, step.step, plan.steps, self.batch / max(self.pace, 1e-9), losses, news(lookout))


def news(lookout: GanMonitor | None) -> str:
    """What the watch has to say that cannot wait, in one line."""
    found = None if lookout is None else lookout.diagnosis
    return f"the watch: {found.summary()}" if found is not None and found.fatal else ""


def number(value: Tensor | float) -> float:
    """A scalar as a Python number."""
    return float(value)
