"""How busy other processes keep the machine, and what that means for a training's threads.

The threads of one training wait for each other many hundred times per step. Where another process shares a
core with one of them, all wait for it each time: with two threads on two cores a single busy process cost
three quarters of the speed and more, whatever OpenMP's idle threads do meanwhile, and with one thread it cost
nothing (`benchmarks/contention.py`). A run's bits depend on the number of threads, so it is not changed
silently: the user is told.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
LISTEN_SECONDS = 0.2
BUSY = 0.5  # cores that others use, from which on advice is given


def busy_cores(stat: Path = STAT, seconds: float = LISTEN_SECONDS) -> float | None:
    """Measure how many cores other processes use.

    Args:
        stat: The kernel's table of processor times (/proc/stat).
        seconds: How long to measure, asleep.

    Returns:
        A number of cores, 0 or more; None where the system does not tell.
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
    """Advise fewer threads where they may be faster.

    Args:
        threads: Number of threads of the training.
        busy: Cores that other processes use; None: unknown.
        cores: Cores of the machine.

    Returns:
        A sentence, or "" where there is nothing to advise.
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
