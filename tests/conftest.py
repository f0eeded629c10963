"""What every test needs: a cache of its own, no data from outside, one thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from triptych.evaluation import two_sample


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPTYCH_CACHE", str(home))
        patch.delenv("TRIPTYCH_DATA", raising=False)
        yield home


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are faster on one thread, and no test may depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def short_two_sample_tests() -> Iterator[None]:
    """Train four networks in detailed evaluations: their results are tested in test_two_sample_score.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_sample, "STEPS", 8)
        yield
