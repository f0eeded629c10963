import numpy as np
import pytest
import torch

from triptych.metrics import neighbours, precision_recall
from triptych.metrics.threads import one_thread


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_comes_back_also_after_an_error():
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 3


def test_distances_are_walked_on_one_thread(monkeypatch: pytest.MonkeyPatch):
    seen, distances = set(), neighbours._distances

    def counted(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        seen.add(torch.get_num_threads())
        return distances(a, b)

    monkeypatch.setattr(neighbours, "_distances", counted)
    precision_recall(*np.random.default_rng(0).standard_normal((2, 30, 4)))
    assert seen == {1} and torch.get_num_threads() == 3
