"""Inception score: computed from class probabilities alone, without reference images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.metric import PROBABILITIES, LeaveOneOut, Metric

VERSION = 1


def inception_score(probabilities: np.ndarray, splits: int = 10, shuffle: int | None = None) -> float:
    """Exponential of the mean KL divergence of p(class | image) from p(class); higher is better.

    The mean over `splits` blocks of consecutive images, cut at floor(i N / splits). One good image of each
    class scores as high as a good model.

    Raises ValueError if rows are not probabilities, or images are fewer than splits.

    Args:
        probabilities: (N, C), rows in [0, 1] that sum to 1, N >= splits.
        splits: number of blocks, at least 1.
        shuffle: None keeps the order of the images; an integer seeds NumPy's legacy permutation before
            the images are split (torch-fidelity uses 2020).

    Returns:
        The score, between 1 and the number of classes.

    References:
        Salimans et al. 2016, "Improved Techniques for Training GANs", section 4.
    """
    p = _checked(probabilities, splits)
    if shuffle is not None:
        p = p[np.random.RandomState(shuffle).permutation(len(p))]
    return float(np.mean([_score(*_sums(block), len(block)) for block in _split(p, splits)]))


def inception_score_leave_one_out(
    probabilities: Sequence[np.ndarray], splits: int = 10
) -> tuple[float, list[float]]:
    """Inception score of all groups together, and with the g-th group left out, for each g.

    Each split takes its part of every group, so that leaving a group out shrinks all splits alike. The
    value therefore depends on that order of the images; for splits=1 it is that of `inception_score`.

    Args:
        probabilities: G >= 2 groups, (n_g, C) each, n_g >= splits.
        splits: number of blocks, at least 1.

    Returns:
        The score, and a list of G scores, each without one group.

    Raises:
        ValueError: if there are fewer than 2 groups, or as for `inception_score`.
    """
    if len(probabilities) < 2:
        raise ValueError(f"leave-one-out needs at least 2 groups, got {len(probabilities)}")
    groups = [_split(_checked(x, splits), splits) for x in probabilities]
    counts = np.array([[len(block) for block in blocks] for blocks in groups])  # (G, splits)
    sums = [[_sums(block) for block in blocks] for blocks in groups]
    negentropies = np.array([[s for s, _ in row] for row in sums])  # (G, splits)
    classes = np.array([[c for _, c in row] for row in sums])  # (G, splits, C)

    def score(kept: np.ndarray) -> float:
        blocks = zip(negentropies[kept].sum(0), classes[kept].sum(0), counts[kept].sum(0), strict=True)
        return float(np.mean([_score(*block) for block in blocks]))

    numbers = np.arange(len(groups))
    return score(numbers >= 0), [score(numbers != g) for g in numbers]


def _checked(probabilities: np.ndarray, splits: int) -> np.ndarray:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 1:
        raise ValueError(f"expected probabilities of shape (N, C), got {p.shape}")
    if splits < 1 or len(p) < splits:
        raise ValueError(f"{splits} splits need at least as many images, got {len(p)}: give more images")
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(1) - 1).max() > 1e-4:
        raise ValueError(
            "each row must be probabilities: no NaN, no negative value, summing to 1 (logits are not)"
        )
    return p


def _split(p: np.ndarray, splits: int) -> list[np.ndarray]:
    return [p[a:b] for a, b in pairwise(i * len(p) // splits for i in range(splits + 1))]


def _sums(p: np.ndarray) -> tuple[float, np.ndarray]:
    """For p, (N, C): the sum of p log p, and the sum of p over images, (C,)."""
    return float(_p_log_p(p).sum()), p.sum(0)


def _score(negentropy: float, classes: np.ndarray, count: int) -> float:
    """exp of the mean KL = mean of p log p minus m log m of the mean m, from `_sums` of `count` images."""
    return float(np.exp(negentropy / count - _p_log_p(classes / count).sum()))


def _p_log_p(p: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0, p * np.log(p), 0.0)  # 0 log 0 = 0


def _splits(inputs: EvaluationInputs) -> int:
    """10, as published, where every group of the jackknife can be cut so; else 1."""
    inputs = inputs.floor_of or inputs
    train = len(inputs.train) if inputs.train is not None else len(inputs.fake)
    return 10 if min(len(inputs.fake) // inputs.groups, train) >= 10 else 1


def _leave_one_out(inputs: EvaluationInputs) -> LeaveOneOut:
    groups = inputs.fake_groups(inputs.fake.probabilities)
    return inception_score_leave_one_out(groups, _splits(inputs))


METRIC = Metric(
    "IS",
    "higher",
    VERSION,
    value=lambda x: inception_score(x.fake.probabilities, _splits(x)),
    leave_one_out=_leave_one_out,
    parameters=lambda x: {"splits": _splits(x)},
    needs=(PROBABILITIES,),
    lowest=1.0,
    stage="detailed",
)
