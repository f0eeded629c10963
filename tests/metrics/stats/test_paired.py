import numpy as np
import pytest

from triptych.metrics.stats.intervals import Estimate, interval, jackknife_interval, wilson_interval
from triptych.metrics.stats.paired import difference, difference_over_runs, mean_of, over_runs
from triptych.metrics.stats.resampling import ResamplingErrors

GROUPS = 20


def score(real: np.ndarray, own: np.ndarray, shift: float = 0.0) -> Estimate:
    """A score that is a mean over its own images less one over the real ones, by the jackknife."""
    sides = [x.reshape(GROUPS, -1) for x in (real, own)]
    without = [
        float(np.delete(sides[1], g, 0).mean() - np.delete(sides[0], g, 0).mean()) + shift
        for g in range(GROUPS)
    ]
    return jackknife_interval(float(own.mean() - real.mean()) + shift, without)


def share(value: float, errors: tuple[float, ...] = (0.0, 0.0), images: int = 100) -> Estimate:
    return wilson_interval(value, ResamplingErrors(errors, 10.0, "2 groups"), images)


def test_paired_differences_cover_and_are_narrow() -> None:
    rng = np.random.default_rng(0)
    covered, widths = [], []
    for _ in range(300):
        real = rng.standard_normal(100) * 3
        a, b = (score(real, rng.standard_normal(100) + shift) for shift in (0.5, 0.0))
        apart = difference(a, b)
        covered.append(apart.low <= 0.5 <= apart.high)
        widths.append((apart.high - apart.low) / np.hypot(a.high - a.low, b.high - b.low))
        assert apart.value == pytest.approx(a.value - b.value)
        assert apart.method.startswith("paired")
    assert 0.92 <= np.mean(covered) <= 0.99
    assert np.mean(widths) < 0.5  # the real images' part, nine tenths of each variance, is gone


def test_over_runs_covers_where_a_plain_t_interval_does_not() -> None:
    """The real images are one draw for all runs: their error is not in the variance over runs."""
    rng = np.random.default_rng(1)
    covered, covered_runs = [], []
    for _ in range(400):
        real = rng.standard_normal(100) * 1.5
        runs = [score(real, rng.standard_normal(100), shift=rng.normal(0, 0.1)) for _ in range(4)]
        low, high, method = over_runs(runs)
        covered.append(low <= 0 <= high)
        values = np.array([run.value for run in runs])
        covered_runs.append(abs(values.mean()) <= 3.182446 * values.std(ddof=1) / 2)
        assert method.startswith("t over 4 runs")
    assert 0.92 <= np.mean(covered) <= 0.99
    assert np.mean(covered_runs) < 0.85


def test_over_runs_without_shared_errors_is_the_t_interval() -> None:
    runs = [Estimate(v, v - 1, v + 1, "m", None) for v in (1.0, 2.0, 4.0)]
    low, high, _ = over_runs(runs)
    assert (low + high) / 2 == pytest.approx(7 / 3)
    assert (high - low) / 2 == pytest.approx(4.302653 * np.std([1, 2, 4], ddof=1) / np.sqrt(3), rel=1e-6)


def test_difference_of_two_models_is_welchs_t_test() -> None:
    first = [Estimate(v, v - 1, v + 1, "m", None) for v in (1.0, 2.0, 3.0)]
    second = [Estimate(v, v - 1, v + 1, "m", None) for v in (5.0, 7.0, 9.0, 11.0)]
    result = difference_over_runs(first, second)
    error = np.sqrt(1 / 3 + (20 / 3) / 4)
    freedom = error**4 / ((1 / 3) ** 2 / 2 + (5 / 3) ** 2 / 3)
    assert f"{freedom:.1f} degrees" in result.method
    assert result.value == -6 and result.significant and result.high < 0
    assert (result.high - result.low) / 2 == pytest.approx(2.7764451 * error, rel=0.02)  # t of 4, here 4.06


