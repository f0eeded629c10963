import numpy as np
import pytest

from triptych.metrics.prd import ANGLES, _curve, f_score, prd_curve, prd_f_scores, prd_leave_one_out


def modes(seed: int, counts: list[int], width: int = 3) -> np.ndarray:
    """Tight clouds far from each other on a line, `counts` images in each."""
    rng = np.random.default_rng(seed)
    centres = np.zeros((len(counts), width))
    centres[:, 0] = 100 * np.arange(len(counts))
    return np.repeat(centres, counts, axis=0) + 0.1 * rng.standard_normal((sum(counts), width))


def test_identical_sets_have_precision_and_recall_1() -> None:
    x = np.random.default_rng(0).standard_normal((200, 4))
    precision, recall = prd_curve(x, x, runs=2)
    assert len(precision) == len(recall) == ANGLES
    assert np.minimum(precision, recall).max() == pytest.approx(1, abs=1e-12)
    assert prd_f_scores(x, x, runs=2) == pytest.approx((1, 1), abs=1e-12)


def test_disjoint_sets_have_precision_and_recall_0() -> None:
    x = np.random.default_rng(1).standard_normal((100, 4))
    precision, recall = prd_curve(x, x + 1000, runs=3)
    assert precision.max() == recall.max() == 0
    assert prd_f_scores(x, x + 1000, runs=1) == (0.0, 0.0)


def test_collapse_onto_2_of_5_modes_has_precision_1_and_recall_2_5() -> None:
    real, fake = modes(2, [40] * 5), modes(3, [100, 100, 0, 0, 0])
    precision, recall = prd_curve(real, fake, clusters=5, runs=3)
    assert precision.max() == pytest.approx(1, abs=1e-9)
    assert recall.max() == pytest.approx(2 / 5, abs=1e-9)
    corner = np.minimum(precision, recall * 5 / 2).max()
    assert corner == pytest.approx(1, abs=2e-3)  # as near as the angles come to it
    f_8, f_1_8 = prd_f_scores(real, fake, clusters=5, runs=3)
    assert f_8 == pytest.approx(65 * 0.4 / (64 + 0.4), abs=1e-3)
    assert f_1_8 == pytest.approx(65 * 0.4 / (1 + 64 * 0.4), abs=1e-3)


def test_invented_modes_have_low_precision_and_full_recall() -> None:
    real, fake = modes(2, [100, 100, 0, 0, 0]), modes(3, [40] * 5)
    precision, recall = prd_curve(real, fake, clusters=5, runs=2)
    assert (precision.max(), recall.max()) == pytest.approx((2 / 5, 1), abs=1e-9)
    low, high = prd_f_scores(real, fake, clusters=5, runs=2)[::-1]
    assert low < high


def test_sajjadi_2018_by_hand() -> None:
    """p = (1/2, 1/2, 0), q = (1/4, 0, 3/4): precision(t) = min(t/2, 1/4), recall(t) = precision(t) / t."""
    p, q = np.array([[0.5, 0.5, 0]]), np.array([[0.25, 0, 0.75]])
    (precision,), (recall,) = _curve(p, q, 101)
    t = np.tan(np.linspace(0, np.pi / 2, 101)[1:-1])
    assert precision[1:-1] == pytest.approx(np.minimum(t / 2, 0.25), abs=1e-6)
    assert recall[1:-1] == pytest.approx(np.minimum(1 / 2, 0.25 / t), abs=1e-6)
    assert (recall[0], precision[-1]) == pytest.approx((1 / 2, 1 / 4))


def test_f_scores_by_hand() -> None:
    precision, recall = np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.5, 0.0])
    assert f_score(precision, recall, 8) == pytest.approx(0.5)
    assert f_score(np.zeros(2), np.zeros(2), 8) == 0
    assert f_score(np.array([0.9]), np.array([0.3]), 8) == pytest.approx(65 * 0.27 / (64 * 0.9 + 0.3))


def test_exchanging_the_sets_exchanges_the_scores() -> None:
    rng = np.random.default_rng(4)
    real, fake = rng.standard_normal((150, 4)), rng.standard_normal((150, 4)) * 0.5
    narrow, wide = prd_f_scores(real, fake, runs=3), prd_f_scores(fake, real, runs=3)
    assert narrow[0] < narrow[1]
    assert wide == pytest.approx(narrow[::-1], abs=0.1)


def test_equal_distributions_miss_the_corner_by_the_documented_amount() -> None:
    rng = np.random.default_rng(5)
    curve = prd_curve(rng.standard_normal((1000, 4)), rng.standard_normal((1000, 4)), runs=4)
    assert 1 - np.minimum(*curve).max() == pytest.approx(np.sqrt(20 / (np.pi * 1000)), rel=0.4)


def test_larger_set_is_subsampled_to_the_size_of_the_smaller_one() -> None:
    rng = np.random.default_rng(6)
    real, fake = rng.standard_normal((800, 3)), rng.standard_normal((100, 3)) + 1
    few = np.mean([prd_f_scores(real[i::8], fake, runs=2) for i in range(8)], axis=0)
    assert prd_f_scores(real, fake) == pytest.approx(few, abs=0.05)


def test_result_is_deterministic_and_close_for_another_seed() -> None:
    rng = np.random.default_rng(7)
    real, fake = rng.standard_normal((120, 3)), rng.standard_normal((150, 3)) + 1
    once = prd_f_scores(real, fake, runs=3)
    assert prd_f_scores(real, fake, runs=3) == once
    other = prd_f_scores(real, fake, runs=3, seed=1)
    assert other != once
    assert other == pytest.approx(once, abs=0.1)


def test_leave_one_out_keeps_the_clusters() -> None:
    """Modes so clear that making the clusters anew would give the same ones."""
    real, fake = modes(8, [40] * 5), modes(9, [90, 70, 40, 0, 0])
    rng = np.random.default_rng(11)
    reals, fakes = (np.array_split(rng.permutation(x), [30, 80, 140]) for x in (real, fake))
    estimates = prd_leave_one_out(reals, fakes, clusters=5, runs=2)
    whole = prd_f_scores(np.concatenate(reals), np.concatenate(fakes), clusters=5, runs=2)
    assert list(estimates) == ["F_8", "F_1/8"]
    assert (estimates["F_8"][0], estimates["F_1/8"][0]) == pytest.approx(whole, abs=1e-12)
    for g in range(4):
        kept = [np.concatenate(x[:g] + x[g + 1 :]) for x in (reals, fakes)]
        anew = prd_f_scores(*kept, clusters=5, runs=2)
        assert (estimates["F_8"][1][g], estimates["F_1/8"][1][g]) == pytest.approx(anew, abs=1e-12)


def test_constant_features_do_not_crash() -> None:
    assert prd_f_scores(np.ones((30, 2)), np.ones((40, 2)), runs=1) == pytest.approx((1, 1))


@pytest.mark.parametrize(
    ("n", "options", "words"),
    [
        (19, {}, "PRD with 20 clusters needs at least 20 fake images, got 19"),
        (30, {"clusters": 0}, "at least 1 cluster and run and 3 angles, got 1 and 1 groups, clusters=0"),
        (30, {"runs": 0}, "runs=0"),
        (30, {"angles": 2}, "angles=2"),
    ],
)
def test_invalid_input_raises_value_error(n: int, options: dict[str, int], words: str) -> None:
    x = np.random.default_rng(10).standard_normal((30, 3))
    with pytest.raises(ValueError, match=words):
        prd_curve(x, x[:n], **options)
