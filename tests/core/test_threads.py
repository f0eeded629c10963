import threading

import numpy as np
import pytest
import torch

from triptych.core import threads
from triptych.core.threads import one_thread, side_by_side
from triptych.metrics.knn import distances
from triptych.metrics.prdc import prdc_scores, precision_recall


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_comes_back_also_after_an_error() -> None:
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 3


def test_distances_are_walked_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads_used, exact = set(), distances.exact_distances

    def counted(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        threads_used.add((torch.get_num_threads(), threading.current_thread()))
        return exact(a, b)

    monkeypatch.setattr(distances, "exact_distances", counted)
    precision_recall(*np.random.default_rng(0).standard_normal((2, 30, 4)))
    assert threads_used == {(1, threading.main_thread())} and torch.get_num_threads() == 3


def test_long_work_is_done_side_by_side() -> None:
    barrier = threading.Barrier(3, timeout=20)
    calls = []

    def task(item: int) -> None:
        barrier.wait()  # passes only where three tasks run at once
        calls.append((item, torch.get_num_threads()))

    with one_thread():  # a caller's own keeps the steps short, not the tasks few
        side_by_side(task, range(6), threads.LONG)
    assert sorted(calls) == [(item, 1) for item in range(6)]
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda item: 1 / item, [1, 0, 1], threads.LONG)
    assert torch.get_num_threads() == 3


def test_scores_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "CHUNK_ROWS", 40)
    real, fake = np.random.default_rng(1).standard_normal((2, 400, 48))
    fake[:100] = real[:100]
    alone = prdc_scores(real, fake)
    monkeypatch.setattr(threads, "LONG", 0)
    assert prdc_scores(real, fake) == alone
