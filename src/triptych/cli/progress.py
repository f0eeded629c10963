"""Progress of a training or of other long work, shown in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from triptych.cli._registry import say

if TYPE_CHECKING:
    from triptych.training.clock import Progress, Watcher

ROOMY, NARROW = 100, 60  # columns of a terminal from which on there is room for all, for a bar without losses
LINE_SECONDS = 10.0  # between lines where there is no bar, at least; and at least a hundredth of the run


@contextmanager
def progress_bar(title: str) -> Iterator[Watcher]:
    """A bar with images per second, losses and time left; a line now and then where none can be drawn.

    A narrow terminal keeps the step and the time left. None can be drawn into a pipe or a file, and on a
    terminal that cannot move its cursor (TERM=dumb).
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(title)
        return
    from rich.progress import Progress as Bar

    with Bar(*columns_for(console.width), console=console) as bar:
        task = bar.add_task(
            title, total=None, pace="getting ready", losses="", count="getting ready", left=""
        )
        shown_at, told = 0.0, ""

        def watch(progress: Progress) -> None:
            nonlocal shown_at, told
            if progress.news != told:
                told = progress.news
                console.print(
                    told or "the watch: it has recovered", style="bold", markup=False, highlight=False
                )
            now = time.perf_counter()
            if now - shown_at > 0.25 or progress.step >= progress.steps:
                shown_at = now
                bar.update(
                    task, completed=progress.step, total=progress.steps,
                    pace=f"{progress.images_per_second:,.0f} images/s", losses=losses(progress),
                    count=f"{progress.step:,}/{progress.steps:,}",
                    left=seconds_left(bar.tasks[task], progress),
                )  # fmt: skip

        yield watch


def columns_for(width: int) -> tuple[Any, ...]:
    """What fits into a terminal of so many columns: always the step and the time left."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Column

    if width < NARROW:
        return tuple(TextColumn(f"{{task.fields[{name}]}}", table_column=Column(no_wrap=True))
                     for name in ("count", "left"))  # fmt: skip
    shared = (
        TextColumn("{task.description}"), BarColumn(None if width < ROOMY else 40),
        TextColumn("{task.fields[count]}"),
    )  # fmt: skip
    if width < ROOMY:
        return (*shared, TimeRemainingColumn())
    return (
        *shared, TextColumn("{task.fields[pace]}"), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )  # fmt: skip


def seconds_left(task: Any, progress: Progress) -> str:
    """What a bar's task still takes, as a clock shows it; "-:--" before that is known."""
    if progress.step >= progress.steps:
        return "done"
    return "-:-- left" if task.time_remaining is None else f"{clock(task.time_remaining)} left"


def clock(seconds: float) -> str:
    """3723 -> "1:02:03", 75 -> "1:15"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Lines:
    """A line now and then, for logs: every ten seconds, of long runs every hundredth of the run."""

    def __init__(self, title: str) -> None:
        self.title, self.told = title, ""
        self.shown_at = time.perf_counter()
        self.began: tuple[float, int] | None = (
            None  # when the first step of this sitting ended, and its number
        )
        self.pause = LINE_SECONDS

    def __call__(self, progress: Progress) -> None:
        """Print what has happened, if it is time to."""
        if progress.news != self.told:
            self.told = progress.news
            print(self.told or "the watch: it has recovered", file=sys.stderr, flush=True)
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
        """Seconds to the end at the pace so far, drawing and saving counted; None at first."""
        if self.began is None:
            self.began = (now, progress.step)
            return None
        since, first = self.began
        return (now - since) / max(progress.step - first, 1) * (progress.steps - progress.step)


def losses(progress: Progress) -> str:
    """The players' losses in a few words."""
    return ", ".join(f"{name.split('/')[0]} {value:.3g}" for name, value in progress.losses().items())


def said_slowly() -> Callable[[str, int, int], None]:
    """A progress callback that says how long a work will take: once that is known, then every ten seconds."""
    from triptych.core.time_left import told_slowly

    return told_slowly(say)


def said_slowly_of(what: str) -> Callable[[int, int], None]:
    """The same for one kind of work."""
    tell = said_slowly()
    return lambda done, total: tell(what, done, total)
