"""The kernel distance between two sets of features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from triptych.metrics.validation import checked_pair

VERSION = 1
DEGREE, COEF = 3, 1.0  # Binkowski et al. 2018, eq. 4
TILE = 1024  # rows and columns of one block of the kernel matrix: 8 MB

Products = Literal["float64", "float32"]


def kid(real: np.ndarray, fake: np.ndarray, dot_dtype: Products = "float64") -> float:
    """Squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018, eq. 4). Lower is better.

    k(x, y) = (x.y / d + 1)^3; the unbiased estimator over the full sets, so its expectation does
    not depend on N, is 0 for equal distributions, and single values may be negative.

    real: (N, D), fake: (M, D), at least 2 pictures each. products: in which precision x.y is
    computed; all that follows is float64. "float32" takes half the time and moves the value by about
    1e-10 where k is about 1; other toolkits compute all of it in float32. Returns a float. Raises
    ValueError on NaN, unlike widths and too few pictures.
    """
    real, fake = (x.astype(_checked_type(dot_dtype), copy=False) for x in checked_pair(real, fake, 2, "KID"))
    sums = KernelSums([real], [fake])
    return sums.mmd(np.ones(1, bool))


def kid_blocks(
    real: np.ndarray,
    fake: np.ndarray,
    size: int = 1000,
    blocks: int = 100,
    seed: int = 0,
    dot_dtype: Products = "float64",
) -> tuple[float, np.ndarray]:
    """KID as it is usually published: the mean over random blocks of both sets, and each block's value.

    The expectation is that of `kid`, the spread of the mean about it is larger: pairs across blocks
    are never seen. Blocks overlap (100 of 1,000 from 10,000 pictures use each about ten times), so
    their values are not independent: their standard deviation tells how KID spreads at `size`
    pictures, and neither it nor it over sqrt(blocks) is a standard error of the mean.

    real: (N, D), fake: (M, D); size: 2 to min(N, M), pictures drawn without repetition from each set
    for a block; products: as for `kid`. Returns (mean, (blocks,)). Raises ValueError on NaN, unlike
    widths and a size that the sets do not have.
    """
    if size < 2 or blocks < 1:
        raise ValueError(f"KID in blocks needs size >= 2 and blocks >= 1, got {size} and {blocks}")
    checked = checked_pair(real, fake, size, f"KID in blocks of {size}")
    real, fake = (x.astype(_checked_type(dot_dtype), copy=False) for x in checked)
    draw = np.random.default_rng(seed)
    values = np.empty(blocks)
    for b in range(blocks):
        rows, columns = (draw.choice(len(x), size, replace=False) for x in (real, fake))
        values[b] = KernelSums([real[rows]], [fake[columns]]).mmd(np.ones(1, bool))
    return float(values.mean()), values


class KernelSums:
    """Sums of the kernel over every pair of groups: KID of any choice of groups without new kernels."""

    def __init__(self, real: Sequence[np.ndarray], fake: Sequence[np.ndarray]) -> None:
        self.n_real, self.n_fake = (np.array([len(x) for x in groups]) for groups in (real, fake))
        self.real, self.fake = _within(real), _within(fake)  # (G, G), pairs of a picture with itself left out
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
    """KID without the groups of each entry of `left_out`, of both sets; () leaves nothing out.

    real, fake: G groups each, (n_g, D) float64. Every kernel value is computed once.
    """
    sums, every = KernelSums(real, fake), np.arange(len(real))
    return [sums.mmd(~np.isin(every, gone)) for gone in left_out]


def _checked_type(products: str) -> str:
    if products not in ("float64", "float32"):
        raise ValueError(f"products must be 'float64' or 'float32', got {products!r}")
    return products


def _within(groups: Sequence[np.ndarray]) -> np.ndarray:
    sums = np.zeros((len(groups), len(groups)))
    for g, a in enumerate(groups):
        own = (np.einsum("ij,ij->i", a, a, dtype=np.float64) / a.shape[1] + COEF) ** DEGREE  # (n_g,)
        sums[g, g] = _sum_within(a) - own.sum()  # without each picture with itself
        for h in range(g):
            sums[g, h] = sums[h, g] = _sum(a, groups[h])
    return sums


def _sum_within(a: np.ndarray) -> float:
    """The kernel over all pairs of one set: a block above the diagonal serves the one below it too."""
    total = 0.0
    for rows in _tiles(len(a)):
        total += _block(a[rows], a[rows])  # NumPy sees a @ a.T and computes half of it
        for columns in _tiles(rows.start):
            total += 2 * _block(a[rows], a[columns])
    return total


def _sum(a: np.ndarray, b: np.ndarray) -> float:
    return sum(_block(a[rows], b[columns]) for rows in _tiles(len(a)) for columns in _tiles(len(b)))


def _block(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of the kernel over the pairs of two tiles."""
    block = (a @ b.T).astype(np.float64, copy=False)  # (rows, columns)
    block /= a.shape[1]
    block += COEF
    # the cube in one pass and no copy, summed row by row: a long sum loses digits
    return float(np.einsum("ij,ij,ij->i", block, block, block).sum())


def _tiles(count: int) -> Iterator[slice]:
    return (slice(start, min(start + TILE, count)) for start in range(0, count, TILE))
