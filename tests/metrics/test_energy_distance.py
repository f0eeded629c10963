"""Energy distance, beside its value for two normal distributions."""

from __future__ import annotations

import numpy as np
import pytest

from triptych.metrics.energy_distance import energy_distance, mean_pairwise_distance


def of(x: np.ndarray, y: np.ndarray) -> float:
    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.abs(a[:, None] - b[None])

    return energy_distance(between(x, y), between(x, x), between(y, y))


def test_it_is_unbiased_for_equal_distributions() -> None:
    rng = np.random.default_rng(0)
    values = [of(rng.normal(size=40), rng.normal(size=30)) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20 and min(values) < 0


def test_two_points_far_apart_have_twice_their_distance() -> None:
    # |X - Y| is normal with mean 100 and E|X - X'| = 2 / sqrt(pi)
    rng = np.random.default_rng(0)
    expected = 200 - 4 / np.sqrt(np.pi)
    assert of(rng.normal(size=500), rng.normal(100, 1, 500)) == pytest.approx(expected, rel=0.01)


def test_the_mean_pairwise_distance_leaves_out_the_diagonal() -> None:
    assert mean_pairwise_distance(np.array([[0.0, 3.0], [3.0, 0.0]])) == 3
