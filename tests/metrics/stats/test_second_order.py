from __future__ import annotations

import numpy as np
import pytest

from triptych.core.threads import one_thread
from triptych.metrics.kid import COEF, DEGREE, kid, kid_estimate
from triptych.metrics.stats.intervals import Estimate, interval
from triptych.metrics.stats.paired import difference, mean_of
from triptych.metrics.stats.second_order import second_order_parts

FALLING = 1 / np.arange(1, 17)


def test_second_order_variance_is_that_of_kid_for_equal_distributions() -> None:
    rng = np.random.default_rng(0)
    with one_thread():
        sets = [
            (rng.normal(size=(60, 16)) * FALLING, rng.normal(size=(90, 16)) * FALLING) for _ in range(400)
        ]
        truth = np.var([kid(*pair) for pair in sets])
        parts = np.array([second_order_parts(*pair, DEGREE, COEF) for pair in sets])
    assert parts[:, :2].sum(1).mean() / truth == pytest.approx(1, abs=0.3)
    assert (parts[:, 0] / parts[:, :2].sum(1)).mean() == pytest.approx(
        0.36, abs=0.03
    )  # (1/60)^2 / (1/60+1/90)^2


def test_largest_weight_in_one_dimension_is_the_variance() -> None:
    """In one dimension with a linear kernel: variance of x / N + variance of y / M."""
    x, y = np.random.default_rng(0).normal(size=(2, 500, 1))
    shared, rest, top = second_order_parts(x * 2, y[:250], 1, 0.0)
    assert top == pytest.approx(4 * x.var() / 500 + y[:250].var() / 250, rel=0.02)
    assert shared + rest == pytest.approx(2 * top**2, rel=0.05)


def estimate(rng: np.random.Generator, shift: float) -> Estimate:
    real, fake = (rng.normal(size=(100, 16)) * FALLING for _ in range(2))
    return kid_estimate(real, fake + shift * (np.arange(16) == 0))


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_kid_intervals_cover_with_a_decaying_spectrum(shift: float) -> None:
    """By the jackknife alone 77 to 85 % hold."""
    rng = np.random.default_rng(1)
    with one_thread():
        results = [estimate(rng, shift) for _ in range(100)]
    target = np.mean([e.value for e in results]) if shift else 0.0
    assert np.mean([e.low <= target <= e.high for e in results]) >= 0.93
    assert min(e.high for e in results) >= 0


def test_means_and_differences_keep_the_second_order_parts() -> None:
    rng = np.random.default_rng(2)
    with one_thread():
        real = rng.normal(size=(100, 16)) * FALLING
        runs = [kid_estimate(real, rng.normal(size=(100, 16)) * FALLING) for _ in range(3)]
    mean = mean_of(runs)
    assert mean.resampling is not None and len(mean.resampling.second_order) == 3
    single = np.mean([sum(r.resampling.second_order[:2]) for r in runs if r.resampling is not None])
    assert 0.4 < sum(mean.resampling.second_order[:2]) / single < 0.6  # a quarter is shared: (2 + 6 / 3) / 8
    assert mean.low <= 0 <= mean.high
    apart = difference(runs[0], runs[1])
    assert apart.low < 0 < apart.high


def test_identical_images_have_no_error() -> None:
    e = kid_estimate(np.ones((30, 3)), np.ones((40, 3)))
    assert e.low == pytest.approx(0, abs=1e-9) and e.high == pytest.approx(0, abs=1e-9)
    assert interval(e.value, e.resampling).low == e.low if e.resampling else False
