"""Association of two categorical variables."""

from __future__ import annotations

import numpy as np


def cramers_v_squared(labels: np.ndarray, predictions: np.ndarray, classes: int) -> float:
    """Estimate Cramer's V squared with the bias correction of Bergsma.

    The estimate is not cut off at 0, so that a mean over several sets stays unbiased. Association asks for no
    agreement: two labelings that are permutations of each other are fully associated.

    Args:
        labels: (N,) int, from 0.
        predictions: (N,) int, from 0.
        classes: The number of classes of each.

    Returns:
        About 0 to 1; 0 where one of the two is constant.

    References:
        Bergsma 2013, "A bias-correction for Cramer's V and Tschuprow's T", section 3.
    """
    n = len(labels)
    table = np.zeros((classes, classes))
    np.add.at(table, (labels, predictions), 1)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    r, k = table.shape
    if min(r, k) < 2:
        return 0.0
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / n
    phi = float(((table - expected) ** 2 / expected).sum()) / n - (r - 1) * (k - 1) / (n - 1)
    fair = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return phi / fair if fair > 0 else 0.0
