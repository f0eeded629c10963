"""Threads for NumPy and torch: one for short steps, several tasks at once for long ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

T = TypeVar("T")
LONG = 1e10  # multiplications: a few tenths of a second
MOST = 6  # each works in memory of its own

_outside: int | None = None  # threads before the outermost one_thread()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and NumPy's linear algebra use one thread.

    For work of many short steps: a second thread saves at most half of the time on an idle machine, but on a
    busy one, where each step waits for a thread without a core, it makes the work ten times slower (all
    scores of 10,000 x 5,000 images: 6 s, and 110 s beside two busy processes; with one thread 11 s there
    too). Results then do not depend on the number of threads either.

    Yields:
        Nothing; the number of threads is restored at the end.
    """
    global _outside
    before, outermost = torch.get_num_threads(), _outside is None
    if outermost:
        _outside = before
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
        if outermost:
            _outside = None


def side_by_side(task: Callable[[T], None], items: Sequence[T], multiplications: float) -> None:
    """Run a task on every item; long work on several items at once, each on a thread of its own.

    As many run at once as torch had threads before `one_thread`, at most 6. No step waits for another thread,
    so a busy machine costs no more than its share.

    Args:
        task: Must not depend on the order of items, nor on other tasks.
        items: What the task is run on.
        multiplications: Of all tasks together: an estimate, which decides whether the work is long.
    """
    workers = min(_outside or torch.get_num_threads(), MOST, len(items))
    with one_thread():
        if workers < 2 or multiplications < LONG:
            for item in items:
                task(item)
        else:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(task, items))  # the list raises what a task raised
