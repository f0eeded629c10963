"""Checks that every metric applies to its features: shape, width, finite values, sample count."""

from __future__ import annotations

import numpy as np

ROWS = 1024  # rows checked at a time, so that memory does not grow with the number of images


def checked_pair(
    real: np.ndarray, fake: np.ndarray, least: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Validate real and generated features and convert them to float64.

    Raises ValueError if a shape or the widths do not fit, values are NaN or infinite, or images are too
    few.

    Args:
        real: (N, D), any real dtype.
        fake: (M, D), any real dtype.
        least: number of images that the metric needs in each set.
        metric: name of the metric, for error messages.

    Returns:
        Both sets as float64, (N, D) and (M, D).
    """
    checked = checked_sets({"real": real, "fake": fake}, least, metric)
    return checked["real"].astype(np.float64), checked["fake"].astype(np.float64)


def checked_sets(sets: dict[str, np.ndarray], least: int, metric: str) -> dict[str, np.ndarray]:
    """Validate named sets of features without copying or converting them.

    Args:
        sets: {name: (N, D) of any real dtype}.
        least: number of images that the metric needs in each set.
        metric: name of the metric, for error messages.

    Returns:
        The same sets as arrays.

    Raises:
        ValueError: if a shape or the widths do not fit, values are NaN or infinite, or images are too few.
    """
    sets = {name: _checked(x, name) for name, x in sets.items()}
    (first, reference), *others = sets.items()
    for name, features in others:
        if features.shape[1] != reference.shape[1]:
            raise ValueError(
                f"{first} features are {reference.shape[1]} wide and {name} features are "
                f"{features.shape[1]} wide: both must come from the same extractor"
            )
    for name, features in sets.items():
        if len(features) < least:
            raise ValueError(
                f"{metric} needs at least {least} {name} images, got {len(features)}: give more images"
            )
    return sets


def checked_features(features: np.ndarray, name: str) -> np.ndarray:
    """Validate one set of features and convert it to float64.

    Raises ValueError if the shape is another or values are NaN or infinite.

    Args:
        features: (N, D), any real dtype.
        name: what the set is called in error messages.

    Returns:
        (N, D) float64.
    """
    return _checked(features, name).astype(np.float64)


def _checked(features: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(features)
    if values.ndim != 2 or values.shape[1] == 0 or values.dtype.kind not in "fiu":
        raise ValueError(f"expected {name} features of shape (N, D), got {values.shape} {values.dtype}")
    bad = np.zeros(len(values), bool)
    for start in range(0, len(values), ROWS):
        rows = slice(start, start + ROWS)
        bad[rows] = ~np.isfinite(values[rows].astype(np.float64)).all(1)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(values)} {name} images have NaN or infinite features, "
            f"the first is number {int(bad.argmax())}: look at those images"
        )
    return values
