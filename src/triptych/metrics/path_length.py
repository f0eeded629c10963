"""Perceptual path length: how fast images change along a path through latent space."""

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
    """Mean squared change of features per squared step along a path in latent space.

    E[|f(G(path(t))) - f(G(path(t + epsilon)))|^2 / epsilon^2], the mean over the pairs between two
    percentiles (inclusive), because a few paths that cross a discontinuity outweigh all others. Eq. 2 uses
    spherical interpolation between two noise vectors, eq. 3 linear interpolation between two mapped latents;
    "endpoints" means t = 0. The features take the place of LPIPS, so values compare only with the same
    features and epsilon.

    The features must come from images that were never rounded to 8 bits. At epsilon = 1e-4 an image changes
    by far less than 1/255: rounding then hides most changes and inflates others to a whole level, and what is
    measured is the rounding (one published case: 1147 instead of 31). If only uint8 images are available,
    choose an epsilon at which most pixels change by several levels. Float32 features leave about
    1e-7 |f| / epsilon of noise in each difference.

    Args:
        start: features (N, D) at t.
        end: features (N, D) at t + epsilon, row i of the same path as row i of `start`.
        epsilon: the step in t, > 0.
        percentiles: lowest and highest percentile of path lengths that count, ascending in [0, 100].

    Returns:
        The path length, >= 0; lower is smoother.

    Raises:
        ValueError: if features contain NaN or infinity or differ in shape, there are none, or an option is
            out of range.

    References:
        Karras et al. 2019, "A Style-Based Generator Architecture for GANs", eq. 2 and 3.
    """
    if not 0 <= percentiles[0] < percentiles[1] <= 100:
        raise ValueError(f"percentiles must be two ascending values in [0, 100], got {percentiles}")
    lengths = path_lengths(start, end, epsilon)
    low = np.percentile(lengths, percentiles[0], method="lower")
    high = np.percentile(lengths, percentiles[1], method="higher")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())


def path_lengths(start: np.ndarray, end: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Squared change of features per squared step, for each pair; see `perceptual_path_length`.

    Args:
        start: features (N, D) at t.
        end: features (N, D) at t + epsilon.
        epsilon: the step in t, > 0.

    Returns:
        (N,) path lengths.

    Raises:
        ValueError: if features contain NaN or infinity or differ in shape, or epsilon is not positive.
    """
    if not (np.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon must be above 0, got {epsilon}")
    start, end = checked_pair(start, end, 1, "path length")
    if len(start) != len(end):
        raise ValueError(f"the path length needs as many starts as ends, got {len(start)} and {len(end)}")
    return ((end - start) ** 2).sum(1) / epsilon**2
