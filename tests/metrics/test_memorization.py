from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy import stats

from triptych.metrics.knn.distances import exact_distances
from triptych.metrics.memorization import (
    authenticity,
    canary_test,
    near_duplicate_test,
    nearest_training_images,
)
from triptych.metrics.stats.binomial import Proportion, beta_binomial_tail


def images(n: int, seed: int, width: int = 40) -> np.ndarray:
    """Of one distribution, whatever the seed."""
    return np.random.default_rng(seed).standard_normal((n, width)) * np.linspace(3, 0.1, width) + 50


@pytest.mark.parametrize(("count", "n"), [(0, 7), (1, 7), (7, 7), (3, 400), (399, 400)])
def test_clopper_pearson_1934(count: int, n: int) -> None:
    share, other = Proportion.of(count, n), stats.binomtest(count, n).proportion_ci(method="exact")
    assert (share.low, share.high) == pytest.approx((other.low, other.high), abs=1e-12)
    assert (share.value, share.count, share.total) == (count / n, count, n)


def test_p_value_equals_the_count_of_orderings() -> None:
    """All orders are equally likely: count those with so many below the rank-th honest image."""
    honest, queries, rank = 6, 5, 2
    for count in range(queries + 1):
        orders = 0
        for places in combinations(range(honest + queries), honest):
            orders += places[rank - 1] - (rank - 1) >= count  # so many queries come before it
        expected = orders / comb(honest + queries, honest)
        assert beta_binomial_tail(count, queries, rank, honest) == pytest.approx(expected, abs=1e-12)
    assert beta_binomial_tail(37, 2000, 10, 1000) == pytest.approx(
        stats.betabinom.sf(36, 2000, 10, 991), rel=1e-9
    )


def test_a_model_that_returns_training_images_scores_1() -> None:
    train, held_out = images(300, 0), images(250, 1)
    rng = np.random.default_rng(2)
    for fake in (train[:100], train[rng.integers(0, 300, 500)], train[:50] + 1e-3 * rng.random((50, 40))):
        result = near_duplicate_test(train, fake, held_out)
        assert result.share.value == 1 and result.share.high == 1
        assert result.significant and result.p_value < 1e-9 and "significantly more" in str(result)
        assert authenticity(train, fake).value == 0
    assert sorted(near_duplicate_test(train, train[:100], held_out).indices) == list(range(100))


def test_samples_of_the_data_distribution_score_the_expected_share() -> None:
    train = images(400, 3)
    result = near_duplicate_test(train, images(2000, 4), images(1999, 5), alpha=0.05)
    assert result.expected == 0.05
    assert result.share.low <= 0.05 <= result.share.high
    assert not result.significant and "not significantly more" in str(result)


def test_p_value_is_uniform_without_memorization() -> None:
    """At most p of all held-out samplers get a p-value of at most p, and not many fewer."""
    rng = np.random.default_rng(6)
    values = []
    for _ in range(300):
        train, fake, held_out = (rng.standard_normal((n, 2)) for n in (50, 60, 59))
        values.append(near_duplicate_test(train, fake, held_out, alpha=0.1).p_value)
    shares = [np.mean(np.array(values) <= p) for p in (0.05, 0.25, 0.5)]
    assert shares[0] <= 0.09 and 0.1 < shares[1] <= 0.31 and 0.3 < shares[2] <= 0.57


def test_few_duplicates_among_new_samples_are_found_and_listed() -> None:
    train, held_out, fake = images(500, 7), images(999, 8), images(1000, 9)
    few = fake.copy()
    few[[11, 500, 640, *range(700, 725)]] = train[:28] + 1e-6
    result = near_duplicate_test(train, few, held_out)
    assert result.significant and {11, 500, 640, 724} <= set(result.indices)
    few[11] = train[499]
    assert near_duplicate_test(train, few, held_out).indices[0] == 11


def test_the_threshold_by_hand() -> None:
    train = np.array([[0.0], [10]])
    held_out = np.array([[1.0], [13], [2], [14]])  # 1, 3, 2, 4 from a training image
    fake = np.array([[11.5], [-2], [8.5], [5]])  # 1.5, 2, 1.5, 5: on the threshold is not below it
    result = near_duplicate_test(train, fake, held_out, alpha=0.4)
    assert (result.threshold, result.expected, result.indices) == (2, 0.4, (0, 2))
    assert result.share == Proportion.of(2, 4)
    # X >= 2 of 4 below the 2nd of 4: 1 less the orders with 0 or 1 before it
    assert result.p_value == pytest.approx(stats.betabinom.sf(1, 4, 2, 3))


