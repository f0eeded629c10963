"""Frechet distance between two sets of features, each modeled as a Gaussian (FID)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate

import numpy as np

from triptych.metrics.metric import Metric
from triptych.metrics.stats.intervals import MIN_IMAGES, Estimate, interval, jackknife_with_pairs
from triptych.metrics.validation import checked_pair

VERSION = 1


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter matrix of a set of features: sufficient for FID, and additive.

    The scatter is centered on the set's own mean. The raw second moment minus the outer product of the
    mean would lose digits where the mean is large relative to the standard deviation.
    """

    count: int
    mean: np.ndarray  # (D,)
    scatter: np.ndarray  # (D, D): sum of (x - mean)(x - mean)^T

    @classmethod
    def from_features(cls, features: np.ndarray) -> Moments:
        """Moments of features, (N, D) float64, N >= 1."""
        mean = features.mean(0)
        centered = features - mean
        return cls(len(features), mean, centered.T @ centered)

    def __add__(self, other: Moments) -> Moments:
        """Moments of the union of both sets (Chan, Golub & LeVeque 1983, eq. 2.1)."""
        count = self.count + other.count
        gap = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(gap, gap) * (self.count * other.count / count)
        return Moments(count, self.mean + gap * (other.count / count), scatter)

    def covariance(self) -> np.ndarray:
        """Covariance matrix, (D, D), divided by N - 1."""
        return self.scatter / (self.count - 1)


def fid(real: np.ndarray, fake: np.ndarray) -> float:
    """Frechet distance between two sets of features; lower is better.

    |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^1/2), with covariances divided by N - 1. FID is biased
    upwards at small N: two samples of one distribution score about d(d+1)/(2N) + 2d/N, not 0.

    Raises ValueError if features contain NaN or infinity, differ in width or are too few.

    Args:
        real: features (N, D) of real images, N >= 2.
        fake: features (M, D) of generated images, M >= 2.

    Returns:
        FID >= 0, in squared units of the features.

    References:
        Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule", eq. 6.
    """
    real, fake = checked_pair(real, fake, 2, "FID")
    return frechet_distance(Moments.from_features(real), Moments.from_features(fake))


def frechet_distance(real: Moments, fake: Moments) -> float:
    """Squared Frechet distance between the Gaussians with these moments.

    tr((S1 S2)^1/2) is the sum of the square roots of the eigenvalues of F^T S2 F for any F with
    F F^T = S1, because S1 S2 has the same nonzero eigenvalues. The eigenproblem is symmetric, so no
    value becomes complex and no matrix square root is needed.

    Args:
        real: moments of the real features, of at least 2 images.
        fake: moments of the generated features, of at least 2 images.

    Returns:
        The squared distance, >= 0.

    References:
        Dowson & Landau 1982, "The Frechet distance between multivariate normal distributions".
    """
    s1, s2 = real.covariance(), fake.covariance()
    factor = _factor(s1)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(factor.T @ s2 @ factor), 0.0)).sum()
    gap = real.mean - fake.mean
    return max(float(gap @ gap + np.trace(s1) + np.trace(s2) - 2 * cross), 0.0)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F with F F^T = covariance, (D, D)."""
    try:
        return np.linalg.cholesky(covariance)  # takes a twentieth of the time of an eigendecomposition
    except np.linalg.LinAlgError:  # singular: fewer images than features, or constant features
        values, vectors = np.linalg.eigh(covariance)
        return vectors * np.sqrt(np.maximum(values, 0.0))


def fid_leave_groups_out(
    real: Sequence[np.ndarray], fake: Sequence[np.ndarray], left_out: Sequence[tuple[int, ...]]
) -> list[float]:
    """FID with some groups of both sets left out, for each entry of `left_out`.

    Moments are merged by additions, so features are read once.

    Args:
        real: G groups of features, (n_g, D) float64 each.
        fake: G groups of features, (m_g, D) float64 each.
        left_out: the numbers of the groups to leave out; () leaves nothing out.

    Returns:
        One FID for each entry of `left_out`.
    """
    sides = [[Moments.from_features(x) for x in groups] for groups in (real, fake)]

    def rest(parts: list[Moments], gone: tuple[int, ...]) -> Moments:
        return reduce(Moments.__add__, [part for g, part in enumerate(parts) if g not in gone])

    return [frechet_distance(rest(sides[0], gone), rest(sides[1], gone)) for gone in left_out]


def leave_one_out_sums(parts: Sequence[Moments]) -> list[Moments]:
    """Sum of all moments except the g-th, for each g, by additions alone: a difference would lose digits.

    Raises ValueError for fewer than 2 groups.
    """
    if len(parts) < 2:
        raise ValueError(f"leave-one-out needs at least 2 groups, got {len(parts)}")
    before = list(accumulate(parts))  # before[g]: 0..g
    after = list(accumulate(parts[::-1]))[::-1]  # after[g]: g..G-1
    inner = [before[g - 1] + after[g + 1] for g in range(1, len(parts) - 1)]
    return [after[1], *inner, before[-2]]


def moments_leave_one_out(
    features: np.ndarray, groups: np.ndarray, count: int
) -> tuple[Moments, list[Moments]]:
    """Moments of all features, and with group g left out, for each g in 0..count - 1.

    Args:
        features: (N, D) float64.
        groups: (N,) int, the group of each row. A group without rows leaves nothing out.
        count: number of groups.

    Returns:
        The moments of all rows, and a list of `count` moments.

    Raises:
        ValueError: if fewer than 2 images are left without one group: they have no covariance.
    """
    present = np.unique(groups).tolist()
    parts = [Moments.from_features(features[groups == g]) for g in present]
    whole = reduce(Moments.__add__, parts)
    sums = dict(zip(present, leave_one_out_sums(parts), strict=True)) if len(parts) > 1 else {}
    left = [sums.get(g, whole) for g in range(count)]
    if len(parts) < 2 <= count or min(m.count for m in [whole, *left]) < 2:
        raise ValueError(
            f"of {len(features)} images in {len(parts)} groups fewer than 2 are left when one group is left "
            "out: give more images or fewer groups"
        )
    return whole, left


def fid_estimate(real: np.ndarray, fake: np.ndarray) -> Estimate:
    """FID with a 95% interval for its expectation at these numbers of images.

    Raises ValueError for NaN, unlike widths and too few images.

    Args:
        real: features (N, D), N >= 20.
        fake: features (M, D), M >= 20.

    Returns:
        The value with its interval, which does not cover the bias at few images: the floor shows that.
    """
    real, fake = checked_pair(real, fake, MIN_IMAGES, "a score with an interval")
    return interval(*jackknife_with_pairs(fid_leave_groups_out, real, fake), lowest=0.0)


METRIC = Metric(
    "FID",
    "lower",
    VERSION,
    value=lambda x: fid(x.real.features, x.fake.features),
    estimate_with=lambda x: fid_estimate(x.real.features, x.fake.features),
    parameters={"ddof": 1},
)
