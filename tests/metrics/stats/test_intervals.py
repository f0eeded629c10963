from collections.abc import Callable

import numpy as np
import pytest

from triptych.metrics import prdc
from triptych.metrics.fid import fid, fid_leave_groups_out
from triptych.metrics.kid import kid
from triptych.metrics.stats import intervals
from triptych.metrics.stats.intervals import jackknife_interval, leave_one_out, wilson_interval
from triptych.metrics.stats.resampling import ResamplingErrors, split_groups
from triptych.metrics.suite import estimates, names_of

Draw = Callable[[np.random.Generator], np.ndarray]


def coverage_of(names: tuple[str, ...], real: Draw, fake: Draw, repeats: int) -> dict[str, float]:
    """Share of intervals that hold the mean of all values, the expectation at this n."""
    rng = np.random.default_rng(0)
    results = [estimates(real(rng), fake(rng)) for _ in range(repeats)]
    shares = {}
    for name in names:
        target = np.mean([e[name].value for e in results])
        shares[name] = float(np.mean([e[name].low <= target <= e[name].high for e in results]))
    return shares


def only(monkeypatch: pytest.MonkeyPatch) -> None:
    """FID and KID alone: their simulation needs no neighbors."""
    monkeypatch.setattr(prdc, "prdc_estimates", lambda *_: {})


def test_fid_and_kid_intervals_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    shares = coverage_of(
        ("FID", "KID"),
        lambda rng: rng.standard_normal((200, 8)),
        lambda rng: rng.standard_normal((300, 8)) * 1.2 + 0.3,
        repeats=90,
    )
    assert all(0.90 <= share <= 0.99 for share in shares.values()), shares


