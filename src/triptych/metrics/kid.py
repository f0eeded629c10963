"""Kernel Inception distance (KID): squared MMD between two sets of features with a cubic kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from triptych.metrics.metric import Metric
from triptych.metrics.stats.intervals import (
    MIN_IMAGES,
    Estimate,
    groups_for,
    interval,
    jackknife_with_pairs,
)
from triptych.metrics.stats.resampling import split_groups
from triptych.metrics.stats.second_order import second_order_parts
from triptych.metrics.validation import checked_pair

VERSION = 1
DEGREE, COEF = 3, 1.0  # of the kernel (x.y / d + COEF)^DEGREE (Binkowski et al. 2018, eq. 4)
TILE = 1024  # rows and columns of one block of the kernel matrix: 8 MB

DotDtype = Literal["float64", "float32"]


def kid(real: np.ndarray, fake: np.ndarray, dot_dtype: DotDtype = "float64") -> float:
    """Squared maximum mean discrepancy with the kernel (x.y / d + 1)^3; lower is better.

    This is the unbiased estimator over the full sets: its expectation does not depend on N and is 0 for
    equal distributions, so single values may be negative.

    Raises ValueError if features contain NaN or infinity, differ in width or are too few.

    Args:
        real: features (N, D) of real images, N >= 2.
        fake: features (M, D) of generated images, M >= 2.
        dot_dtype: precision of the dot products x.y; everything after them is float64. "float32" takes
            half the time and changes the value by about 1e-10 where the kernel is about 1. Other toolkits
            compute everything in float32.

    Returns:
        KID; 0 in expectation for equal distributions.

    References:
        Binkowski et al. 2018, "Demystifying MMD GANs", eq. 4; Gretton et al. 2012, "A kernel two-sample
        test", lemma 6.
    """
    real, fake = (x.astype(_checked_dtype(dot_dtype), copy=False) for x in checked_pair(real, fake, 2, "KID"))
    sums = KernelSums([real], [fake])
    return sums.mmd(np.ones(1, bool))


def kid_blocks(
    real: np.ndarray,
    fake: np.ndarray,
    size: int = 1000,
    blocks: int = 100,
    seed: int = 0,
    dot_dtype: DotDtype = "float64",
) -> tuple[float, np.ndarray]:
    """KID as it is usually published: the mean over random subsets of both sets.

    The expectation is that of `kid`, but the standard error of the mean is larger, because pairs across
    blocks are never used. Blocks overlap (100 blocks of 1,000 out of 10,000 images use each image about
    ten times), so their values are not independent: their standard deviation estimates that of KID at
    `size` images. Neither it nor it over sqrt(blocks) is a standard error of the mean.

    Args:
        real: features (N, D) of real images.
        fake: features (M, D) of generated images.
        size: images drawn from each set for a block, without replacement; 2 to min(N, M).
        blocks: number of blocks, at least 1.
        seed: seed of the draws.
        dot_dtype: precision of the dot products, as for `kid`.

    Returns:
        The mean, and the value of each block, (blocks,).

    Raises:
        ValueError: if features contain NaN or infinity or differ in width, or the sets are smaller than
            `size`.

    References:
        Binkowski et al. 2018, "Demystifying MMD GANs", section 4.
    """
    if size < 2 or blocks < 1:
        raise ValueError(f"KID in blocks needs size >= 2 and blocks >= 1, got {size} and {blocks}")
    checked = checked_pair(real, fake, size, f"KID in blocks of {size}")
    real, fake = (x.astype(_checked_dtype(dot_dtype), copy=False) for x in checked)
    rng = np.random.default_rng(seed)
    values = np.empty(blocks)
    for b in range(blocks):
        rows, columns = (rng.choice(len(x), size, replace=False) for x in (real, fake))
        values[b] = KernelSums([real[rows]], [fake[columns]]).mmd(np.ones(1, bool))
    return float(values.mean()), values


class KernelSums:
    """Kernel sums over all pairs of groups: KID of any subset of the groups without new kernel values.

    Args:
        real: G groups of features, (n_g, D) each.
        fake: G groups of features, (m_g, D) each.
    """

    def __init__(self, real: Sequence[np.ndarray], fake: Sequence[np.ndarray]) -> None:
        self.n_real, self.n_fake = (np.array([len(x) for x in groups]) for groups in (real, fake))
        self.real, self.fake = _within(real), _within(fake)  # (G, G), without an image paired with itself
        self.cross = np.array([[_sum(a, b) for b in fake] for a in real])  # (G, G)

    def mmd(self, kept: np.ndarray) -> float:
        """KID of the groups where `kept`, (G,) bool, is true."""
        both = np.ix_(kept, kept)
        n, m = int(self.n_real[kept].sum()), int(self.n_fake[kept].sum())
        within = self.real[both].sum() / (n * (n - 1)) + self.fake[both].sum() / (m * (m - 1))
        return float(within - 2 * self.cross[both].sum() / (n * m))


def kid_leave_groups_out(
    real: Sequence[np.ndarray], fake: Sequence[np.ndarray], left_out: Sequence[tuple[int, ...]]
) -> list[float]:
    """KID with some groups of both sets left out, for each entry of `left_out`.

    Every kernel value is computed once.

    Args:
        real: G groups of features, (n_g, D) float64 each.
        fake: G groups of features, (m_g, D) float64 each.
        left_out: the numbers of the groups to leave out; () leaves nothing out.

    Returns:
        One KID for each entry of `left_out`.
    """
    sums, groups = KernelSums(real, fake), np.arange(len(real))
    return [sums.mmd(~np.isin(groups, gone)) for gone in left_out]


def _checked_dtype(dot_dtype: str) -> str:
    if dot_dtype not in ("float64", "float32"):
        raise ValueError(f"dot_dtype must be 'float64' or 'float32', got {dot_dtype!r}")
    return dot_dtype


def _within(groups: Sequence[np.ndarray]) -> np.ndarray:
    """(G, G) kernel sums between the groups of one set, without the diagonal of the kernel matrix."""
    sums = np.zeros((len(groups), len(groups)))
    for g, a in enumerate(groups):
        diagonal = (np.einsum("ij,ij->i", a, a, dtype=np.float64) / a.shape[1] + COEF) ** DEGREE  # (n_g,)
        sums[g, g] = _sum_within(a) - diagonal.sum()
        for h in range(g):
            sums[g, h] = sums[h, g] = _sum(a, groups[h])
    return sums


def _sum_within(a: np.ndarray) -> float:
    """Kernel sum over all pairs of one set; by symmetry only tiles on and below the diagonal are computed."""
    total = 0.0
    for rows in _tiles(len(a)):
        total += _tile_sum(a[rows], a[rows])  # NumPy recognizes a @ a.T and computes half of it
        for columns in _tiles(rows.start):
            total += 2 * _tile_sum(a[rows], a[columns])
    return total


def _sum(a: np.ndarray, b: np.ndarray) -> float:
    return sum(_tile_sum(a[rows], b[columns]) for rows in _tiles(len(a)) for columns in _tiles(len(b)))


def _tile_sum(a: np.ndarray, b: np.ndarray) -> float:
    """Kernel sum over the pairs of two tiles."""
    kernel = (a @ b.T).astype(np.float64, copy=False)  # (rows, columns)
    kernel /= a.shape[1]
    kernel += COEF
    # the cube in one pass without a copy, summed row by row: a single long sum would lose digits
    return float(np.einsum("ij,ij,ij->i", kernel, kernel, kernel).sum())


def _tiles(count: int) -> Iterator[slice]:
    return (slice(start, min(start + TILE, count)) for start in range(0, count, TILE))


def kid_estimate(real: np.ndarray, fake: np.ndarray) -> Estimate:
    """KID with a 95% interval for its value at infinitely many images.

    Raises ValueError for NaN, unlike widths and too few images.

    Args:
        real: features (N, D), N >= 20.
        fake: features (M, D), M >= 20.

    Returns:
        The value with its interval.
    """
    real, fake = checked_pair(real, fake, MIN_IMAGES, "a score with an interval")
    value, errors = jackknife_with_pairs(kid_leave_groups_out, real, fake)
    count = groups_for(min(len(real), len(fake)))
    first, second = (
        np.concatenate(split_groups(x, count, seed=seed)) for seed, x in enumerate((real, fake))
    )  # shuffled
    return interval(value, replace(errors, second_order=second_order_parts(first, second, DEGREE, COEF)))


METRIC = Metric(
    "KID",
    "lower",
    VERSION,
    value=lambda x: kid(x.real.features, x.fake.features),
    estimate_with=lambda x: kid_estimate(x.real.features, x.fake.features),
    parameters={"degree": DEGREE, "coef": COEF, "gamma": "1/d", "estimator": "unbiased, full sets"},
    target="population",
)
