import numpy as np
import pytest

from triptych.metrics.path_length import path_lengths, perceptual_path_length
from triptych.metrics.stats.intervals import leave_one_out
from triptych.metrics.stats.resampling import split_groups


def test_karras_2019_eq_3_of_a_linear_map() -> None:
    """G(w) = A w on a straight line from a to b: |A (b - a)|^2 whatever epsilon and the place."""
    rng = np.random.default_rng(0)
    matrix, a, b = rng.standard_normal((7, 4)), rng.standard_normal((50, 4)), rng.standard_normal((50, 4))
    t = rng.uniform(size=(50, 1))
    expected = (((b - a) @ matrix.T) ** 2).sum(1)
    for epsilon in (1e-4, 0.1):
        ends = [(a + (b - a) * share) @ matrix.T for share in (t, t + epsilon)]
        assert path_lengths(*ends, epsilon) == pytest.approx(expected, rel=1e-8)
        whole = perceptual_path_length(*ends, epsilon, percentiles=(0, 100))
        assert whole == pytest.approx(expected.mean(), rel=1e-8)


def test_karras_2019_eq_2_on_a_circle() -> None:
    """The arc between two unit noises at angle w moves at speed w: w^2 for the identity, up to epsilon^2."""
    t, epsilon, w = np.linspace(0, 0.9, 20), 1e-3, 1.2
    start, end = (np.stack([np.cos(w * x), np.sin(w * x)], axis=1) for x in (t, t + epsilon))
    assert perceptual_path_length(start, end, epsilon) == pytest.approx(w**2, rel=1e-6)


def test_percentiles_exclude_outliers_and_are_inclusive() -> None:
    end = np.sqrt(np.arange(1.0, 102))[:, None]  # squared lengths 1 ... 101: percentiles p are 1 + p
    start = np.zeros((101, 1))
    assert perceptual_path_length(start, end, 1.0) == pytest.approx(51)
    end[100] = 1e6  # one cliff
    assert perceptual_path_length(start, end, 1.0) == pytest.approx(51)
    assert perceptual_path_length(start, end, 1.0, percentiles=(0, 100)) > 1e9
    assert perceptual_path_length(start, end, 1.0, percentiles=(0, 10)) == pytest.approx(
        np.arange(1, 12).mean()
    )


def test_equal_steps_are_all_kept_and_a_constant_path_is_0() -> None:
    start = np.random.default_rng(1).standard_normal((9, 3))
    assert perceptual_path_length(start, start + 1.0, 1.0) == pytest.approx(3)
    assert perceptual_path_length(start, start) == 0


def test_8_bit_images_measure_the_rounding() -> None:
    """Features = pixels, each moving at speed 1: rounding makes that 1/(255 epsilon) times too long."""
    rng, epsilon = np.random.default_rng(2), 1e-4
    start = rng.uniform(size=(4000, 30))
    ends = start, start + epsilon
    assert perceptual_path_length(*ends, epsilon) == pytest.approx(30, rel=1e-6)
    rounded = [np.round(x * 255) / 255 for x in ends]
    result = perceptual_path_length(*rounded, epsilon, percentiles=(0, 100))
    assert result == pytest.approx(30 / (255 * epsilon), rel=0.1)
    wide = [np.round(x * 255) / 255 for x in (start, start + 0.1)]
    assert perceptual_path_length(*wide, 0.1) == pytest.approx(30, rel=0.01)


def test_leave_one_out_keeps_pairs_together() -> None:
    rng = np.random.default_rng(3)
    start = rng.standard_normal((60, 3))
    groups = [split_groups(x, 5, seed=0) for x in (start, start + 0.5)]
    whole, without = leave_one_out(lambda a, b: perceptual_path_length(a, b, 1.0), *groups)
    assert [whole, *without] == pytest.approx([0.75] * 6)


@pytest.mark.parametrize(
    ("shapes", "options", "words"),
    [
        (((5, 2), (4, 2)), {}, "as many starts as ends, got 5 and 4"),
        (((5, 2), (5, 3)), {}, "2 wide"),
        (((0, 2), (0, 2)), {}, "at least 1 real images, got 0"),
        (((5, 2), (5, 2)), {"epsilon": 0.0}, "above 0, got 0.0"),
        (((5, 2), (5, 2)), {"percentiles": (99, 1)}, r"ascending values in \[0, 100\]"),
    ],
)
def test_invalid_input_raises_value_error(
    shapes: tuple[tuple[int, int], ...], options: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        perceptual_path_length(*map(np.ones, shapes), **options)
