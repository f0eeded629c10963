from __future__ import annotations

import numpy as np
import pytest

from triptych.metrics.two_sample import align_near_duplicates, cross_fit_accuracy, distinct_rows, matched_rows


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_distinct_rows_keeps_the_first_of_each() -> None:
    a = noise(4)
    assert distinct_rows(a[[2, 0, 2, 1, 0]]).tolist() == [0, 1, 3]


def test_near_duplicates_are_aligned_with_their_originals() -> None:
    real = noise(30)
    shift = np.clip(real.astype(int) + 2, 0, 255).astype(np.uint8)  # nearly equal
    order = np.random.default_rng(1).permutation(30)
    assert (order[align_near_duplicates(real, shift[order])] == np.arange(30)).all()
    assert align_near_duplicates(real, noise(30, 1)).tolist() == list(range(30))
    collapsed = align_near_duplicates(real, np.repeat(real[7:8], 30, 0))
    assert sorted(collapsed.tolist()) == list(range(30))


def test_rows_are_matched_by_class_as_far_as_possible() -> None:
    real = np.repeat([0, 1, 2], [50, 30, 20])
    fake = np.repeat([0, 1, 2], [20, 60, 60])
    a, b = matched_rows(100, 140, 60, (real, fake), seed=0)
    assert len(a) == len(b) == 60 and len(set(a)) == len(set(b)) == 60
    assert (real[a] == fake[b]).all()
    a, b = matched_rows(100, 140, 1000, (real, fake), seed=0)
    assert sorted(a) == list(range(100)) and (real[a] == fake[b]).sum() == 70
    a, b = matched_rows(100, 140, 1000, None, seed=0)
    assert len(set(a)) == len(set(b)) == 100


def cross_fitted(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    """What a linear classifier by the difference of means gets right of two equal Gaussians. (2, n) bool."""
    sets, half = rng.standard_normal((2, n, width)), np.arange(n) < n // 2
    right = np.zeros((2, n), bool)
    for held_out in (half, ~half):
        means = sets[:, ~held_out].mean(1)  # (2, width)
        projected = (sets[:, held_out] - means.mean(0)) @ (means[1] - means[0])  # (2, n / 2)
        right[:, held_out] = np.stack([projected[0] < 0, projected[1] >= 0])
    return right


@pytest.mark.parametrize(("n", "width"), [(40, 1), (150, 3), (150, 100)])
def test_interval_covers_one_half_for_equal_distributions(n: int, width: int) -> None:
    """The worst case, a linear classifier: a plain binomial interval holds 0.5 in only 83 to 90 %."""
    rng = np.random.default_rng(0)
    results = [cross_fit_accuracy(cross_fitted(rng, n, width)) for _ in range(600)]
    assert np.mean([e.low <= 0.5 <= e.high for e in results]) >= 0.93
    assert np.mean([e.value for e in results]) == pytest.approx(0.5, abs=0.01)
