"""The kernel distance between two sets of features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from triptych.metrics.pair import checked_pair

VERSION = 1
DEGREE, COEF = 3, 1.0  # Binkowski et al. 2018, eq. 4
TILE = 2048  # rows and columns of one block of the kernel matrix: 32 MB


def kid(real: np.ndarray, fake: np.ndarray) -> float:
    """Squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018, eq. 4). Lower is better.

    k(x, y) = (x.y / d + 1)^3; the unbiased estimator over the full sets, so its expectation does
    not depend on N, is 0 for equal distributions, and single values may be negative.

    real: (N, D), fake: (M, D), at least 2 pictures each. Returns a float. Raises ValueError on NaN,
    unlike widths and too few pictures.
    """
    real, fake = checked_pair(real, fake, 2, "KID")
    sums = KernelSums([real], [fake])
    return sums.discrepancy(np.ones(1, bool))


class KernelSums:
    """Sums of the kernel over every pair of groups: KID of any choice of groups without new kernels."""

    def __init__(self, real: Sequence[np.ndarray], fake: Sequence[np.ndarray]) -> None:
        self.n_real, self.n_fake = (np.array([len(x) for x in groups]) for groups in (real, fake))
        self.real, self.fake = _within(real), _within(fake)  # (G, G), pairs of a picture with itself left out
        self.cross = np.array([[_sum(a, b) for b in fake] for a in real])  # (G, G)

    def discrepancy(self, kept: np.ndarray) -> float:
        """KID of the groups where `kept`, (G,) bool, is true."""
        both = np.ix_(kept, kept)
        n, m = int(self.n_real[kept].sum()), int(self.n_fake[kept].sum())
        within = self.real[both].sum() / (n * (n - 1)) + self.fake[both].sum() / (m * (m - 1))
        return float(within - 2 * self.cross[both].sum() / (n * m))


def kid_without_each(real: Sequence[np.ndarray], fake: Sequence[np.ndarray]) -> tuple[float, list[float]]:
    """KID of all groups together, and with the g-th real and g-th fake group left out, for each g.

    real, fake: G >= 2 groups each, (n_g, D) float64. Every kernel value is computed once.
    """
    sums, every = KernelSums(real, fake), np.arange(len(real))
    return sums.discrepancy(every >= 0), [sums.discrepancy(every != g) for g in every]


def kid_left_out(
    real: Sequence[np.ndarray], fake: Sequence[np.ndarray], left_out: Sequence[tuple[int, ...]]
) -> list[float]:
    """KID without the groups of each entry of `left_out`, of both sets; () leaves nothing out.

    real, fake: G groups each, (n_g, D) float64. Every kernel value is computed once.
    """
    sums, every = KernelSums(real, fake), np.arange(len(real))
    return [sums.discrepancy(~np.isin(every, gone)) for gone in left_out]


def _within(groups: Sequence[np.ndarray]) -> np.ndarray:
    sums = np.zeros((len(groups), len(groups)))
    for g, a in enumerate(groups):
        own = ((a * a).sum(1) / a.shape[1] + COEF) ** DEGREE  # (n_g,): each picture with itself
        sums[g, g] = _sum(a, a) - own.sum()
        for h in range(g):
            sums[g, h] = sums[h, g] = _sum(a, groups[h])
    return sums


def _sum(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for rows in _tiles(len(a)):
        for columns in _tiles(len(b)):
            block = a[rows] @ b[columns].T  # (rows, columns)
            block /= a.shape[1]
            block += COEF
            total += float((block * block * block).sum())  # DEGREE; ** is ten times slower
    return total


def _tiles(count: int) -> Iterator[slice]:
    return (slice(start, min(start + TILE, count)) for start in range(0, count, TILE))
