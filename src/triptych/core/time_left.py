"""The time that long work still takes, in words."""

from __future__ import annotations

import time
from collections.abc import Callable


def duration(seconds: float) -> str:
    """A time to come, in words: "about 5 minutes"."""
    if seconds < 55:
        return "under a minute" if seconds > 10 else "a few seconds"
    if seconds < 90 * 60:
        minutes = round(seconds / 60)
        return f"about {minutes} minute{'s' * (minutes != 1)}"
    return f"about {seconds / 3600:.1f} hours"


def throttled_progress(say: Callable[[str], None]) -> Callable[[str, int, int], None]:
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
