"""What a person at the terminal sees while a training runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from triptych.plan import duration

if TYPE_CHECKING:
    from triptych.driver import Progress, Watcher


@contextmanager
def progress_bar(title: str) -> Iterator[Watcher]:
    """A bar with images per second, losses and time left; a line now and then where there is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(title)
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"),
        TextColumn("{task.fields[pace]}"), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )  # fmt: skip
    with Bar(*columns, console=console) as bar:
        task = bar.add_task(title, total=None, count="", pace="getting ready", losses="")
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
                    count=f"{progress.step:,}/{progress.steps:,}",
                    pace=f"{progress.images_per_second:,.0f} images/s", losses=losses(progress),
                )  # fmt: skip

        yield watch


class _Lines:
    """A line every ten seconds, for logs."""

    def __init__(self, title: str) -> None:
        self.title, self.shown_at, self.told = title, time.perf_counter(), ""

    def __call__(self, progress: Progress) -> None:
        if progress.news != self.told:
            self.told = progress.news
            print(self.told or "the watch: it has recovered", file=sys.stderr, flush=True)
        now = time.perf_counter()
        if now - self.shown_at < 10 and progress.step < progress.steps:
            return
        self.shown_at = now
        print(
            f"{self.title}: step {progress.step} of {progress.steps}, "
            f"{progress.images_per_second:,.0f} images/s, {losses(progress)}",
            file=sys.stderr,
            flush=True,
        )


def losses(progress: Progress) -> str:
    """The players' losses in a few words."""
    return ", ".join(f"{name.split('/')[0]} {value:.3g}" for name, value in progress.losses().items())


def told_slowly(say: Callable[[str], None]) -> Callable[[str, int, int], None]:
    """A callback (what, done, in all) that says how much time is left, once known and then now and then."""
    began: dict[str, tuple[float, int]] = {}  # of each work, and how much was done then
    told: dict[str, float] = {}

    def tell(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        first, before = began.setdefault(what, (now, done))
        if now - told.get(what, first) < (10 if what in told else 2) or done == before:
            return
        left = (total - done) * (now - first) / (done - before)
        if left >= 5:  # what is over in a moment needs no words
            told[what] = now
            say(f"{what}: {done:,} of {total:,}, {duration(left)} left")

    return tell
