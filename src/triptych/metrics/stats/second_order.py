"""What is left of KID's error where model and data agree or nearly so: its second-order part.

KID is a U-statistic of degree two. Of equal distributions its first-order (Hajek) terms vanish, and what
remains is a weighted sum of centered chi-squares (Gretton et al. 2012, theorem 12): bounded below, with a
long tail above. The jackknife's variance then rises and falls with the value itself, so the intervals of
low values are too narrow, most of all where few of the weights count, as in features of a falling
spectrum. The weights' largest and the sum of their squares, though, can be estimated steadily from
centered kernel matrices.

References:
    Gretton, Borgwardt, Rasch, Scholkopf, Smola (2012): A kernel two-sample test.
    Szekely, Rizzo (2014): Partial distance correlation, section 3 (unbiased squared norms).
"""

from __future__ import annotations

import numpy as np

MAX_IMAGES = 1000  # images of each set: a variance to a few per cent, in a tenth of a second
ITERATIONS = 30


def second_order_parts(
    real: np.ndarray, fake: np.ndarray, degree: int, coef: float
) -> tuple[float, float, float]:
    """Variance of the second-order part of KID, from images in an order without meaning.

    Args:
        real: Features (N, D) float64, N >= 4, shuffled: the first 1,000 are used.
        fake: Features (M, D) float64, M >= 4, likewise.
        degree: The kernel's, in (x.y / D + coef)^degree.
        coef: The kernel's.

    Returns:
        The variance of the terms of two real images, which all scores against the same real images share;
        the variance of the terms that hold a fake image; and the largest weight, which is the variance of
        the difference of both mean embeddings in the direction where it varies most.
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
    return shared, rest, _largest(whole * scale[:, None] * scale)


def _centered(k: np.ndarray) -> np.ndarray:
    """A kernel matrix without the means of its rows and columns."""
    return np.asarray(k - k.mean(0) - k.mean(1)[:, None] + k.mean())


def _squared_norm(k: np.ndarray) -> float:
    """Unbiased mean square of the centered kernel over pairs of unlike images (Szekely & Rizzo)."""
    n = len(k)
    k = k - k.mean()  # the digits of a large constant would be lost in the squares
    np.fill_diagonal(k, 0.0)
    sums = k.sum(1)
    squares = (k**2).sum() - 2 / (n - 2) * (sums**2).sum() + sums.sum() ** 2 / ((n - 1) * (n - 2))
    return max(float(squares) / (n * (n - 3)), 0.0)


def _largest(k: np.ndarray) -> float:
    """The largest eigenvalue of a positive semidefinite matrix, by iteration: a trifle too small at most."""
    vector = np.random.default_rng(0).standard_normal(len(k))
    value = 0.0
    for _ in range(ITERATIONS):
        vector = k @ vector
        length = float(np.linalg.norm(vector))
        if length == 0:
            return 0.0
        value, vector = length, vector / length
    return value
