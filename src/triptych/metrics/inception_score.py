"""The inception score: of class probabilities, without a reference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

VERSION = 1


def inception_score(probabilities: np.ndarray, splits: int = 10, shuffle: int | None = None) -> float:
    """exp of the mean KL of p(class | picture) from p(class) (Salimans et al. 2016, section 4).

    The mean over `splits` blocks of consecutive pictures, cut at floor(i N / splits). Between 1 and
    the number of classes, higher is better. One fine picture per class scores as high as a fine model.

    probabilities: (N, C), rows in [0, 1] that sum to 1; N >= splits. shuffle: None, pictures in their
    order; or the seed of NumPy's legacy permutation before they are cut: torch-fidelity's form is
    shuffle=2020. Returns a float. Raises ValueError on anything else.
    """
    p = _checked(probabilities, splits)
    if shuffle is not None:
        p = p[np.random.RandomState(shuffle).permutation(len(p))]
    return float(np.mean([_score(*_sums(block), len(block)) for block in _cut(p, splits)]))


def inception_score_leave_one_out(
    probabilities: Sequence[np.ndarray], splits: int = 10
) -> tuple[float, list[float]]:
    """Inception score of all groups together, and with the g-th left out, for each g.

    Each split takes its part of every group, so that a group that leaves makes all splits smaller
    alike; the value is therefore that of one order of the pictures, and that of `inception_score`
    for splits=1.

    probabilities: G >= 2 groups, (n_g, C) each, n_g >= splits. Returns (value, [value without group g]).
    """
    if len(probabilities) < 2:
        raise ValueError(f"leaving one out needs at least 2 groups, got {len(probabilities)}")
    groups = [_cut(_checked(x, splits), splits) for x in probabilities]
    counts = np.array([[len(block) for block in blocks] for blocks in groups])  # (G, splits)
    sums = [[_sums(block) for block in blocks] for blocks in groups]
    inner = np.array([[s for s, _ in row] for row in sums])  # (G, splits)
    classes = np.array([[c for _, c in row] for row in sums])  # (G, splits, C)

    def score(kept: np.ndarray) -> float:
        blocks = zip(inner[kept].sum(0), classes[kept].sum(0), counts[kept].sum(0), strict=True)
        return float(np.mean([_score(*block) for block in blocks]))

    every = np.arange(len(groups))
    return score(every >= 0), [score(every != g) for g in every]


def _checked(probabilities: np.ndarray, splits: int) -> np.ndarray:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 1:
        raise ValueError(f"expected (N, C) probabilities, got {p.shape}")
    if splits < 1 or len(p) < splits:
        raise ValueError(f"{splits} splits need at least as many pictures, got {len(p)}: give more pictures")
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(1) - 1).max() > 1e-4:
        raise ValueError("each row must be probabilities: no NaN, none below 0, summing to 1 (not logits)")
    return p


def _cut(p: np.ndarray, splits: int) -> list[np.ndarray]:
    return [p[a:b] for a, b in pairwise(i * len(p) // splits for i in range(splits + 1))]


def _sums(p: np.ndarray) -> tuple[float, np.ndarray]:
    """Of p, (N, C): the sum of p log p, and p summed over pictures, (C,)."""
    return float(_p_log_p(p).sum()), p.sum(0)


def _score(inner: float, classes: np.ndarray, count: int) -> float:
    """exp of the mean KL = mean of p log p, less m log m of the mean m: from `_sums` of `count` pictures."""
    return float(np.exp(inner / count - _p_log_p(classes / count).sum()))


def _p_log_p(p: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0, p * np.log(p), 0.0)  # 0 log 0 = 0