def test_differences_over_runs_cover() -> None:
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(400):
        real = rng.standard_normal(100) * 2
        sides = [
            [score(real, rng.standard_normal(100), shift=rng.normal(center, 0.1)) for _ in range(count)]
            for count, center in ((3, 0.2), (4, 0.0))
        ]
        result = difference_over_runs(*sides)
        covered.append(result.low <= 0.2 <= result.high)
    assert 0.92 <= np.mean(covered) <= 0.99


def test_unshared_errors_of_the_real_images_count() -> None:
    """One model's score does not use the real images: their error stays in the difference."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(200):
        real = rng.standard_normal(100) * 2
        sides = [[score(real * weight, rng.standard_normal(100)) for _ in range(3)] for weight in (1.0, 0.0)]
        result = difference_over_runs(*sides)
        covered.append(result.low <= 0 <= result.high)
    assert 0.91 <= np.mean(covered) <= 1.0


def test_fewer_than_three_runs_raise_value_error() -> None:
    runs = [share(0.5), share(0.6)]
    with pytest.raises(ValueError, match=r"2 runs are too few .* train at least 3"):
        over_runs(runs)
    with pytest.raises(ValueError, match="2 runs are too few"):
        difference_over_runs(runs, [*runs, share(0.7)])


def test_mean_of_runs_pairs_their_errors() -> None:
    one = jackknife_interval(1.0, [0.9, 1.1, 1.0, 1.0])
    assert mean_of([one]) == one
    other = jackknife_interval(2.0, [1.9, 2.1, 2.0, 2.0])
    both = mean_of([one, other])
    assert both.value == 1.5
    assert both.high - both.low == pytest.approx(one.high - one.low)  # their errors are the same
    unknown = Estimate(3.0, 2.0, 5.0, "m", None)
    mixed = mean_of([one, unknown])
    assert mixed.resampling is None and mixed.high == pytest.approx((one.high + 5.0) / 2)


def test_difference_of_proportions_at_1_has_a_width() -> None:
    result = difference(share(1.0), share(1.0))
    assert result.value == 0 and result.low < -0.01 and result.high > 0.01 and not result.significant
    certain = difference(share(1.0), share(0.2))
    assert certain.significant and 0.6 < certain.low < 0.8 < certain.high <= 1.0


def test_paired_proportions_are_narrower_than_unpaired_ones() -> None:
    errors = (0.05, -0.04)
    paired = difference(share(0.6, errors), share(0.5, errors))
    other = wilson_interval(0.5, ResamplingErrors(errors, 10.0, "another deal"), 100)
    loose = difference(share(0.6, errors), other)
    assert paired.high - paired.low < 0.5 * (loose.high - loose.low)
    assert loose.method.startswith("not paired")


def test_higher_level_is_wider_also_without_resampling_errors() -> None:
    for one in (share(0.6, (0.05, -0.05)), Estimate(1.0, 0.8, 1.3, "m", None)):
        usual, strict = difference(one, one), difference(one, one, level=0.99)
        assert strict.low < usual.low and strict.high > usual.high
    normal = difference(one, Estimate(0.0, 0.0, 0.0, "m", None), level=0.99)
    assert normal.high - 1.0 == pytest.approx(0.3 * 2.575829 / 1.959964, rel=1e-5)


def test_factor_is_the_sample_size_that_makes_a_difference_significant() -> None:
    """The factor makes the reach at n x factor, with room for four tries in five, equal the difference."""
    errors = ResamplingErrors((1.0, -1.0), 1e9, "2 groups")
    zero = interval(0.0, ResamplingErrors((0.0, 0.0), 1e9, "2 groups"))
    result = difference(interval(0.5, errors), zero)
    assert result.factor == pytest.approx(((1.959964 + 0.841621) / 0.5) ** 2, rel=1e-4)
    assert difference(zero, zero).factor == 1.0
    assert difference(interval(0.0, errors), zero).factor == np.inf
    runs = [[Estimate(v + s, v, v, "m", None) for v in (0.0, 1.0, 2.0)] for s in (0.0, 0.5)]
    factor = difference_over_runs(*runs).factor
    wanted = 3 * factor
    assert wanted == pytest.approx(2 * ((1.98 + 0.8416) / 0.5) ** 2, rel=0.05)
    assert difference_over_runs(runs[0], runs[0]).factor == np.inf
