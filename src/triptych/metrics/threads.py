"""Short steps on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and NumPy's linear algebra compute on one thread for a while.

    For work made of many short steps: a second thread saves at most half of the time on an idle
    machine, and on a busy one, where each step waits for a thread that has no core, it makes the
    whole ten times slower (all scores of 10,000 x 5,000 pictures: 6 s, and 110 s beside two busy
    processes; on one thread 11 s there too). Results then do not depend on the number of threads either.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
