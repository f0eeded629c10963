"""What every metric asks of the features it is given."""

from __future__ import annotations

import numpy as np


def checked_pair(
    real: np.ndarray, fake: np.ndarray, least: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Real and fake features as float64, or a sentence on what is wrong with them.

    real: (N, D), fake: (M, D), any real dtype. least: how many pictures `metric` needs in each set.
    Raises ValueError on other shapes, unlike widths, NaN or infinite values, too few pictures.
    """
    checked = [checked_features(x, name) for x, name in ((real, "real"), (fake, "fake"))]
    if checked[0].shape[1] != checked[1].shape[1]:
        raise ValueError(
            f"real features are {checked[0].shape[1]} wide, fake ones {checked[1].shape[1]}: "
            "both must come from the same extractor"
        )
    for features, name in zip(checked, ("real", "fake"), strict=True):
        if len(features) < least:
            raise ValueError(
                f"{metric} needs at least {least} {name} pictures, got {len(features)}: give more pictures"
            )
    return checked[0], checked[1]


def checked_features(features: np.ndarray, name: str) -> np.ndarray:
    """Features as (N, D) float64. Raises ValueError on another shape and on NaN or infinite values."""
    values = np.asarray(features)
    if values.ndim != 2 or values.shape[1] == 0 or values.dtype.kind not in "fiu":
        raise ValueError(f"expected (N, D) {name} features, got {values.shape} {values.dtype}")
    values = values.astype(np.float64)
    bad = ~np.isfinite(values).all(1)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(values)} {name} pictures have NaN or infinite features, "
            f"the first is number {int(bad.argmax())}: look at those pictures"
        )
    return values
