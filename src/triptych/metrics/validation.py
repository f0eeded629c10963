"""What every metric asks of the features it is given."""

from __future__ import annotations

import numpy as np

ROWS = 1024  # looked at in one go: memory does not grow with the number of pictures


def checked_pair(
    real: np.ndarray, fake: np.ndarray, least: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Real and fake features as float64, or a sentence on what is wrong with them.

    real: (N, D), fake: (M, D), any real dtype. least: how many pictures `metric` needs in each set.
    Raises ValueError on other shapes, unlike widths, NaN or infinite values, too few pictures.
    """
    checked = checked_sets({"real": real, "fake": fake}, least, metric)
    return checked["real"].astype(np.float64), checked["fake"].astype(np.float64)


def checked_sets(sets: dict[str, np.ndarray], least: int, metric: str) -> dict[str, np.ndarray]:
    """Sets of features by name, as they came: a large set is neither copied nor converted.

    sets: {name: (N, D) of any real dtype}. Raises ValueError as `checked_pair` does.
    """
    sets = {name: _checked(x, name) for name, x in sets.items()}
    (first, model), *others = sets.items()
    for name, features in others:
        if features.shape[1] != model.shape[1]:
            raise ValueError(
                f"{first} features are {model.shape[1]} wide, {name} ones {features.shape[1]}: "
                "both must come from the same extractor"
            )
    for name, features in sets.items():
        if len(features) < least:
            raise ValueError(
                f"{metric} needs at least {least} {name} pictures, got {len(features)}: give more pictures"
            )
    return sets


def checked_features(features: np.ndarray, name: str) -> np.ndarray:
    """Features as (N, D) float64. Raises ValueError on another shape and on NaN or infinite values."""
    return _checked(features, name).astype(np.float64)


def _checked(features: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(features)
    if values.ndim != 2 or values.shape[1] == 0 or values.dtype.kind not in "fiu":
        raise ValueError(f"expected (N, D) {name} features, got {values.shape} {values.dtype}")
    bad = np.zeros(len(values), bool)
    for start in range(0, len(values), ROWS):
        rows = slice(start, start + ROWS)
        bad[rows] = ~np.isfinite(values[rows].astype(np.float64)).all(1)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(values)} {name} pictures have NaN or infinite features, "
            f"the first is number {int(bad.argmax())}: look at those pictures"
        )
    return values
