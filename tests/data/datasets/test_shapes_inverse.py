import numpy as np
import pytest

from triptych.data.datasets import shapes
from triptych.data.datasets.shapes_inverse import AREAS, PERIODS, read, residuals

NUMBERS = ("radius", "x", "y")


def drawn(count: int, size: int = 32, seed: int = 5) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    factors = shapes.draw_factors(count, seed)
    return shapes.paint(factors, size), factors


def noisy(pixels: np.ndarray, levels: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, levels, pixels.shape)
    return np.clip(pixels + noise, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize(("size", "right"), [(16, 0.97), (32, 1.0), (48, 1.0)])
def test_factors_are_recovered(size: int, right: float) -> None:
    pixels, factors = drawn(120, size)
    result = read(pixels)
    for name in ("color", "ground"):
        np.testing.assert_array_equal(result.factors[name], factors[name])
    assert (result.factors["kind"] == factors["kind"]).mean() >= right
    for name in NUMBERS:
        assert np.abs(result.factors[name] - factors[name]).mean() * size < 0.02  # pixels
    assert np.quantile(result.residual, 0.9) < 0.01
    assert result.residual.dtype == np.float64 and result.factors["radius"].dtype == np.float32


def test_rotation_is_recovered_up_to_the_symmetry_of_the_shape() -> None:
    pixels, factors = drawn(100)
    recovered = read(pixels).factors
    period = np.array([PERIODS.get(name, 0.0) for name in shapes.KINDS])[factors["kind"]]
    round_, turned = period == 0, period > 0
    assert (recovered["turn"][round_] == 0).all()
    assert (recovered["turn"][turned] < period[turned] + 1e-6).all() and (recovered["turn"] >= 0).all()
    gap = ((recovered["turn"] - factors["turn"]) / np.where(turned, period, 1))[turned]
    assert np.abs(gap - np.round(gap)).max() < 0.01


def test_factors_are_recovered_under_noise() -> None:
    pixels, factors = drawn(80)
    result = read(noisy(pixels, 8))
    for name in ("kind", "color", "ground"):
        np.testing.assert_array_equal(result.factors[name], factors[name])
    for name in NUMBERS:
        assert np.abs(result.factors[name] - factors[name]).mean() * 32 < 0.1


def test_areas_and_periods_equal_those_rendered() -> None:
    for number, name in enumerate(shapes.KINDS):
        half = np.full(1, 0.5, np.float32)
        one = {"kind": np.full(1, number), "x": half, "y": half, "radius": half * 0.6}
        one["turn"] = np.zeros(1, np.float32)
        first = shapes.cover(one, 256)
        assert first.mean() / 0.3**2 == pytest.approx(AREAS[name], rel=0.01)
        centroid = (first[0].sum(0) @ (np.arange(256) + 0.5)) / first.sum() / 256
        assert centroid == pytest.approx(0.5, abs=1e-3)
        one["turn"] = np.full(1, PERIODS.get(name, 0.7), np.float32)
        np.testing.assert_allclose(shapes.cover(one, 256), first, atol=0.01)


def test_residual_is_relative_to_the_contrast_in_the_worst_window() -> None:
    pixels, factors = drawn(1)
    assert residuals(pixels, factors)[0] == 0
    front, back = (
        np.array(list(palette.values()))[factors[name][0]]
        for palette, name in ((shapes.COLORS, "color"), (shapes.GROUNDS, "ground"))
    )
    spoilt = pixels.copy()
    spoilt[0, 4, 4] = front if (pixels[0, 4, 4] == back).all() else back
    assert residuals(spoilt, factors)[0] == pytest.approx(1 / 5)  # one pixel of 25, wholly wrong
    spoilt[0, 2:7, 2:7] = front
    assert residuals(spoilt, factors)[0] <= 1 + 1e-6


def test_images_outside_the_range_leave_a_residual() -> None:
    pixels, factors = drawn(40)
    rng = np.random.default_rng(1)
    assert read(rng.integers(0, 256, pixels.shape, dtype=np.uint8)).residual.min() > 0.5
    grounds = np.broadcast_to(pixels[:, :1, :1], pixels.shape)
    assert read(grounds).residual.min() > 0.5
    blends = ((pixels.astype(int) + pixels[::-1]) // 2).astype(np.uint8)
    assert read(blends).residual.min() > 0.2
    tiny = shapes.paint(factors | {"radius": np.full_like(factors["radius"], 0.07)}, 32)
    assert read(tiny).residual.min() > 0.2
    cut = np.roll(pixels, 12, axis=2)[factors["x"] > 0.5]
    assert np.median(read(cut).residual) > 0.3


def test_results_do_not_depend_on_the_other_images(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, _ = drawn(30)
    whole = read(noisy(pixels, 10))
    monkeypatch.setattr("triptych.data.datasets.shapes_inverse.CHUNK", 7)
    parts = read(noisy(pixels, 10))
    np.testing.assert_allclose(parts.residual, whole.residual, rtol=1e-4)
    for name in whole.factors:
        np.testing.assert_allclose(parts.factors[name], whole.factors[name], atol=1e-4)


def test_empty_input_gives_empty_factors() -> None:
    result = read(np.empty((0, 32, 32, 3), np.uint8))
    assert result.residual.shape == result.factors["kind"].shape == (0,)


def test_bad_input_is_refused_with_a_sentence() -> None:
    for shape in ((4, 32, 32, 1), (4, 32, 30, 3), (32, 32, 3), (4, 6, 6, 3)):
        with pytest.raises(ValueError, match=r"expected \(N, S, S, 3\) RGB images"):
            read(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="float64"):
        read(np.zeros((4, 32, 32, 3)))


def test_shapes_are_rendered_as_before() -> None:
    """Splitting `cover` from `paint` changed no pixel."""
    pixels, _ = drawn(64, seed=1)
    assert int(pixels.astype(np.int64).sum()) == 32_746_106
