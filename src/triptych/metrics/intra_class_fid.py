"""Intra-class FID: the Frechet distance within each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triptych.metrics.fid import Moments, frechet_distance, moments_leave_one_out
from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.metric import LABELS, LeaveOneOut, Metric
from triptych.metrics.validation import checked_pair

VERSION = 1
MIN_PER_CLASS = 20  # images of a class in each set, as many as an interval needs of a whole set


def intra_class_fid(
    real: np.ndarray, fake: np.ndarray, real_labels: np.ndarray, fake_labels: np.ndarray
) -> tuple[float, dict[int, float]]:
    """FID of the images of each class alone, and its mean over classes.

    It sees what FID does not: confused classes, and loss of diversity within a class. All classes have the
    same weight. FID's bias is that of the few images of a class, about d(d+1)/(2n) + 2d/n at n per class:
    compare only at equal numbers per class.

    Raises ValueError if features contain NaN or infinity or differ in width, labels do not match, or a
    class has fewer than 20 images in a set.

    Args:
        real: features (N, D) of real images.
        fake: features (M, D) of generated images.
        real_labels: (N,) int classes of the real images.
        fake_labels: (M,) int classes that the generated images were conditioned on, not predicted classes.

    Returns:
        (mean, {class: FID}).

    References:
        Miyato & Koyama 2018, "cGANs with Projection Discriminator", section 4.
    """
    (mean, _), each = intra_class_fid_leave_one_out([real], [fake], [real_labels], [fake_labels])
    return mean, {label: value for label, (value, _) in each.items()}


def intra_class_fid_leave_one_out(
    real: Sequence[np.ndarray],
    fake: Sequence[np.ndarray],
    real_labels: Sequence[np.ndarray],
    fake_labels: Sequence[np.ndarray],
) -> tuple[LeaveOneOut, dict[int, LeaveOneOut]]:
    """Intra-class FID of all groups, and with the g-th group of both sets left out, for each g.

    Costs G + 1 FIDs of each class.

    Args:
        real: G groups of features, (n_g, D) each.
        fake: G groups of features, (m_g, D) each.
        real_labels: G groups of int classes, (n_g,) each, split like the features (`split_groups` with the
            same seed).
        fake_labels: G groups of int classes, (m_g,) each, likewise.

    Returns:
        The mean over classes and {class: FID}, each as (value, [value without group g]); the lists are empty
        for G = 1.

    Raises:
        ValueError: as for `intra_class_fid`, or if the numbers of groups differ.
    """
    if not len(real) == len(fake) == len(real_labels) == len(fake_labels) >= 1:
        raise ValueError(
            f"features and labels must have the same number of groups, got {len(real)} real, "
            f"{len(fake)} fake, {len(real_labels)} and {len(fake_labels)} of labels"
        )
    all_real, all_fake = checked_pair(np.concatenate(real), np.concatenate(fake), 1, "intra-class FID")
    count = len(real)
    first = _Set(all_real, real, real_labels, "real")
    second = _Set(all_fake, fake, fake_labels, "fake")
    each: dict[int, LeaveOneOut] = {}
    for label in _classes(first.labels, second.labels):
        pairs = zip(first.moments(label, count), second.moments(label, count), strict=True)
        value, *without = (frechet_distance(r, f) for r, f in pairs)
        each[label] = (value, without)
    values = np.array([[value, *without] for value, without in each.values()])  # (classes, 1 + G)
    mean, *means = values.mean(0).tolist()
    return (mean, means), each


class _Set:
    """Features with their labels and groups."""

    def __init__(
        self, features: np.ndarray, groups: Sequence[np.ndarray], labels: Sequence[np.ndarray], name: str
    ) -> None:
        self.features = features
        self.groups = np.repeat(np.arange(len(groups)), [len(x) for x in groups])
        self.labels = np.concatenate([np.asarray(x) for x in labels])
        matches = [np.shape(x) == (len(y),) for x, y in zip(labels, groups, strict=True)]
        if not all(matches) or self.labels.dtype.kind not in "iu":
            raise ValueError(
                f"expected one integer label for each of {len(features)} {name} images, got "
                f"{self.labels.shape} {self.labels.dtype}"
            )

    def moments(self, label: int, count: int) -> list[Moments]:
        """Moments of one class: of all rows, then without each group (a single group: of all rows only)."""
        rows = self.labels == label
        left = count if count > 1 else 0
        whole, without = moments_leave_one_out(self.features[rows], self.groups[rows], left)
        return [whole, *without]


def _classes(real: np.ndarray, fake: np.ndarray) -> list[int]:
    """Labels that occur, ascending. Raises ValueError where one has too few images."""
    classes = np.union1d(real, fake).tolist()
    short = [
        f"class {label} has {n} {name} images"
        for label in classes
        for name, labels in (("real", real), ("fake", fake))
        if (n := int((labels == label).sum())) < MIN_PER_CLASS
    ]
    if short:
        more = f" (and {len(short) - 3} more)" if len(short) > 3 else ""
        raise ValueError(
            f"intra-class FID needs at least {MIN_PER_CLASS} images of each class in both sets: "
            f"{', '.join(short[:3])}{more}. Give more images of it, or remove the class from both sets"
        )
    return classes


def _leave_one_out(inputs: EvaluationInputs) -> LeaveOneOut:
    real, fake = inputs.real, inputs.fake
    assert real.labels is not None and fake.labels is not None
    mean, _ = intra_class_fid_leave_one_out(
        inputs.real_groups(real.features),
        inputs.fake_groups(fake.features),
        inputs.real_groups(real.labels),
        inputs.fake_groups(fake.labels),
    )
    return mean


METRIC = Metric(
    "intra-class FID",
    "lower",
    VERSION,
    leave_one_out=_leave_one_out,
    parameters={"ddof": 1},
    needs=(LABELS,),
    stage="detailed",
)
