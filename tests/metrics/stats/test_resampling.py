import numpy as np
import pytest

from triptych.metrics.fid import fid, fid_leave_groups_out
from triptych.metrics.kid import kid, kid_leave_groups_out
from triptych.metrics.stats.resampling import (
    ResamplingErrors,
    block_errors,
    combine_errors,
    jackknife_errors,
    split_groups,
)


def test_the_jackknife_of_a_mean_is_its_textbook_variance() -> None:
    x = np.random.default_rng(0).standard_normal(20)
    errors = jackknife_errors(x.mean(), [np.delete(x, i).mean() for i in range(20)])
    assert errors.variance() == pytest.approx(x.var(ddof=1) / 20)
    assert errors.dof == 9.5 and errors.grouping == "20 groups" and errors.excess == ()


def test_jackknife_excess_equals_the_second_order_variance() -> None:
    """A degenerate sum over pairs, all second order: the jackknife gives 2 (G-1)/(G-2) times its variance."""
    count, values = 20, {"errors": [], "variance": [], "free": [], "value": []}
    rng = np.random.default_rng(1)
    for _ in range(400):
        x = rng.standard_normal((count, 30))

        def pairs(rows: np.ndarray) -> float:
            total = rows.sum(0)
            return float(total @ total - (rows * rows).sum()) / (len(rows) * (len(rows) - 1))

        left = [np.delete(x, [g], 0) for g in range(count)]
        left_two = [np.delete(x, [g, (g + 1) % count], 0) for g in range(count)]
        errors = jackknife_errors(pairs(x), [pairs(r) for r in left], [pairs(r) for r in left_two])
        values["errors"].append(np.mean(np.square(errors.errors)))
        values["variance"].append(errors.variance())
        values["free"].append(errors.covariance(errors))  # not held at half of the errors' square
        values["value"].append(pairs(x))
    truth = 2 * 30 / (count * (count - 1))  # of the mean over pairs of x.y, 30 standard normals each
    assert np.var(values["value"]) == pytest.approx(truth, rel=0.25)
    assert np.mean(values["errors"]) == pytest.approx(truth * 2 * 19 / 18, rel=0.1)
    assert np.mean(values["free"]) == pytest.approx(truth, rel=0.1)
    assert np.mean(values["variance"]) == pytest.approx(truth, rel=0.25)


def test_a_mean_has_no_excess() -> None:
    x = np.random.default_rng(2).standard_normal(12)
    left = [np.delete(x, [g]).mean() for g in range(12)]
    left_two = [np.delete(x, [g, (g + 1) % 12]).mean() for g in range(12)]
    errors = jackknife_errors(x.mean(), left, left_two)
    assert np.abs(errors.excess).max() < 1e-12
    assert errors.variance() == pytest.approx(x.var(ddof=1) / 12)


def test_blocks_of_a_mean_give_its_variance() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(600)
    values = np.array([[b.mean() for b in split_groups(x, 3, (p, 0))] for p in range(200)])
    assert block_errors(values).variance() == pytest.approx(x.var(ddof=1) / 600, rel=0.15)
    assert (
        block_errors(values[:10]).dof == 10
        and block_errors(values[:10]).grouping == "10 splits into 3 blocks"
    )


def test_shared_errors_cancel_in_a_difference() -> None:
    rng = np.random.default_rng(4)
    shared, a, b = rng.standard_normal((3, 20))
    errors_of_both = [jackknife_errors(0.0, (shared * 5 + own).tolist()) for own in (a, b)]
    apart = combine_errors(errors_of_both, [1, -1])
    own = jackknife_errors(0.0, (a - b).tolist())
    assert apart.variance() == pytest.approx(own.variance())
    assert apart.variance() < errors_of_both[0].variance() / 5
    mean = combine_errors(errors_of_both, [0.5, 0.5])
    parts = (
        errors_of_both[0].variance()
        + errors_of_both[1].variance()
        + 2 * errors_of_both[0].covariance(errors_of_both[1])
    )
    assert mean.variance() == pytest.approx(parts / 4)


def test_only_scores_with_the_same_grouping_pair() -> None:
    one = ResamplingErrors((1.0, -1.0), 10.0, "2 groups")
    assert one.pairs_with(ResamplingErrors((0.0, 0.0), 5.0, "2 groups"))
    others = (
        None,
        ResamplingErrors((0.0,), 5.0, "2 groups"),
        ResamplingErrors((0.0, 0.0), 5.0, "1 splits into 2 blocks"),
    )
    assert not any(one.pairs_with(other) for other in others)


def test_leave_groups_out_equals_scores_of_the_remaining_images() -> None:
    rng = np.random.default_rng(5)
    real, fake = rng.standard_normal((60, 3)), rng.standard_normal((45, 3)) * 1.2
    groups = split_groups(real, 5, 0), split_groups(fake, 5, 1)
    left_out = [(), (2,), (4, 0)]
    for metric, compute in ((fid, fid_leave_groups_out), (kid, kid_leave_groups_out)):
        result = compute(*groups, left_out)
        for gone, value in zip(left_out, result, strict=True):
            rest = [np.concatenate([x for g, x in enumerate(side) if g not in gone]) for side in groups]
            assert value == pytest.approx(metric(*rest), rel=1e-9)
