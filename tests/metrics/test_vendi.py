import numpy as np
import pytest

from triptych.metrics import vendi
from triptych.metrics.stats.intervals import leave_one_out
from triptych.metrics.vendi import vendi_leave_one_out, vendi_score


def test_identical_features_score_1() -> None:
    assert vendi_score(np.tile([3.0, -1, 2], (20, 1))) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("each", [1, 9])  # N < D and N > D
def test_k_equal_clusters_at_right_angles_score_k(each: int) -> None:
    features = np.repeat(np.eye(12)[:5] * 7, each, axis=0)
    assert vendi_score(features) == pytest.approx(5, abs=1e-10)


def test_unequal_clusters_score_their_own_entropy() -> None:
    sizes = np.array([40, 10, 5])
    shares = sizes / sizes.sum()
    features = np.repeat(np.eye(3), sizes, axis=0)
    assert vendi_score(features) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), abs=1e-12)


def test_friedman_dieng_2022_on_the_similarity_matrix_itself() -> None:
    rng = np.random.default_rng(0)
    for n, d in ((30, 8), (8, 30)):
        x = rng.standard_normal((n, d)) + 0.5
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        values = np.maximum(np.linalg.eigvalsh(unit @ unit.T / n), 1e-300)
        assert vendi_score(x) == pytest.approx(np.exp(-(values * np.log(values)).sum()), abs=1e-10)


def test_norm_does_not_matter_but_direction_does() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((50, 6))
    assert vendi_score(x * rng.uniform(0.1, 9, (50, 1))) == pytest.approx(vendi_score(x), abs=1e-10)
    assert vendi_score(x + 3) < vendi_score(x)


def test_duplicates_change_nothing_and_collapse_lowers_the_score() -> None:
    x = np.random.default_rng(2).standard_normal((60, 10))
    assert vendi_score(np.repeat(x, 3, axis=0)) == pytest.approx(vendi_score(x), abs=1e-10)
    assert vendi_score(np.concatenate([x[:30], np.repeat(x[:1], 30, 0)])) < 0.8 * vendi_score(x)


def test_tiles_do_not_change_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(3).standard_normal((200, 7))
    whole = vendi_score(x)
    monkeypatch.setattr(vendi, "TILE", 13)
    assert vendi_score(x) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("width", [5, 90])
def test_leave_one_out_equals_recomputation(width: int) -> None:
    groups = np.array_split(np.random.default_rng(4).standard_normal((80, width)), 6)
    whole, without = vendi_leave_one_out(groups)
    same, anew = leave_one_out(vendi_score, groups)
    assert whole == pytest.approx(same, abs=1e-10)
    assert without == pytest.approx(anew, abs=1e-10)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.ones((0, 3)), "at least 1 image, got 0"),
        (np.array([[1.0, 2], [0, 0], [0, 0]]), "2 of 3 images .* all 0, the first is number 1"),
        (np.array([[1.0, np.nan]]), "NaN or infinite"),
        (np.ones(3), r"Vendi features of shape \(N, D\)"),
    ],
)
def test_invalid_features_raise_value_error(x: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        vendi_score(x)


def test_single_group_raises_value_error() -> None:
    with pytest.raises(ValueError, match="at least 2 groups, got 1"):
        vendi_leave_one_out([np.ones((4, 2))])
