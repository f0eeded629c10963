import numpy as np
import pytest

from triptych.metrics.fid import fid
from triptych.metrics.fid_infinity import fd_infinity, fd_infinity_leave_one_out
from triptych.metrics.stats.intervals import jackknife_interval
from triptych.metrics.stats.resampling import split_groups


def mean_of(values: list[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def test_two_samples_of_one_gaussian_are_near_0_where_fid_is_not() -> None:
    rng, d, n = np.random.default_rng(0), 16, 640
    pairs = [(rng.standard_normal((n, d)), rng.standard_normal((n, d))) for _ in range(12)]
    plain = np.mean([fid(*p) for p in pairs])
    assert plain == pytest.approx(d * (d + 1) / (2 * n) + 2 * d / n, rel=0.1)
    mean, error = mean_of([fd_infinity(*p) for p in pairs])
    assert abs(mean) < 4 * error
    assert abs(mean) < plain / 10


def test_two_gaussians_against_the_population_value() -> None:
    """N(0, I) and N(m, s^2 I): |m|^2 + d (1 - s)^2."""
    rng, d, n, s, m = np.random.default_rng(1), 12, 500, 1.3, 0.2
    target = d * m**2 + d * (1 - s) ** 2
    result, plain = [], []
    for _ in range(30):
        real, fake = rng.standard_normal((n, d)), rng.standard_normal((700, d)) * s + m
        result.append(fd_infinity(real, fake))
        plain.append(fid(real, fake))
    mean, error = mean_of(result)
    assert abs(mean - target) < 4 * error
    assert error < 0.03
    assert np.mean(plain) - target > 0.2


def test_varying_fakes_only_keeps_the_bias_of_the_real_set() -> None:
    """The paper's form: half of the bias is the real set's, whose number never changes."""
    rng, d, n = np.random.default_rng(2), 16, 640
    pairs = [(rng.standard_normal((n, d)), rng.standard_normal((n, d))) for _ in range(12)]
    half = (d * (d + 1) / (2 * n) + 2 * d / n) / 2
    assert np.mean([fd_infinity(*p, vary="fake") for p in pairs]) == pytest.approx(half, rel=0.2)


def test_line_in_one_over_n_is_extrapolated_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """FID put in place by 3 + 40 / n_real + 70 / n_fake."""
    from triptych.metrics import fid_infinity

    monkeypatch.setattr(fid_infinity, "frechet_distance", lambda r, f: 3 + 40 / r.count + 70 / f.count)
    rng = np.random.default_rng(3)
    real, fake = rng.standard_normal((600, 2)), rng.standard_normal((300, 2))
    assert fd_infinity(real, fake) == pytest.approx(3, abs=1e-3)  # rounded sizes are not quite in proportion
    assert fd_infinity(real, fake, vary="fake") == pytest.approx(3 + 40 / 600, abs=1e-9)


def test_sizes_are_those_of_the_paper() -> None:
    """15 evenly from min(5000, N/10) to N; never below D + 1."""
    from triptych.metrics.fid_infinity import _shares

    assert _shares(10_000, 10_000, 64, 15, "both") * 10_000 == pytest.approx(np.linspace(1000, 10_000, 15))
    assert _shares(70_000, 70_000, 64, 15, "both") * 70_000 == pytest.approx(np.linspace(5000, 70_000, 15))
    assert _shares(400, 400, 99, 15, "both")[0] * 400 == pytest.approx(100)
    assert _shares(200, 400, 99, 15, "both")[0] * 200 == pytest.approx(100)
    assert _shares(200, 400, 49, 15, "fake")[0] * 400 == pytest.approx(50)


def test_result_is_deterministic_and_close_for_another_seed() -> None:
    rng = np.random.default_rng(4)
    real, fake = rng.standard_normal((400, 6)), rng.standard_normal((400, 6)) + 0.5
    once = fd_infinity(real, fake)
    assert fd_infinity(real, fake) == once
    other = fd_infinity(real, fake, seed=1)
    assert other != once
    assert other == pytest.approx(once, abs=0.1)


def test_leave_one_out_removes_a_group_from_every_sample() -> None:
    rng = np.random.default_rng(5)
    real, fake = rng.standard_normal((300, 4)), rng.standard_normal((260, 4)) * 1.4
    reals, fakes = split_groups(real, 6, 0), split_groups(fake, 6, 1)
    whole, without = fd_infinity_leave_one_out(reals, fakes)
    assert whole == pytest.approx(fd_infinity(np.concatenate(reals), np.concatenate(fakes)), abs=1e-10)
    anew = [
        fd_infinity(np.concatenate(reals[:g] + reals[g + 1 :]), np.concatenate(fakes[:g] + fakes[g + 1 :]))
        for g in range(6)
    ]  # other draws of the samples: close, and wider apart
    assert without == pytest.approx(anew, abs=0.25)
    assert np.std(without) < np.std(anew)


def test_each_leave_one_out_sample_has_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is fitted to the numbers that are left: else it would be read off at another place."""
    from triptych.metrics import fid_infinity

    monkeypatch.setattr(fid_infinity, "frechet_distance", lambda r, f: 3 + 50 / r.count + 50 / f.count)
    x = np.random.default_rng(10).standard_normal((300, 2))
    groups = np.array_split(x, [100, 120, 200])
    whole, without = fd_infinity_leave_one_out(groups, groups)
    assert [whole, *without] == pytest.approx([3] * 5, abs=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_interval_covers_the_population_value(shift: float) -> None:
    rng, d, target = np.random.default_rng(6), 5, 5 * shift**2
    covered = []
    for _ in range(60):
        real, fake = rng.standard_normal((240, d)), rng.standard_normal((240, d)) + shift
        value, without = fd_infinity_leave_one_out(
            split_groups(real, 12, 0), split_groups(fake, 12, 1), points=5
        )
        estimate = jackknife_interval(value, without)
        covered.append(estimate.low <= target <= estimate.high)
    assert 0.88 <= np.mean(covered) <= 1.0


@pytest.mark.parametrize(
    ("n", "m", "options", "words"),
    [
        (40, 17, {}, "8 features needs at least 18 images, got 17.*KID"),
        (17, 40, {}, "at least 18 images, got 17"),
        (1, 40, {"vary": "fake"}, "at least 2 real images, got 1"),
        (40, 40, {"points": 1}, "at least 2 points"),
        (40, 40, {"vary": "real"}, "'both' or 'fake', got 'real'"),
    ],
)
def test_invalid_input_raises_value_error(n: int, m: int, options: dict[str, object], words: str) -> None:
    rng = np.random.default_rng(7)
    with pytest.raises(ValueError, match=words):
        fd_infinity(rng.standard_normal((n, 8)), rng.standard_normal((m, 8)), **options)


def test_groups_that_leave_too_few_images_raise_value_error() -> None:
    x = np.random.default_rng(8).standard_normal((8, 1))
    with pytest.raises(ValueError, match="fewer than 2 are left when one group is left out"):
        fd_infinity_leave_one_out([x[:4], x[4:]], [x[:4], x[4:]])
