"""Intra-class FID: the Frechet distance within each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triptych.metrics.fid import Moments, frechet_distance, moments_leave_one_out
from triptych.metrics.validation import checked_pair

VERSION = 1
MIN_PER_CLASS = 20  # pictures of a class in each set: what an interval asks of a whole set
LeftOut = tuple[float, list[float]]  # a value, and the values without each group


def intra_class_fid(
    real: np.ndarray, fake: np.ndarray, real_labels: np.ndarray, fake_labels: np.ndarray
) -> tuple[float, dict[int, float]]:
    """FID of each class's pictures alone, and the mean over classes (Miyato & Koyama 2018).

    It sees what FID cannot: classes that were swapped, and variety lost within one class. Classes
    weigh the same whatever their size. FID's bias is that of the class's few pictures, about
    d(d+1)/(2n) + 2d/n at n per class: compare only at equal numbers per class.

    real: (N, D), fake: (M, D); real_labels: (N,), fake_labels: (M,) int: what the fakes were asked
    to be, not what a classifier takes them for. Returns (mean, {class: FID}). Raises ValueError on
    NaN, unlike widths, labels that do not match, and a class with fewer than 20 pictures in either set.
    """
    (mean, _), each = intra_class_fid_leave_one_out([real], [fake], [real_labels], [fake_labels])
    return mean, {label: value for label, (value, _) in each.items()}


def intra_class_fid_leave_one_out(
    real: Sequence[np.ndarray],
    fake: Sequence[np.ndarray],
    real_labels: Sequence[np.ndarray],
    fake_labels: Sequence[np.ndarray],
) -> tuple[LeftOut, dict[int, LeftOut]]:
    """Intra-class FID of all groups together, and with the g-th group of both sets left out, for each g.

    real, fake: G groups each, (n_g, D); labels: (n_g,) each, dealt alike (`intervals.deal` with the
    same seed does that). Returns the mean over classes and {class: ...}, each as (value, [value
    without group g]); the lists are empty for G = 1. Costs G + 1 FIDs of each class.
    """
    if not len(real) == len(fake) == len(real_labels) == len(fake_labels) >= 1:
        raise ValueError(
            f"features and labels must be in as many groups, got {len(real)} real, {len(fake)} fake, "
            f"{len(real_labels)} and {len(fake_labels)} of labels"
        )
    all_real, all_fake = checked_pair(np.concatenate(real), np.concatenate(fake), 1, "intra-class FID")
    count = len(real)
    one = _Set(all_real, real, real_labels, "real")
    two = _Set(all_fake, fake, fake_labels, "fake")
    each: dict[int, LeftOut] = {}
    for label in _classes(one.labels, two.labels):
        pairs = zip(one.moments(label, count), two.moments(label, count), strict=True)
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
        fits = [np.shape(x) == (len(y),) for x, y in zip(labels, groups, strict=True)]
        if not all(fits) or self.labels.dtype.kind not in "iu":
            raise ValueError(
                f"expected one integer label for each of {len(features)} {name} pictures, got "
                f"{self.labels.shape} {self.labels.dtype}"
            )

    def moments(self, label: int, count: int) -> list[Moments]:
        """Of one class: whole, then without each group (for one group: whole alone)."""
        rows = self.labels == label
        left = count if count > 1 else 0
        whole, without = moments_leave_one_out(self.features[rows], self.groups[rows], left)
        return [whole, *without]


def _classes(real: np.ndarray, fake: np.ndarray) -> list[int]:
    """Labels that occur, ascending, each with enough pictures in both sets."""
    classes = np.union1d(real, fake).tolist()
    short = [
        f"class {label} has {n} {name} pictures"
        for label in classes
        for name, labels in (("real", real), ("fake", fake))
        if (n := int((labels == label).sum())) < MIN_PER_CLASS
    ]
    if short:
        more = f" (and {len(short) - 3} more such)" if len(short) > 3 else ""
        raise ValueError(
            f"intra-class FID needs at least {MIN_PER_CLASS} pictures of each class in both sets: "
            f"{', '.join(short[:3])}{more}. Give more pictures of it, or leave the class out of both sets"
        )
    return classes
