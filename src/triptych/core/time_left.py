"""Remaining time in words, and progress lines that are not printed too often."""

from __future__ import annotations

import time
from collections.abc import Callable


def duration(seconds: float) -> str:
    """A duration in words: "about 5 minutes"."""
    if seconds < 55:
        return "under a minute" if seconds > 10 else "a few seconds"
    if seconds < 90 * 60:
        minutes = round(seconds / 60)
        return f"about {minutes} minute{'s' * (minutes != 1)}"
    return f"about {seconds / 3600:.1f} hours"


def throttled_progress(say: Callable[[str], None]) -> Callable[[str, int, int], None]:
    """Make a progress callback that says how much time is left: after two seconds, then every ten.

    Args:
        say: Prints a line.

    Returns:
        (task, units done, units in all) -> None.
    """
    began: dict[str, tuple[float, int]] = {}  # task -> time and units done at the first call
    said_at: dict[str, float] = {}

    def report(task: str, done: int, total: int) -> None:
        now = time.monotonic()
        first, before = began.setdefault(task, (now, done))
        if now - said_at.get(task, first) < (10 if task in said_at else 2) or done == before:
            return
        left = (total - done) * (now - first) / (done - before)
        if left >= 5:  # work that ends in a moment needs no line
            said_at[task] = now
            say(f"{task}: {done:,} of {total:,}, {duration(left)} left")

    return report
