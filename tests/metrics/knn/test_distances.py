import numpy as np
import pytest

from triptych.metrics.knn.distances import (
    _exact_pairs,
    _Features,
    _Precision,
    _precisions,
    _Products,
    exact_distances,
)


def far_apart(rng: np.random.Generator, width: int) -> np.ndarray:
    return rng.standard_normal((40, width)) * 10.0 ** rng.uniform(-3, 3, (40, 1)) + 1e3


def near_each_other(rng: np.random.Generator, width: int) -> np.ndarray:
    return np.repeat(rng.standard_normal((4, width)), 10, axis=0) + 1e-7 * rng.standard_normal((40, width))


def mirrored(rng: np.random.Generator, width: int) -> np.ndarray:
    """The center is exactly 0, and the squares of the small ones underflow in float32."""
    x = rng.standard_normal((20, width)) * 10.0 ** -np.repeat([0, 10, 21, 22, 23], 4)[:, None]
    return np.stack([x, -x], axis=1).reshape(-1, width)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("width", [32, 500])
@pytest.mark.parametrize("make_points", [far_apart, near_each_other, mirrored])
def test_distances_stay_within_the_bounds_of_every_precision(make_points, width: int, dtype: type) -> None:
    points = _Features(make_points(np.random.default_rng(width), width).astype(dtype))
    (chunk,) = points.chunks()
    precisions = _precisions(points)
    assert [type(precision) for precision in precisions] == [_Products, _Products, _Precision]
    exact = exact_distances(points.of(chunk), points.of(chunk))
    for precision in precisions:
        operand = precision.operand(points, chunk)
        values = precision.values(operand, operand)
        norms = operand.norms[:, None] + operand.norms
        assert (values <= precision.max_value(exact)).all()
        assert (precision.max_distance(values, norms) >= exact).all()
    fine = precisions[1]
    operand = fine.operand(points, chunk)
    farthest = fine.max_distance(fine.values(operand, operand), operand.norms[:, None] + operand.norms)
    assert farthest.max() == pytest.approx(exact.max(), rel=1e-9)  # a bound, and a close one


def test_single_pairs_equal_block_distances_bitwise(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for width in (1, 7, 64, 333):
        a = _Features(rng.standard_normal((18, width)).astype(np.float32))
        b = _Features(rng.standard_normal((6, width)))
        whole = exact_distances(a.features, b.features)
        i, j = (x.ravel() for x in np.indices(whole.shape))
        order = rng.permutation(len(i))
        monkeypatch.setattr("triptych.metrics.knn.distances.CACHED", 5 * width)
        assert (_exact_pairs(a, i[order], b, j[order]) == whole.ravel()[order]).all()
        assert (exact_distances(b.features, a.features) == whole.T).all()


def test_narrow_constant_and_huge_features_use_exact_distances_only() -> None:
    narrow, same = np.random.default_rng(1).standard_normal((9, 31)), np.ones((9, 64))
    for features in (narrow, same, np.full((2, 64), [[1e200], [-1e200]])):
        assert [type(precision) for precision in _precisions(_Features(features))] == [_Precision]
