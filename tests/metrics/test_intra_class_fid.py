import numpy as np
import pytest

from triptych.metrics.fid import fid
from triptych.metrics.intra_class_fid import intra_class_fid, intra_class_fid_leave_one_out
from triptych.metrics.stats.intervals import leave_one_out
from triptych.metrics.stats.resampling import split_groups


def classes(seed: int, counts: tuple[int, ...] = (60, 40, 50)) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of 4 features, far from each other, and their labels, shuffled."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    centres = np.array([[0.0, 0, 0, 0], [9, 0, 0, 0], [0, 9, 9, 0]])
    return rng.standard_normal((len(labels), 4)) + centres[labels], labels


def test_identical_sets_score_0_in_every_class() -> None:
    x, labels = classes(0)
    mean, each = intra_class_fid(x, x[::-1], labels, labels[::-1])
    assert mean == pytest.approx(0, abs=1e-9)
    assert list(each) == [0, 1, 2]
    assert max(each.values()) == pytest.approx(0, abs=1e-9)


def test_intra_class_fid_is_the_mean_of_the_fid_of_each_class() -> None:
    (real, a), (fake, b) = classes(1), classes(2)
    mean, each = intra_class_fid(real, fake, a, b)
    assert each == pytest.approx({c: fid(real[a == c], fake[b == c]) for c in range(3)}, abs=1e-10)
    assert mean == pytest.approx(np.mean(list(each.values())))


def test_swapped_classes_raise_intra_class_fid_but_not_fid() -> None:
    x, labels = classes(3)
    swapped = np.array([1, 0, 2])[labels]
    assert fid(x, x) == pytest.approx(0, abs=1e-9)
    mean, each = intra_class_fid(x, x, labels, swapped)
    assert each[2] == pytest.approx(0, abs=1e-9)
    assert each[0] == pytest.approx(81, rel=0.1)  # the squared distance of the two centers
    assert mean == pytest.approx(54, rel=0.1)


def test_leave_one_out_equals_recomputation() -> None:
    (real, a), (fake, b) = classes(4), classes(5, (30, 45, 70))
    sets = split_groups(real, 5, 0), split_groups(fake, 5, 1), split_groups(a, 5, 0), split_groups(b, 5, 1)
    (mean, means), each = intra_class_fid_leave_one_out(*sets)
    whole, anew = leave_one_out(lambda *x: intra_class_fid(*x)[0], *sets)
    assert mean == pytest.approx(whole, abs=1e-10)
    assert means == pytest.approx(anew, abs=1e-10)
    assert mean == pytest.approx(intra_class_fid(real, fake, a, b)[0], abs=1e-10)
    assert means[2] == pytest.approx(np.mean([without[2] for _, without in each.values()]))


def test_too_few_images_of_a_class_are_reported_with_class_and_count() -> None:
    (real, a), (fake, b) = classes(6), classes(7, (60, 40, 19))
    with pytest.raises(ValueError, match=r"at least 20 images .*: class 2 has 19 fake images\. Give more"):
        intra_class_fid(real, fake, a, b)
    with pytest.raises(ValueError, match="class 2 has 0 fake images"):
        intra_class_fid(real, fake[b < 2], a, b[b < 2])
    with pytest.raises(ValueError, match="class 7 has 0 real images"):
        intra_class_fid(real, fake[b < 2], a, np.where(b[b < 2] == 1, 7, 0))
    with pytest.raises(ValueError, match="and 4 more"):
        intra_class_fid(real, fake, a, b + 100)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(9, int), "one integer label for each of 150 real images, got .9,. int64"),
        (np.zeros(150), "got .150,. float64"),
        (np.zeros((150, 1), int), "got .150, 1. int64"),
    ],
)
def test_invalid_labels_raise_value_error(labels: np.ndarray, words: str) -> None:
    x, good = classes(8)
    with pytest.raises(ValueError, match=words):
        intra_class_fid(x, x, labels, good)


def test_unequal_groups_raise_value_error() -> None:
    x, labels = classes(9)
    with pytest.raises(ValueError, match="got 1 real, 1 fake, 2 and 1 of labels"):
        intra_class_fid_leave_one_out([x], [x], [labels, labels], [labels])
