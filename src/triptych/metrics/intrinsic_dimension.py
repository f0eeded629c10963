"""Intrinsic dimension of a point set."""

from __future__ import annotations

import numpy as np


def two_nn(nearest: np.ndarray) -> float:
    """Estimate the intrinsic dimension from the ratio of the two nearest distances of each point.

    This is the maximum-likelihood form N / sum log(r2 / r1).

    Args:
        nearest: (N, 2) distances of each point to its nearest and second nearest neighbor. Points with a
            duplicate (nearest distance 0) are left out.

    Returns:
        The dimension; 0 where no ratio is above 1.

    References:
        Facco, d'Errico, Rodriguez and Laio 2017, "Estimating the intrinsic dimension of datasets by a minimal
        neighborhood information".
    """
    kept = nearest[nearest[:, 0] > 0]
    logs = np.log(kept[:, 1] / kept[:, 0]) if len(kept) else np.zeros(1)
    total = float(logs.sum())
    return len(kept) / total if total > 0 else 0.0
