"""Perceptual path length: how fast pictures change along a path through the noise."""

from __future__ import annotations

import numpy as np

from triptych.metrics.validation import checked_pair

VERSION = 1
EPSILON = 1e-4
PERCENTILES = (1.0, 99.0)


def perceptual_path_length(
    start: np.ndarray,
    end: np.ndarray,
    epsilon: float = EPSILON,
    percentiles: tuple[float, float] = PERCENTILES,
) -> float:
    """Mean squared change of features per squared step along a path (Karras et al. 2019, eq. 2 and 3).

    E[|f(G(path(t))) - f(G(path(t + epsilon)))|^2 / epsilon^2], the mean over the pairs between the two
    percentiles of `keep` (both rims counted), because a few paths that cross a cliff outweigh all
    others. Eq. 2 goes on the great arc between two noises, eq. 3 on the straight line between two mapped
    latents; "endpoints" means t = 0. Features play the part of LPIPS, so values compare only
    where features and epsilon are the same.

    The features must come from pictures that were never rounded to grey levels. At epsilon = 1e-4 a
    picture changes by far less than 1/255: rounding then hides most changes and blows the others up
    to a whole grey level, and what is measured is the rounding (one published case: 1147 in place of
    31). Where only uint8 pictures can be had, take epsilon so large that most pixels change by
    several levels. Float32 features leave about 1e-7 |f| / epsilon of noise in each difference.

    start, end: (N, D), row i of both from one pair. epsilon: the step in t, > 0. keep: percentiles.
    Returns a float >= 0, lower is smoother. Raises ValueError on NaN, unlike shapes, no pairs, an
    epsilon that is not positive, percentiles out of order.
    """
    if not 0 <= percentiles[0] < percentiles[1] <= 100:
        raise ValueError(f"keep must be two ascending percentiles in [0, 100], got {percentiles}")
    lengths = path_lengths(start, end, epsilon)
    low = np.percentile(lengths, percentiles[0], method="lower")
    high = np.percentile(lengths, percentiles[1], method="higher")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())


def path_lengths(start: np.ndarray, end: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """(N,) squared change of features per squared step, of each pair; see `perceptual_path_length`."""
    if not (np.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon must be above 0, got {epsilon}")
    start, end = checked_pair(start, end, 1, "path length")
    if len(start) != len(end):
        raise ValueError(f"pairs need as many starts as ends, got {len(start)} and {len(end)}")
    return ((end - start) ** 2).sum(1) / epsilon**2
