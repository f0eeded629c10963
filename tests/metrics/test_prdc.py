import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.metrics.knn import distances
from triptych.metrics.knn.distances import exact_distances
from triptych.metrics.prdc import density_coverage, prdc_scores, precision_recall

KINDS = (
    "plain",
    "far",
    "tiny",
    "grid",
    "copies",
    "collapsed",
    "nearly collapsed",
    "clusters",
    "wild",
    "spanning",
)
DTYPES = ("float64", "float32", "float16", "int16")


def golden() -> tuple[np.ndarray, np.ndarray]:
    """METRICS.md, 5c."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((500, 16)), rng.standard_normal((500, 16)) * 1.2 + 0.1


@pytest.mark.parametrize(
    ("k", "both"), [(3, (0.506, 0.934, 0.430, 0.652)), (5, (0.622, 0.972, 0.4312, 0.808))]
)
def test_the_golden_vectors(k: int, both: tuple[float, ...]) -> None:
    result = precision_recall(*golden(), k=k) + density_coverage(*golden(), k=k)
    assert result == pytest.approx(both, abs=1e-9)
    assert tuple(prdc_scores(*golden(), precision_k=k, density_k=k).values()) == result


def test_kynkaanniemi_2019_eq_1_by_hand() -> None:
    """Real 0, 1, 3 on a line, k = 1: radii 1, 1, 2, so the manifold is [-1, 2] and [1, 5]."""
    real = np.array([[0.0], [1], [3]])
    fake = np.array([[-1.0], [5], [5.5], [9]])  # the first two lie on the rim: <= counts them
    precision, recall = precision_recall(real, fake, k=1)
    assert precision == 2 / 4
    # fake radii: -1 -> 6, 5 -> 0.5, 5.5 -> 0.5, 9 -> 3.5: the ball of -1, [-7, 5], holds every real
    assert recall == 1.0
    assert precision_recall(real, np.array([[20.0], [21], [22]]), k=1) == (0.0, 0.0)


def test_naeem_2020_eq_5_and_6_by_hand() -> None:
    """Real 0, 1, 3 and k = 1: radii 1, 1, 2; strict, so a fake on the rim is outside."""
    real = np.array([[0.0], [1], [3]])
    fake = np.array([[-1.0], [0.5], [1.5], [9]])
    # 0.5 lies in the balls of 0 and 1; 1.5 in those of 1 and 3; -1 only on a rim
    assert density_coverage(real, fake, k=1) == (4 / (1 * 4), 1.0)
    assert density_coverage(real, np.array([[-1.0], [-1]]), k=1) == (0.0, 0.0)


def test_identical_sets() -> None:
    real, _ = golden()
    assert precision_recall(real, real) == (1.0, 1.0)
    assert density_coverage(real, real)[1] == 1.0


def test_naeem_2020_expected_coverage_on_one_distribution() -> None:
    """1 - prod_{i=1..k} (N - i) / (2N - i), whatever the distribution."""
    n, rng = 60, np.random.default_rng(1)
    for k in (3, 5):
        expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
        draws = [
            density_coverage(rng.standard_normal((n, 6)), rng.standard_normal((n, 6)), k) for _ in range(100)
        ]
        density, coverage = np.mean(draws, axis=0)
        assert coverage == pytest.approx(expected, abs=0.015)
        assert density == pytest.approx(1, abs=0.05)


def test_mode_collapse_has_precision_and_noise_has_recall() -> None:
    rng = np.random.default_rng(42)
    wide, narrow = rng.standard_normal((200, 16)) * 3, rng.standard_normal((200, 16)) * 0.1
    precision, recall = precision_recall(wide, narrow)
    assert precision > 0.8 and recall < 0.3
    precision, recall = precision_recall(narrow, wide)
    assert precision < 0.3 and recall > 0.8
    one_point = np.repeat(wide[:1], 200, axis=0)
    assert precision_recall(wide, one_point) == (1.0, 1 / 200)
    assert density_coverage(wide, one_point)[1] < 0.2


def test_duplicates_are_at_distance_0() -> None:
    """Near-copies far from the origin: |a|^2 + |b|^2 - 2 a.b would lose them in its rounding."""
    rng = np.random.default_rng(2)
    real = np.repeat(rng.standard_normal((30, 8)) + 1e4, 4, axis=0)  # 3 duplicates each: radius 0 at k = 3
    assert precision_recall(real, real, k=3) == (1.0, 1.0)
    assert precision_recall(real, real + 1e-9, k=3)[0] == 0.0
    assert density_coverage(real, real, k=3) == (0.0, 0.0)  # strict: nothing is nearer than 0


def test_constant_features_do_not_crash() -> None:
    same = np.ones((20, 4))
    assert precision_recall(same, same) == (1.0, 1.0)
    assert density_coverage(same, same) == (0.0, 0.0)
    assert precision_recall(same, same + 1) == (0.0, 0.0)


def drawn(kind: str, seed: int, n: int, m: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets whose distances are hard to bound in one way or another."""
    rng = np.random.default_rng(seed)
    real, fake = rng.standard_normal((n, width)), rng.standard_normal((m, width)) * 1.1
    if kind == "far":
        return real + 1e5, fake + 1e5
    if kind == "tiny":
        return real * 1e-5 + 1, fake * 1e-5 + 1
    if kind == "grid":  # ties everywhere
        return np.round(real[:, :3]) @ np.eye(3, width), np.round(fake[:, :3]) @ np.eye(3, width)
    if kind == "copies":
        return np.repeat(real[: -(-n // 7)], 7, axis=0)[:n], np.concatenate([real, fake])[n // 2 :][:m]
    if kind == "collapsed":
        return real, np.repeat(fake[:3], -(-m // 3), axis=0)[:m]
    if kind == "nearly collapsed":
        return real * 3, fake * 1e-5 + 2
    if kind == "clusters":
        return real + 1e5 * (-1.0) ** np.arange(n)[:, None], fake + 1e5 * (-1.0) ** np.arange(m)[:, None]
    if kind == "spanning":  # float32 products underflow
        real, fake = (x * 10.0 ** -rng.uniform(0, 25, (len(x), 1)) for x in (real, fake))
        mirrored = (np.stack([x, -x], axis=1) for x in (real, fake))  # so that the center is exactly 0
        real, fake = (x.reshape(-1, width)[: len(x) // 2 * 2] for x in mirrored)
        return real, fake
    if kind == "wild":
        return real * np.exp(3 * rng.standard_normal((n, 1))), fake
    return real, fake


def by_whole_matrices(real: np.ndarray, fake: np.ndarray, k: int, density_k: int) -> list[float]:
    """The definitions, on full matrices of exact distances."""
    radii = [np.sort(exact_distances(x, x), axis=1) for x in (real, fake)]  # [:, 0] is the image itself
    cross = exact_distances(real, fake)  # (real, fake)
    in_real = cross <= radii[0][:, [k]]
    in_fake = cross <= radii[1][:, k]
    strictly = cross < radii[0][:, [density_k]]
    shares = [x.sum() / len(x) for x in (in_real.any(0), in_fake.any(1))]
    return [*shares, strictly.sum() / len(fake) / density_k, strictly.any(1).sum() / len(real)]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32),
    n=st.integers(8, 90), m=st.integers(8, 90), width=st.sampled_from([3, 31, 32, 129]),
    k=st.integers(1, 4), density_k=st.integers(1, 5), tile=st.sampled_from([7, 29, 1024]),
)  # fmt: skip
def test_bounds_give_the_results_of_exact_distances(
    kind: str, dtype: str, seed: int, n: int, m: int, width: int, k: int, density_k: int, tile: int
) -> None:
    real, fake = (x.clip(-3e4, 3e4).astype(dtype) for x in drawn(kind, seed, n, m, width))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "CHUNK_ROWS", tile)
        result = prdc_scores(real, fake, k, density_k)
    assert list(result.values()) == by_whole_matrices(real, fake, k, density_k)


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_overflowing_squares_use_exact_distances(size: float) -> None:
    real, fake = (x[:40].repeat(3, axis=1) * size for x in golden())
    assert list(prdc_scores(real, fake).values()) == by_whole_matrices(real, fake, 3, 5)


def test_memory_stays_within_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, list[int]] = {"_Products": [], "_Precision": []}
    for rung in (distances._Products, distances._Precision):

        def counted(self, a, b, rung=rung, values=rung.values):
            made = values(self, a, b)
            sizes[rung.__name__].append(made.size)
            return made

        monkeypatch.setattr(rung, "values", counted)
    monkeypatch.setattr(distances, "CHUNK_ROWS", 100)
    for name, width in (("_Precision", 2), ("_Products", 64)):
        precision_recall(*np.random.default_rng(4).standard_normal((2, 1050, width)))
        assert max(sizes[name]) == 100 * 100
        # the symmetric half of each set and all cross distances, each once
        assert sum(sizes[name]) < 1.2 * (1050**2 / 2 * 2 + 1050**2)


def test_features_are_not_converted_as_a_whole() -> None:
    real, fake = np.random.default_rng(5).standard_normal((2, 3000, 256)).astype(np.float32)
    real.flags.writeable = False  # a memory map is
    tracemalloc.start()
    precision_recall(real, fake)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * distances.CHUNK_ROWS**2 * 8


@pytest.mark.parametrize(
    ("real", "fake", "k", "words"),
    [
        (np.ones((3, 2)), np.ones((9, 2)), 3, "at least 4 real images, got 3"),
        (np.ones((9, 2)), np.ones((3, 2)), 3, "at least 4 fake images, got 3"),
        (np.ones((9, 2)), np.ones((9, 2)), 0, "k must be at least 1"),
    ],
)
def test_invalid_input_raises_value_error(real: np.ndarray, fake: np.ndarray, k: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        precision_recall(real, fake, k)
