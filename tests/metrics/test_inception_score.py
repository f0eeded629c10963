import numpy as np
import pytest

from triptych.metrics.inception_score import inception_score, inception_score_leave_one_out
from triptych.metrics.stats.intervals import leave_one_out


def test_uniform_predictions_score_1() -> None:
    assert inception_score(np.full((200, 7), 1 / 7)) == pytest.approx(1, abs=1e-12)


def test_balanced_one_hot_scores_the_number_of_classes() -> None:
    assert inception_score(np.eye(7)[np.arange(140) % 7], splits=10) == pytest.approx(7, abs=1e-9)


def test_one_class_only_scores_1() -> None:
    assert inception_score(np.eye(7)[np.zeros(50, int)]) == pytest.approx(1, abs=1e-12)


def test_salimans_2016_section_4_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.5, 0.5]])
    marginal = np.array([0.7, 0.3])
    kl = [sum(a * np.log(a / b) for a, b in zip(row, marginal, strict=True)) for row in p]
    assert inception_score(p, splits=1) == pytest.approx(np.exp(np.mean(kl)), abs=1e-12)


def test_splits_are_blocks_in_order() -> None:
    """Sorted by class, every block of 10 holds one class: 1, although the whole set would score 2."""
    p = np.eye(2)[np.repeat([0, 1], 50)]
    assert inception_score(p, splits=10) == pytest.approx(1)
    assert inception_score(p, splits=1) == pytest.approx(2)


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (np.full((5, 2), 0.5), "10 splits need at least as many images, got 5"),
        (np.full((50, 2), 3.0), "logits are not"),
        (np.full((50, 2), np.nan), "no NaN"),
        (np.ones(50), r"\(N, C\)"),
    ],
)
def test_invalid_probabilities_raise_value_error(p: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        inception_score(p)


def predictions(seed: int, n: int = 210, classes: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.4), n)


def test_the_shuffled_form_is_the_score_of_the_shuffled_images() -> None:
    """Sorted by class, consecutive splits see one class each; shuffled ones see all."""
    p = np.eye(2)[np.repeat([0, 1], 50)]
    assert inception_score(p, shuffle=2020) == pytest.approx(2, rel=0.1)
    p = predictions(0)
    order = np.random.RandomState(2020).permutation(len(p))
    assert inception_score(p, shuffle=2020) == inception_score(p[order])
    assert inception_score(p, splits=1, shuffle=1) == pytest.approx(inception_score(p, splits=1), abs=1e-12)


def test_leave_one_out_equals_recomputation() -> None:
    groups = np.array_split(predictions(1), 6)
    whole, without = inception_score_leave_one_out(groups, splits=1)
    same, anew = leave_one_out(lambda p: inception_score(p, splits=1), groups)
    assert whole == pytest.approx(same, abs=1e-12)
    assert without == pytest.approx(anew, abs=1e-12)


def test_each_split_takes_its_part_of_every_group() -> None:
    """Three splits of groups of 30 are tens of each: left-out groups shorten all splits alike."""
    groups = np.array_split(predictions(2), 7)
    whole, without = inception_score_leave_one_out(groups, splits=3)
    tens = [np.concatenate([x[s * 10 : s * 10 + 10] for x in groups]) for s in range(3)]
    assert whole == pytest.approx(inception_score(np.concatenate(tens), splits=3), abs=1e-12)
    left = [np.concatenate([x[s * 10 : s * 10 + 10] for x in groups[1:]]) for s in range(3)]
    assert without[0] == pytest.approx(inception_score(np.concatenate(left), splits=3), abs=1e-12)


def test_groups_smaller_than_the_splits_raise_value_error() -> None:
    with pytest.raises(ValueError, match="10 splits need at least as many images, got 5"):
        inception_score_leave_one_out([predictions(3, 20), predictions(3, 5)])
    with pytest.raises(ValueError, match="at least 2 groups, got 1"):
        inception_score_leave_one_out([predictions(3)])