def test_near_duplicates_far_from_the_origin_are_resolved() -> None:
    """float32 features about 1e4: products alone would lose the distance of 0.1."""
    train = (images(200, 10, 64) + 1e4).astype(np.float32)
    fake = train[:40].copy()
    fake[:, 0] += np.float32(0.125)
    numbers, distances = nearest_training_images(train, fake, k=1)
    assert (numbers[:, 0] == np.arange(40)).all() and (distances == 0.125).all()


@pytest.mark.parametrize("width", [2, 80])
def test_nearest_against_whole_matrices(width: int) -> None:
    rng = np.random.default_rng(11)
    train = np.concatenate([rng.standard_normal((150, width)), np.zeros((30, width))])
    train[60:90] = train[:30]  # of equal distances the lowest number comes first
    fake = np.concatenate([train[20:70], np.zeros((2, width)), rng.standard_normal((30, width))])
    numbers, distances = nearest_training_images(train, fake, k=7)
    whole = exact_distances(fake, train)
    order = np.argsort(whole, axis=1, kind="stable")[:, :7]
    assert (numbers == order).all()
    assert (distances == np.take_along_axis(whole, order, axis=1)).all()
    assert (
        nearest_training_images(train[:5], fake, k=5)[0].shape,
        nearest_training_images(train[:1], fake, k=1)[0].max(),
    ) == ((82, 5), 0)


def test_authenticity_by_hand() -> None:
    """Alaa et al. 2022: training images 0, 1 and 5; 0 and 1 are 1 from their neighbor, 5 is 4."""
    train = np.array([[0.0], [1], [5]])
    assert authenticity(train, np.array([[-0.5]])).value == 0  # 0.5 from 0
    assert authenticity(train, np.array([[-1.0]])).value == 0  # as near as the neighbor is no nearer
    assert authenticity(train, np.array([[-1.5], [8], [9.5]])) == Proportion.of(2, 3)  # 3 < 4


def test_authenticity_against_whole_matrices() -> None:
    train, fake = images(200, 12), images(150, 13)
    train[50:60] = train[:10]
    fake[:30] = train[40:70] + 1e-9
    own = exact_distances(train, train)
    np.fill_diagonal(own, np.inf)
    cross = exact_distances(fake, train)
    authentic = own.min(1)[cross.argmin(1)] < cross.min(1)
    assert authenticity(train, fake) == Proportion.of(int(authentic.sum()), 150)
    assert 0.2 < authentic.mean() < 0.9


def test_recovered_canaries_are_counted() -> None:
    rng = np.random.default_rng(14)
    marked = images(140, 15)
    marked[:, -1] += 20  # the mark
    canaries, controls = marked[:20], marked[20:]
    fake = images(300, 16)
    assert not canary_test(canaries, fake, controls).significant
    fake[:6] = canaries[[3, 1, 4, 15, 9, 2]] + 1e-4 * rng.random((6, 1))
    result = canary_test(canaries, fake, controls)
    assert set(result.indices) == {3, 1, 4, 15, 9, 2} and result.share == Proportion.of(6, 20)
    assert result.significant and result.expected == 1 / 121


def test_invalid_input_raises_value_error() -> None:
    train, fake, held_out = images(30, 17), images(20, 18), images(40, 19)
    with pytest.raises(ValueError, match=r"at least 99 held-out images, got 40.* alpha of 0.024 or more"):
        near_duplicate_test(train, fake, held_out)
    assert near_duplicate_test(train, fake, held_out, alpha=0.025).expected == 1 / 41
    with pytest.raises(ValueError, match=r"proportion in \(0, 0.5\], got 1"):
        near_duplicate_test(train, fake, held_out, alpha=1)
    with pytest.raises(ValueError, match="10 of 40 held-out images are identical to one of"):
        near_duplicate_test(train, fake, np.concatenate([train[:10], held_out[10:]]), alpha=0.1)
    with pytest.raises(ValueError, match="training features are 40 wide and held-out features are 3 wide"):
        near_duplicate_test(train, fake, held_out[:, :3])
    with pytest.raises(ValueError, match="at least 9 controls, got 4"):
        canary_test(train, fake, held_out[:4], alpha=0.1)
    with pytest.raises(ValueError, match="at least 1 fake images, got 0"):
        nearest_training_images(train, fake[:0])
    with pytest.raises(ValueError, match="between 1 and the number of training images, 30, got 31"):
        nearest_training_images(train, fake, k=31)
    with pytest.raises(ValueError, match="at least 2 training images, got 1"):
        authenticity(train[:1], fake)
    with pytest.raises(ValueError, match="1 of 20 fake images have NaN"):
        authenticity(train, np.where(np.arange(20)[:, None] == 3, np.nan, fake))
