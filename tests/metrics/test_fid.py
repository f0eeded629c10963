from itertools import product

import numpy as np
import pytest

from triptych.metrics.fid import (
    Moments,
    fid,
    fid_leave_groups_out,
    frechet_distance,
    leave_one_out_sums,
    moments_leave_one_out,
)


def golden() -> tuple[np.ndarray, np.ndarray]:
    """METRICS.md, 5c."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((500, 16)), rng.standard_normal((500, 16)) * 1.2 + 0.1


def with_moments(rng: np.random.Generator, mean: np.ndarray, covariance: np.ndarray, n: int) -> np.ndarray:
    """Features whose sample mean and covariance (over n - 1) are exactly those given."""
    x = rng.standard_normal((n, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return x @ np.linalg.cholesky(covariance).T + mean


def test_the_golden_vector() -> None:
    assert fid(*golden()) == pytest.approx(1.1926942410, abs=1e-9)


def test_two_gaussians_against_the_formula() -> None:
    """N(0, I) and N(m, s^2 I): |m|^2 + d (1 - s)^2."""
    rng, d, s = np.random.default_rng(1), 6, 1.7
    m = rng.standard_normal(d)
    real = with_moments(rng, np.zeros(d), np.eye(d), 400)
    fake = with_moments(rng, m, s**2 * np.eye(d), 300)
    assert fid(real, fake) == pytest.approx(m @ m + d * (1 - s) ** 2, abs=1e-9)


def test_heusel_2017_eq_6_with_covariances_that_do_not_commute() -> None:
    """Against the eigenvalues of S1 S2, which need no symmetric root."""
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 5, 5))
    s1, s2 = a @ a.T + np.eye(5), b @ b.T + np.eye(5)
    real, fake = with_moments(rng, np.zeros(5), s1, 90), with_moments(rng, np.ones(5), s2, 70)
    root = np.sqrt(np.linalg.eigvals(s1 @ s2).real).sum()
    assert fid(real, fake) == pytest.approx(5 + np.trace(s1) + np.trace(s2) - 2 * root, abs=1e-8)


def test_identical_sets_and_order() -> None:
    real, fake = golden()
    assert fid(real, real[::-1]) == pytest.approx(0, abs=1e-10)
    assert fid(real, fake) == pytest.approx(fid(fake, real), abs=1e-10)


def test_large_mean_loses_no_digits() -> None:
    real, fake = golden()
    assert fid(real + 1e6, fake + 1e6) == pytest.approx(1.1926942410, abs=1e-6)


def test_singular_and_constant_features_do_not_crash() -> None:
    rng = np.random.default_rng(3)
    few = rng.standard_normal((5, 40))  # 5 images, 40 features: rank 4
    assert np.isfinite(fid(few, rng.standard_normal((6, 40))))
    assert fid(np.ones((9, 4)), np.ones((8, 4))) == 0
    assert fid(np.ones((9, 4)), np.full((8, 4), 3.0)) == pytest.approx(16)


def test_covariances_of_any_rank_against_the_square_root() -> None:
    """Where one is singular, both, or neither, and in either order."""
    rng = np.random.default_rng(6)
    mixing = rng.standard_normal((30, 30))
    sets = [rng.standard_normal((n, 30)) @ mixing * np.linspace(1, 1e-3, 30) for n in (20, 29, 200, 300)]
    sets.append(sets[3] * (np.arange(30) < 12))  # some features are constant
    for a, b in product(sets, sets):
        s1, s2 = np.cov(a.T), np.cov(b.T)
        values, vectors = np.linalg.eigh(s1)
        root = vectors * np.sqrt(values.clip(0)) @ vectors.T
        cross = np.sqrt(np.linalg.eigvalsh(root @ s2 @ root).clip(0)).sum()
        gap = a.mean(0) - b.mean(0)
        expected = gap @ gap + np.trace(s1) + np.trace(s2) - 2 * cross
        assert fid(a, b) == pytest.approx(expected, abs=1e-6 * np.trace(s1))


def test_the_bias_at_small_n_is_as_documented() -> None:
    rng, d, n = np.random.default_rng(4), 32, 800
    result = np.mean([fid(rng.standard_normal((n, d)), rng.standard_normal((n, d))) for _ in range(5)])
    assert result == pytest.approx(d * (d + 1) / (2 * n) + 2 * d / n, rel=0.1)


def test_moments_add_up_and_leave_one_out() -> None:
    rng = np.random.default_rng(5)
    parts = [rng.standard_normal((n, 4)) + n for n in (7, 11, 1, 5)]
    for g, moments in enumerate(leave_one_out_sums([Moments.from_features(p) for p in parts])):
        rest = Moments.from_features(np.concatenate(parts[:g] + parts[g + 1 :]))
        assert moments.count == rest.count
        np.testing.assert_allclose(moments.mean, rest.mean, rtol=1e-12)
        np.testing.assert_allclose(moments.covariance(), rest.covariance(), rtol=1e-12)


def test_leave_one_out_equals_recomputation() -> None:
    real, fake = golden()
    reals, fakes = np.array_split(real, 5), np.array_split(fake, 5)
    whole, *without = fid_leave_groups_out(reals, fakes, [(), *((g,) for g in range(5))])
    assert whole == pytest.approx(fid(real, fake), abs=1e-10)
    for g, value in enumerate(without):
        kept = [np.concatenate(x[:g] + x[g + 1 :]) for x in (reals, fakes)]
        assert value == pytest.approx(fid(*kept), abs=1e-10)
    assert frechet_distance(Moments.from_features(real), Moments.from_features(fake)) == pytest.approx(
        whole, abs=1e-10
    )


def test_moments_leave_one_out_with_an_empty_group() -> None:
    rng = np.random.default_rng(6)
    x, groups = rng.standard_normal((40, 3)), rng.integers(0, 4, 40)
    whole, without = moments_leave_one_out(x, groups, 6)
    np.testing.assert_allclose(whole.covariance(), np.cov(x.T), rtol=1e-12)
    for g in range(6):
        np.testing.assert_allclose(without[g].covariance(), np.cov(x[groups != g].T), rtol=1e-12)
        np.testing.assert_allclose(without[g].mean, x[groups != g].mean(0), rtol=1e-12)
    assert without[5] is whole
    with pytest.raises(ValueError, match="of 3 images in 2 groups fewer than 2 are left"):
        moments_leave_one_out(x[:3], np.array([0, 0, 1]), 2)
    with pytest.raises(ValueError, match="of 3 images in 1 groups"):
        moments_leave_one_out(x[:3], np.zeros(3, int), 2)


@pytest.mark.parametrize(
    ("real", "fake", "words"),
    [
        (np.ones((1, 4)), np.ones((5, 4)), "at least 2 real images, got 1"),
        (np.ones((5, 4)), np.ones((0, 4)), "at least 2 fake images, got 0"),
        (np.ones((5, 4)), np.ones((5, 3)), "4 wide and fake features are 3 wide"),
        (np.ones((5, 4)), np.array([[1.0, 2, 3, 4], [1, np.nan, 3, 4]]), "1 of 2 fake .* number 1"),
        (np.full((5, 4), np.inf), np.ones((5, 4)), "5 of 5 real"),
        (np.ones(5), np.ones((5, 4)), r"real features of shape \(N, D\)"),
    ],
)
def test_invalid_features_raise_value_error(real: np.ndarray, fake: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fid(real, fake)
