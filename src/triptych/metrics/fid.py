"""The Frechet distance between two sets of features, both taken as Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate

import numpy as np

from triptych.metrics.validation import checked_pair

VERSION = 1


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of a set of features: enough for the Frechet distance, and addable.

    The scatter is summed about the set's own mean: a raw second moment less the outer product of
    the mean loses its digits where the mean is large beside the spread.
    """

    count: int
    mean: np.ndarray  # (D,)
    scatter: np.ndarray  # (D, D): sum of (x - mean)(x - mean)^T

    @classmethod
    def from_features(cls, features: np.ndarray) -> Moments:
        """Moments of features, (N, D) float64, N >= 1."""
        mean = features.mean(0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def __add__(self, other: Moments) -> Moments:
        """Moments of both sets together (Chan, Golub & LeVeque 1983, eq. 2.1)."""
        count = self.count + other.count
        gap = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(gap, gap) * (self.count * other.count / count)
        return Moments(count, self.mean + gap * (other.count / count), scatter)

    def covariance(self) -> np.ndarray:
        """(D, D), divided by N - 1."""
        return self.scatter / (self.count - 1)


def fid(real: np.ndarray, fake: np.ndarray) -> float:
    """Frechet distance of two sets of features (Heusel et al. 2017, eq. 6). Lower is better.

    |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^1/2), covariances over N - 1. It is biased upwards
    at small N: two sets from one distribution score about d(d+1)/(2N) + 2d/N, not 0.

    real: (N, D), fake: (M, D), at least 2 pictures each. Returns a float >= 0, in squared units of
    the features. Raises ValueError on NaN, unlike widths and too few pictures.
    """
    real, fake = checked_pair(real, fake, 2, "FID")
    return frechet_distance(Moments.from_features(real), Moments.from_features(fake))


def frechet_distance(real: Moments, fake: Moments) -> float:
    """The Frechet distance from moments.

    tr((S1 S2)^1/2) is the sum of the square roots of the eigenvalues of F^T S2 F for any F with
    F F^T = S1, since S1 S2 has the same: a symmetric eigenproblem, so nothing turns complex and no
    root of a matrix is needed.
    """
    s1, s2 = real.covariance(), fake.covariance()
    factor = _factor(s1)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(factor.T @ s2 @ factor), 0.0)).sum()
    gap = real.mean - fake.mean
    return max(float(gap @ gap + np.trace(s1) + np.trace(s2) - 2 * cross), 0.0)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F with F F^T = covariance, (D, D)."""
    try:
        return np.linalg.cholesky(covariance)  # a twentieth of the time of what serves all
    except np.linalg.LinAlgError:  # singular: fewer pictures than features, or constant ones
        values, vectors = np.linalg.eigh(covariance)
        return vectors * np.sqrt(np.maximum(values, 0.0))


def fid_leave_groups_out(
    real: Sequence[np.ndarray], fake: Sequence[np.ndarray], left_out: Sequence[tuple[int, ...]]
) -> list[float]:
    """FID without the groups of each entry of `left_out`, of both sets; () leaves nothing out.

    real, fake: G groups each, (n_g, D) float64. Moments are merged by additions, features are read once.
    """
    sides = [[Moments.from_features(x) for x in groups] for groups in (real, fake)]

    def rest(parts: list[Moments], gone: tuple[int, ...]) -> Moments:
        return reduce(Moments.__add__, [part for g, part in enumerate(parts) if g not in gone])

    return [frechet_distance(rest(sides[0], gone), rest(sides[1], gone)) for gone in left_out]


def leave_one_out_sums(parts: Sequence[Moments]) -> list[Moments]:
    """The sum of all parts but the g-th, for each g, by additions alone: a difference loses digits."""
    if len(parts) < 2:
        raise ValueError(f"leaving one out needs at least 2 groups, got {len(parts)}")
    before = list(accumulate(parts))  # before[g]: 0..g
    after = list(accumulate(parts[::-1]))[::-1]  # after[g]: g..G-1
    inner = [before[g - 1] + after[g + 1] for g in range(1, len(parts) - 1)]
    return [after[1], *inner, before[-2]]


def moments_leave_one_out(
    features: np.ndarray, groups: np.ndarray, count: int
) -> tuple[Moments, list[Moments]]:
    """Moments of all features, and without those of group g, for each g in 0..count - 1.

    features: (N, D) float64; groups: (N,) int, the group of each. A group that has no picture here
    leaves nothing out. Raises ValueError where fewer than 2 pictures are left: they have no covariance.
    """
    present = np.unique(groups).tolist()
    parts = [Moments.from_features(features[groups == g]) for g in present]
    whole = reduce(Moments.__add__, parts)
    left = dict(zip(present, leave_one_out_sums(parts), strict=True)) if len(parts) > 1 else {}
    made = [left.get(g, whole) for g in range(count)]
    if len(parts) < 2 <= count or min(m.count for m in [whole, *made]) < 2:
        raise ValueError(
            f"of {len(features)} pictures in {len(parts)} groups fewer than 2 are left without one group: "
            "give more pictures or fewer groups"
        )
    return whole, made