def test_error_near_the_floor_is_not_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal distributions only second-order terms are left, which a plain jackknife doubles."""
    only(monkeypatch)
    rng = np.random.default_rng(0)
    results = [estimates(*rng.standard_normal((2, 100, 5))) for _ in range(100)]
    for name in ("FID", "KID"):
        variances = [e[name].resampling.variance() for e in results]
        plain = [np.mean(np.square(e[name].resampling.errors)) for e in results]
        truth = np.var([e[name].value for e in results])
        assert np.mean(variances) / truth == pytest.approx(1.2, abs=0.35)
        assert np.mean(plain) / truth > 1.6


def test_prdc_intervals_cover_and_are_not_too_wide() -> None:
    names = ("precision", "recall", "density", "coverage")
    rng = np.random.default_rng(0)
    results = [
        estimates(rng.standard_normal((80, 4)), rng.standard_normal((80, 4)) * 1.3 + 0.4) for _ in range(40)
    ]
    for name in names:
        values = [e[name].value for e in results]
        covered = np.mean([e[name].low <= np.mean(values) <= e[name].high for e in results])
        assert covered >= 0.87, name
        variance = np.mean([e[name].resampling.variance() for e in results])
        assert variance / np.var(values) < 1.8, name  # a jackknife's is 2 to 3 times too large


def test_jackknife_interval_of_a_mean_is_the_t_interval() -> None:
    """For a plain mean and groups of one the jackknife is the t interval itself."""
    x = np.random.default_rng(1).standard_normal(20)
    without = [np.delete(x, i).mean() for i in range(20)]
    estimate = jackknife_interval(x.mean(), without)
    t = 2.244137  # of 9.5 degrees of freedom: half of 19, as groups' values have heavier tails than these
    assert estimate.high - estimate.value == pytest.approx(t * x.std(ddof=1) / np.sqrt(20), rel=1e-6)
    assert estimate.method == "delete-a-group jackknife (20 groups), t with 9.5 degrees of freedom"


def test_wilson_intervals_stay_within_0_and_1_and_have_a_width() -> None:
    def of(value: float, error: float) -> intervals.Estimate:
        return wilson_interval(value, ResamplingErrors((error, -error), 10.0, "2 groups"), trials=500)

    certain = of(1.0, 0.0)
    assert certain.high == 1.0 and 0.98 < certain.low < 1.0
    never = of(0.0, 0.0)
    assert never.low == 0.0 and 0.0 < never.high < 0.02
    near = of(0.99, 0.015)
    assert 0.0 <= near.low < 0.99 < near.high <= 1.0
    assert near.high - 0.99 < 0.99 - near.low


def test_estimates_have_the_values_of_the_metrics() -> None:
    rng = np.random.default_rng(2)
    real, fake = rng.standard_normal((150, 5)), rng.standard_normal((90, 5)) + 0.2
    results = estimates(real, fake)
    assert tuple(results) == names_of("always")
    assert results["FID"].value == pytest.approx(fid(real, fake), abs=1e-10)
    assert results["KID"].value == pytest.approx(kid(real, fake), abs=1e-12)
    assert all(e.low <= e.value <= e.high for e in results.values())


def test_groups_are_shuffled_and_depend_on_the_row_number_only() -> None:
    """Images in order of their labels: no group may be one class."""
    labels = np.repeat(np.arange(10), 40)[:, None]
    groups = split_groups(labels, 20, seed=0)
    assert [len(g) for g in groups] == [20] * 20
    assert min(len(np.unique(g)) for g in groups) >= 5
    again = split_groups(labels * 2, 20, seed=0)
    assert all((a * 2 == b).all() for a, b in zip(groups, again, strict=True))


def test_duplicates_do_not_widen_or_break_an_interval() -> None:
    """The reason for no bootstrap: a set with every image twice still gives sane intervals."""
    rng = np.random.default_rng(3)
    real, fake = rng.standard_normal((100, 3)), rng.standard_normal((100, 3)) * 1.5
    once, twice = estimates(real, fake), estimates(np.repeat(real, 2, 0), np.repeat(fake, 2, 0))
    for name in ("FID", "KID"):
        widths = [e[name].high - e[name].low for e in (once, twice)]
        assert widths[1] < 1.5 * widths[0]
    same = estimates(np.ones((30, 3)), np.ones((40, 3)))
    assert same["FID"].value == same["FID"].low == same["FID"].high == 0
    assert same["precision"].value == 1.0


def test_few_images_still_have_an_interval_or_a_clear_error() -> None:
    rng = np.random.default_rng(4)
    results = estimates(rng.standard_normal((20, 4)), rng.standard_normal((20, 4)))
    assert "4 groups" in results["FID"].method
    assert "20 splits into 2 blocks" in results["recall"].method
    with pytest.raises(ValueError, match=r"k = 12 needs 13 images in each.*: give at least 26"):
        estimates(rng.standard_normal((25, 4)), rng.standard_normal((40, 4)), density_k=12)
    with pytest.raises(ValueError, match="needs at least 20 fake images, got 19"):
        estimates(rng.standard_normal((20, 4)), rng.standard_normal((19, 4)))


def test_generic_leave_one_out_equals_the_fast_forms() -> None:
    rng = np.random.default_rng(5)
    groups = [np.array_split(rng.standard_normal((60, 3)), 5) for _ in range(2)]
    whole, without = leave_one_out(fid, *groups)
    fast, *fast_without = fid_leave_groups_out(*groups, [(), *((g,) for g in range(5))])
    assert whole == pytest.approx(fast, abs=1e-10)
    assert without == pytest.approx(fast_without, abs=1e-10)
    assert leave_one_out(lambda x: float(x.sum()), [np.ones(2), np.ones(3)]) == (5, [3, 2])


def test_unequal_or_single_groups_raise_value_error() -> None:
    with pytest.raises(ValueError, match=r"same number of groups .* got \[2, 3\]"):
        leave_one_out(fid, [np.ones((2, 2))] * 2, [np.ones((2, 2))] * 3)
    with pytest.raises(ValueError, match=r"at least 2, got \[1\]"):
        leave_one_out(fid, [np.ones((2, 2))], [np.ones((2, 2))])
