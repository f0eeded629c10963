"""The inception score: of class probabilities, without a reference."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

VERSION = 1


def inception_score(probabilities: np.ndarray, splits: int = 10) -> float:
    """exp of the mean KL of p(class | picture) from p(class) (Salimans et al. 2016, section 4).

    The mean over `splits` blocks of consecutive pictures, cut at floor(i N / splits). Between 1 and
    the number of classes, higher is better. One fine picture per class scores as high as a fine model.

    probabilities: (N, C), rows in [0, 1] that sum to 1; N >= splits. Returns a float. Raises
    ValueError on anything else.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 1:
        raise ValueError(f"expected (N, C) probabilities, got {p.shape}")
    if splits < 1 or len(p) < splits:
        raise ValueError(f"{splits} splits need at least as many pictures, got {len(p)}: give more pictures")
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(1) - 1).max() > 1e-4:
        raise ValueError("each row must be probabilities: no NaN, none below 0, summing to 1 (not logits)")
    bounds = [i * len(p) // splits for i in range(splits + 1)]
    return float(np.mean([_score(p[a:b]) for a, b in pairwise(bounds)]))


def _score(p: np.ndarray) -> float:
    marginal = p.mean(0, keepdims=True)  # (1, C)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - np.log(marginal)), 0.0)  # 0 log 0 = 0
    return float(np.exp(terms.sum(1).mean()))
