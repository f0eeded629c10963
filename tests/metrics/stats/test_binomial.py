import numpy as np
import pytest
from scipy.stats import binom, binomtest

from triptych.metrics.stats.binomial import clopper_pearson, clopper_pearson_bounds


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 10), (10, 10), (3, 10), (1500, 2000)])
def test_interval_equals_scipys_clopper_pearson(k: int, n: int) -> None:
    known = binomtest(k, n).proportion_ci(0.95, "exact")
    assert clopper_pearson(k, n) == pytest.approx((known.low, known.high), abs=1e-12)


def test_interval_ends_have_tail_probability_2_5_percent() -> None:
    low, high = clopper_pearson(7, 40)
    assert binom.sf(6, 40, low) == pytest.approx(0.025) == binom.cdf(7, 40, high)


def test_fractional_count_lies_between_the_intervals_of_adjacent_counts() -> None:
    below, between, above = (clopper_pearson(k, 20) for k in (4, 4.5, 5))
    assert below[0] < between[0] < above[0] and below[1] < between[1] < above[1]


def test_vectorized_bounds_equal_single_bounds() -> None:
    low, high = clopper_pearson_bounds(np.array([0, 3, 10]), 10, 0.025)
    each = [clopper_pearson(k, 10) for k in (0, 3, 10)]
    np.testing.assert_allclose(np.stack([low, high], 1), each)


def test_invalid_input_raises_value_error() -> None:
    with pytest.raises(ValueError, match="got 3 successes in 2 trials"):
        clopper_pearson(3, 2)
    with pytest.raises(ValueError, match="trials >= 1, got 0 successes in 0 trials"):
        clopper_pearson(0, 0)
    with pytest.raises(ValueError, match="the confidence level must lie between 0 and 1, got 95"):
        clopper_pearson(1, 2, level=95)
