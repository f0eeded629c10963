import numpy as np
import pytest

from triptych.metrics import kid as kernel
from triptych.metrics.kid import kid, kid_blocks, kid_leave_groups_out


def golden() -> tuple[np.ndarray, np.ndarray]:
    """METRICS.md, 5c."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((500, 16)), rng.standard_normal((500, 16)) * 1.2 + 0.1


def test_the_golden_vector() -> None:
    assert kid(*golden()) == pytest.approx(0.0822770459, abs=1e-9)


def test_binkowski_2018_eq_4_by_hand() -> None:
    real, fake = np.array([[1.0, 0], [0, 1]]), np.array([[1.0, 1], [2, 0], [0, 0]])

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 2 + 1) ** 3)

    within_real = 2 * k(real[0], real[1]) / 2
    within_fake = 2 * (k(fake[0], fake[1]) + k(fake[0], fake[2]) + k(fake[1], fake[2])) / 6
    between = sum(k(x, y) for x in real for y in fake) / 6
    assert kid(real, fake) == pytest.approx(within_real + within_fake - 2 * between, abs=1e-12)


def test_unbiased_on_one_distribution() -> None:
    """Mean 0 within four standard errors at an n so small that the biased estimator is far off."""
    rng = np.random.default_rng(1)
    draws = [kid(rng.standard_normal((12, 4)), rng.standard_normal((9, 4))) for _ in range(1500)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(len(draws))
    assert min(draws) < 0


def test_its_expectation_does_not_depend_on_n() -> None:
    rng = np.random.default_rng(2)

    def mean(n: int, draws: int) -> tuple[float, float]:
        values = [kid(rng.standard_normal((n, 4)), rng.standard_normal((n, 4)) + 0.7) for _ in range(draws)]
        return float(np.mean(values)), float(np.std(values) / np.sqrt(draws))

    (few, error_few), (many, error_many) = mean(8, 2000), mean(200, 60)
    assert abs(few - many) < 4 * np.hypot(error_few, error_many)


def test_tiles_do_not_change_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kid(*golden())
    monkeypatch.setattr(kernel, "TILE", 37)
    assert kid(*golden()) == pytest.approx(whole, abs=1e-12)


def test_leave_one_out_equals_recomputation() -> None:
    real, fake = golden()
    reals, fakes = np.array_split(real, 7), np.array_split(fake[:333], 7)
    whole, *without = kid_leave_groups_out(reals, fakes, [(), *((g,) for g in range(7))])
    assert whole == pytest.approx(kid(real, fake[:333]), abs=1e-12)
    for g, value in enumerate(without):
        kept = [np.concatenate(x[:g] + x[g + 1 :]) for x in (reals, fakes)]
        assert value == pytest.approx(kid(*kept), abs=1e-12)


def test_constant_features_do_not_crash() -> None:
    assert kid(np.ones((9, 4)), np.ones((8, 4))) == pytest.approx(0, abs=1e-12)


def test_too_few_images_raise_value_error() -> None:
    with pytest.raises(ValueError, match="KID needs at least 2 real images, got 1"):
        kid(np.ones((1, 4)), np.ones((5, 4)))


def test_one_block_of_all_images_is_the_full_set_value() -> None:
    real, fake = golden()
    mean, values = kid_blocks(real, fake, size=500, blocks=2)
    assert mean == pytest.approx(0.0822770459, abs=1e-9)
    assert values == pytest.approx([mean, mean], abs=1e-12)


def test_the_mean_of_blocks_agrees_with_the_full_set_value_and_is_seeded() -> None:
    real, fake = golden()
    mean, values = kid_blocks(real, fake, size=60, blocks=200)
    assert values.shape == (200,)
    assert mean == values.mean()
    assert abs(mean - kid(real, fake)) < 4 * values.std() / np.sqrt(200)
    assert (kid_blocks(real, fake, size=60, blocks=3)[1] == values[:3]).all()
    assert (kid_blocks(real, fake, size=60, blocks=3, seed=1)[1] != values[:3]).all()


def test_standard_deviation_over_blocks_is_no_standard_error() -> None:
    """Over sqrt(blocks) it promises far too much: 400 blocks of the same 40 images."""
    rng, seeming, means = np.random.default_rng(3), [], []
    for _ in range(25):
        mean, values = kid_blocks(
            rng.standard_normal((40, 4)), rng.standard_normal((40, 4)) + 0.7, size=20, blocks=400
        )
        means.append(mean)
        seeming.append(values.std() / 20)
    assert np.std(means) > 5 * np.mean(seeming)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 600}, "KID in blocks of 600 needs at least 600 real images, got 500"),
        ({"size": 1}, "size >= 2 and blocks >= 1, got 1 and 100"),
        ({"blocks": 0}, "got 1000 and 0"),
    ],
)
def test_invalid_blocks_raise_value_error(options: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kid_blocks(*golden(), **options)


def test_float32_dot_products_are_close_and_the_rest_is_float64() -> None:
    """Features about 1 and all positive, as Inception's are: k is about 8, KID a ten-thousandth of it."""
    rng = np.random.default_rng(4)
    real, fake = (1 + 0.3 * rng.standard_normal((700, 50)) * s for s in (1, 1.05))
    whole, mean = kid(real, fake), kid_blocks(real, fake, 300, 5)[0]
    fast, fast_mean = kid(real, fake, "float32"), kid_blocks(real, fake, 300, 5, dot_dtype="float32")[0]
    assert fast == pytest.approx(whole, abs=2e-8)
    assert fast_mean == pytest.approx(mean, abs=2e-8)
    assert fast != whole
    with pytest.raises(ValueError, match="'float64' or 'float32', got 'half'"):
        kid(real, fake, "half")
