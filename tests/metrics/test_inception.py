import numpy as np
import pytest

from triptych.metrics import inception_score


def test_uniform_predictions_score_1():
    assert inception_score(np.full((200, 7), 1 / 7)) == pytest.approx(1, abs=1e-12)


def test_balanced_one_hot_scores_the_number_of_classes():
    assert inception_score(np.eye(7)[np.arange(140) % 7], splits=10) == pytest.approx(7, abs=1e-9)


def test_one_class_only_scores_1():
    assert inception_score(np.eye(7)[np.zeros(50, int)]) == pytest.approx(1, abs=1e-12)


def test_salimans_2016_section_4_by_hand():
    p = np.array([[0.9, 0.1], [0.5, 0.5]])
    marginal = np.array([0.7, 0.3])
    kl = [sum(a * np.log(a / b) for a, b in zip(row, marginal, strict=True)) for row in p]
    assert inception_score(p, splits=1) == pytest.approx(np.exp(np.mean(kl)), abs=1e-12)


def test_splits_are_blocks_in_order():
    """Sorted by class, every block of 10 holds one class: 1, although the whole set would score 2."""
    p = np.eye(2)[np.repeat([0, 1], 50)]
    assert inception_score(p, splits=10) == pytest.approx(1)
    assert inception_score(p, splits=1) == pytest.approx(2)


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (np.full((5, 2), 0.5), "10 splits need at least as many pictures, got 5"),
        (np.full((50, 2), 3.0), "not logits"),
        (np.full((50, 2), np.nan), "no NaN"),
        (np.ones(50), r"\(N, C\)"),
    ],
)
def test_bad_probabilities_get_a_sentence(p: np.ndarray, words: str):
    with pytest.raises(ValueError, match=words):
        inception_score(p)
