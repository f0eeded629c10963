"""Second-order part of KID's sampling error, which dominates where model and data nearly agree.

KID is a U-statistic of degree two. For equal distributions its first-order (Hajek) terms vanish, and what
remains is a weighted sum of centered chi-squares: bounded below, with a long upper tail. The jackknife
variance is then correlated with the value, so intervals of low values are too narrow, most of all where
few weights dominate, as in features with a decaying spectrum. The largest weight and the sum of the squared
weights, however, can be estimated reliably from centered kernel matrices.

References:
    Gretton et al. 2012, "A kernel two-sample test", theorem 12.
    Szekely & Rizzo 2014, "Partial distance correlation with methods for dissimilarities", section 3.
"""

from __future__ import annotations

import numpy as np

MAX_IMAGES = 1000  # of each set: enough for a variance to a few percent, in a tenth of a second
ITERATIONS = 30


def second_order_parts(
    real: np.ndarray, fake: np.ndarray, degree: int, coef: float
) -> tuple[float, float, float]:
    """Variance of the second-order part of KID. Rows must be in random order.

    Args:
        real: features (N, D) float64, N >= 4; the first 1,000 rows are used.
        fake: features (M, D) float64, M >= 4; likewise.
        degree: degree of the kernel (x.y / D + coef)^degree.
        coef: constant of the kernel.

    Returns:
        The variance of the terms of two real images, which all scores against the same real images share;
        the variance of the terms with a fake image; and the largest weight, which is the variance of the
        difference of the two mean embeddings along the direction where it varies most.
    """
    n, m = len(real), len(fake)
    x, y = real[:MAX_IMAGES], fake[:MAX_IMAGES]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a @ b.T / a.shape[1] + coef) ** degree)

    within = kernel(x, x), kernel(y, y)
    across = _centered(kernel(x, y))  # (S, T)
    both = float((across**2).sum()) / ((len(x) - 1) * (len(y) - 1))
    shared = 2 * _squared_norm(within[0]) / (n * (n - 1))
    rest = 2 * _squared_norm(within[1]) / (m * (m - 1)) + 4 * both / (n * m)
    scale = np.sqrt(np.concatenate([np.full(len(x), 1 / (n * len(x))), np.full(len(y), 1 / (m * len(y)))]))
    whole = np.block([[_centered(within[0]), across], [across.T, _centered(within[1])]])  # (S + T, S + T)
    return shared, rest, _largest_eigenvalue(whole * scale[:, None] * scale)


def _centered(k: np.ndarray) -> np.ndarray:
    """Doubly centered kernel matrix."""
    return np.asarray(k - k.mean(0) - k.mean(1)[:, None] + k.mean())


def _squared_norm(k: np.ndarray) -> float:
    """Unbiased mean square of the centered kernel over pairs of distinct images (Szekely & Rizzo 2014)."""
    n = len(k)
    k = k - k.mean()  # the digits of a large constant would be lost in the squares
    np.fill_diagonal(k, 0.0)
    sums = k.sum(1)
    squares = (k**2).sum() - 2 / (n - 2) * (sums**2).sum() + sums.sum() ** 2 / ((n - 1) * (n - 2))
    return max(float(squares) / (n * (n - 3)), 0.0)


def _largest_eigenvalue(k: np.ndarray) -> float:
    """Largest eigenvalue of a positive semidefinite matrix by power iteration; slightly low at most."""
    vector = np.random.default_rng(0).standard_normal(len(k))
    value = 0.0
    for _ in range(ITERATIONS):
        vector = k @ vector
        length = float(np.linalg.norm(vector))
        if length == 0:
            return 0.0
        value, vector = length, vector / length
    return value
