"""How busy other processes keep the machine, and what that means for a training's threads.

The threads of one training wait for each other many hundred times a step. Where another process takes turns
with one of them, all wait for its turn to end, each time: with two threads on two cores a single busy
neighbor took three quarters of the pace and more, whatever OpenMP's idle threads do meanwhile, and nothing
from one thread (`benchmarks/contention.py`). The number of threads is part of what decides a run's bits, so
it is not changed in silence: the person is told.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
LISTEN_SECONDS = 0.2
BUSY = 0.5  # cores that others use, from which on it is worth a sentence


def busy_cores(stat: Path = STAT, seconds: float = LISTEN_SECONDS) -> float | None:
    """Cores that other processes keep busy just now; None where the system does not tell.

    Args:
        stat: The kernel's table of the time that its processors spent.
        seconds: How long to watch it, asleep.
    """
    before, own = _spent(stat), sum(os.times()[:2])
    time.sleep(seconds)
    after, used = _spent(stat), sum(os.times()[:2]) - own
    if before is None or after is None or after[1] <= before[1]:
        return None
    cores = os.cpu_count() or 1
    share = (after[0] - before[0]) / (after[1] - before[1])
    return max(0.0, share * cores - used / max(seconds, 1e-9))


def thread_advice(threads: int, busy: float | None, cores: int) -> str:
    """A sentence where fewer threads may be faster, else "".

    Args:
        threads: Of the training.
        busy: Cores that others use.
        cores: Of the machine.
    """
    if busy is None or busy < BUSY or threads < 2 or threads + busy <= cores + 0.25:
        return ""
    fewer = max(1, cores - max(1, round(busy)))
    if fewer >= threads:
        return ""
    return (
        f"other processes keep {busy:.1f} of {cores} cores busy, and threads wait for each other: "
        f"--threads {fewer} may be faster"
    )


def _spent(stat: Path) -> tuple[float, float] | None:
    """Busy time and all time of all processors since the start, in the kernel's ticks."""
    try:
        words = stat.read_text(encoding="ascii").split("\n", 1)[0].split()
        ticks = [int(word) for word in words[1:9]]  # user nice system idle iowait irq softirq steal
    except (OSError, ValueError):
        return None
    if len(ticks) < 5:
        return None
    return float(sum(ticks) - ticks[3] - ticks[4]), float(sum(ticks))
