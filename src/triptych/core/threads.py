"""Short steps on one thread, long ones side by side."""

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
    """Let torch and NumPy's linear algebra compute on one thread for a while.

    For work made of many short steps: a second thread saves at most half of the time on an idle
    machine, and on a busy one, where each step waits for a thread that has no core, it makes the
    whole ten times slower (all scores of 10,000 x 5,000 pictures: 6 s, and 110 s beside two busy
    processes; on one thread 11 s there too). Results then do not depend on the number of threads either.
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
    """Run `task` on every item; for long work on several items at once, each on a thread of its own.

    As many at once as torch had threads before `one_thread`, 6 at most. No step ever waits for
    another thread, so a busy machine costs no more than its share. The tasks must not depend on
    their order, nor on one another.
    """
    workers = min(_outside or torch.get_num_threads(), MOST, len(items))
    with one_thread():
        if workers < 2 or multiplications < LONG:
            for item in items:
                task(item)
        else:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(task, items))  # the list raises what a task raised
