"""Progress of a training or of other long work in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from triptych.cli._registry import say

if TYPE_CHECKING:
    from triptych.training.clock import Progress, StepCallback

WIDE, MEDIUM = 100, 60  # columns a terminal needs to show every field; to show a bar
RECOVERED = "GAN monitor: the training has recovered"
LINE_SECONDS = 10.0  # at least, between two lines where there is no bar; in long runs a hundredth of the run


@contextmanager
def progress_bar(title: str) -> Iterator[StepCallback]:
    """Show a bar with images per second, losses and time left.

    A narrow terminal shows the step and the time left only. A pipe, a file or a terminal that cannot move its
    cursor (TERM=dumb) gets a line at intervals instead (`Lines`).

    Args:
        title: The model's name, shown before the bar.

    Yields:
        The callback that a training calls after each step.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(title)
        return
    from rich.progress import Progress as Bar

    with Bar(*columns_for(console.width), console=console) as bar:
        task = bar.add_task(title, total=None, pace="preparing", losses="", count="preparing", left="")
        shown_at, alert = 0.0, ""

        def update(progress: Progress) -> None:
            nonlocal shown_at, alert
            if progress.news != alert:
                alert = progress.news
                console.print(alert or RECOVERED, style="bold", markup=False, highlight=False)
            now = time.perf_counter()
            if now - shown_at > 0.25 or progress.step >= progress.steps:
                shown_at = now
                bar.update(
                    task, completed=progress.step, total=progress.steps,
                    pace=f"{progress.images_per_second:,.0f} images/s", losses=losses(progress),
                    count=f"{progress.step:,}/{progress.steps:,}",
                    left=time_left(bar.tasks[task], progress),
                )  # fmt: skip

        yield update


def columns_for(width: int) -> tuple[Any, ...]:
    """The columns of the bar that fit a terminal of this width, in characters: always step and time left."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Column

    if width < MEDIUM:
        return tuple(TextColumn(f"{{task.fields[{name}]}}", table_column=Column(no_wrap=True))
                     for name in ("count", "left"))  # fmt: skip
    shared = (
        TextColumn("{task.description}"), BarColumn(None if width < WIDE else 40),
        TextColumn("{task.fields[count]}"),
    )  # fmt: skip
    if width < WIDE:
        return (*shared, TimeRemainingColumn())
    return (
        *shared, TextColumn("{task.fields[pace]}"), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )  # fmt: skip


def time_left(task: Any, progress: Progress) -> str:
    """The time left, in words.

    Args:
        task: The task of a rich progress bar.
        progress: The progress of the training.

    Returns:
        "1:15 left"; "-:-- left" before it can be estimated; "done" at the end.
    """
    if progress.step >= progress.steps:
        return "done"
    return "-:-- left" if task.time_remaining is None else f"{clock(task.time_remaining)} left"


def clock(seconds: float) -> str:
    """Format seconds: 3723 -> "1:02:03", 75 -> "1:15"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Lines:
    """Prints progress as lines, for logs: every ten seconds, in long runs every hundredth of the run."""

    def __init__(self, title: str) -> None:
        self.title, self.alert = title, ""
        self.shown_at = time.perf_counter()
        self.began: tuple[float, int] | None = None  # time and number of this process's first step
        self.pause = LINE_SECONDS

    def __call__(self, progress: Progress) -> None:
        """Print a line if the last one is long enough ago."""
        if progress.news != self.alert:
            self.alert = progress.news
            print(self.alert or RECOVERED, file=sys.stderr, flush=True)
        now = time.perf_counter()
        left = self.left(now, progress)
        if now - self.shown_at < self.pause and progress.step < progress.steps:
            return
        self.shown_at = now
        if self.began is not None and left is not None:
            self.pause = max(LINE_SECONDS, (now - self.began[0] + left) / 100)
        ends = f", {clock(left)} left" if left is not None and progress.step < progress.steps else ""
        print(
            f"{self.title}: step {progress.step} of {progress.steps}{ends}, "
            f"{progress.images_per_second:,.0f} images/s, {losses(progress)}",
            file=sys.stderr,
            flush=True,
        )

    def left(self, now: float, progress: Progress) -> float | None:
        """Estimate the time left from the speed so far, which includes sampling and saving.

        Args:
            now: Value of `time.perf_counter`, in seconds.
            progress: The progress of the training.

        Returns:
            Seconds; None at the first step.
        """
        if self.began is None:
            self.began = (now, progress.step)
            return None
        since, first = self.began
        return (now - since) / max(progress.step - first, 1) * (progress.steps - progress.step)


def losses(progress: Progress) -> str:
    """The losses of all objectives, in one line."""
    return ", ".join(f"{name.split('/')[0]} {value:.3g}" for name, value in progress.losses().items())


def throttled() -> Callable[[str, int, int], None]:
    """Make a progress callback (task, done, total) that prints the time left, at most every ten seconds."""
    from triptych.core.time_left import throttled_progress

    return throttled_progress(say)


def throttled_for(task: str) -> Callable[[int, int], None]:
    """Make the same callback for one task: (done, total)."""
    progress = throttled()
    return lambda done, total: progress(task, done, total)
