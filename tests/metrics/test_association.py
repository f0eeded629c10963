"""Cramer's V squared without bias."""

from __future__ import annotations

import numpy as np
import pytest

from triptych.metrics.association import cramers_v_squared


def test_it_is_zero_on_average_for_independent_labels() -> None:
    rng = np.random.default_rng(0)
    chance = [cramers_v_squared(rng.integers(0, 5, 200), rng.integers(0, 5, 200), 5) for _ in range(300)]
    assert abs(np.mean(chance)) < 0.002 < np.std(chance)  # Bergsma 2013: not only above 0


def test_it_is_one_for_a_permutation_and_zero_for_a_constant() -> None:
    labels = np.random.default_rng(0).integers(0, 5, 200)
    assert cramers_v_squared(labels, (labels + 2) % 5, 5) == pytest.approx(1, abs=0.01)
    assert cramers_v_squared(labels, np.zeros(200, dtype=np.int64), 5) == 0
