"""Energy distance between two samples, from their distance matrices."""

from __future__ import annotations

import numpy as np


def mean_pairwise_distance(distances: np.ndarray) -> float:
    """The mean distance between two different points of a set. distances: (N, N), each to each."""
    return float(distances.sum()) / (len(distances) * (len(distances) - 1))


def energy_distance(between: np.ndarray, within_x: np.ndarray, within_y: np.ndarray) -> float:
    """Estimate 2 E|X - Y| - E|X - X'| - E|Y - Y'| without bias.

    It is 0 only for equal distributions; unlike the distance to the nearest neighbor it is not small for
    points near the mean of the other set.

    Args:
        between: (N, M) Euclidean distances from each x to each y.
        within_x: (N, N) distances among x.
        within_y: (M, M) distances among y.

    Returns:
        In the unit of the distances; slightly below 0 by chance where the distributions are equal.

    References:
        Szekely and Rizzo 2013, "Energy statistics: A class of statistics based on distances", eq. 4.
    """
    return 2 * float(between.mean()) - mean_pairwise_distance(within_x) - mean_pairwise_distance(within_y)
