"""Vendi score: effective number of dissimilar images in a set, without reference images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from triptych.metrics.metric import Metric
from triptych.metrics.validation import checked_features

VERSION = 1
TILE = 8192  # rows normalized at a time


def vendi_score(features: np.ndarray) -> float:
    """Exponential of the entropy of the eigenvalues of S/N, S_ij the cosine similarity of x_i and x_j.

    The effective number of dissimilar images: 1 if all features are parallel, k for k equally large clusters
    at right angles. It says nothing about quality: compare it with the score of as many real images. S/N and
    the D x D matrix X^T X / N of normalized features have the same nonzero eigenvalues, so the smaller matrix
    is diagonalized.

    Raises ValueError if features contain NaN or infinity, or a row is all zero and has no direction.

    Args:
        features: (N, D), no row all zero.

    Returns:
        The score, in [1, min(N, D)].

    References:
        Friedman & Dieng 2023, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning".
    """
    x = _checked(features)
    if len(x) < x.shape[1]:
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        return _effective_number(unit @ unit.T / len(x))
    return _effective_number(_gram(x) / len(x))


def vendi_leave_one_out(groups: Sequence[np.ndarray]) -> tuple[float, list[float]]:
    """Vendi score of all groups, and with the g-th group left out, for each g.

    Features are read twice and no Gram matrix is kept for each group: 20 groups of 2,048 features would take
    640 MB.

    Args:
        groups: G >= 2 groups of features, (n_g, D) each.

    Returns:
        The score, and a list of G scores, each without one group.

    Raises:
        ValueError: if there are fewer than 2 groups, or as for `vendi_score`.
    """
    if len(groups) < 2:
        raise ValueError(f"leave-one-out needs at least 2 groups, got {len(groups)}")
    parts = [_checked(x) for x in groups]
    count = sum(map(len, parts))
    if count - max(map(len, parts)) < parts[0].shape[1]:  # the N x N matrix is the smaller one
        left = [np.concatenate([*parts[:g], *parts[g + 1 :]]) for g in range(len(parts))]
        return vendi_score(np.concatenate(parts)), [vendi_score(x) for x in left]
    total = np.sum([_gram(x) for x in parts], axis=0)
    without = [_effective_number((total - _gram(x)) / (count - len(x))) for x in parts]
    return _effective_number(total / count), without


def _checked(features: np.ndarray) -> np.ndarray:
    x = checked_features(features, "Vendi")
    if len(x) < 1:
        raise ValueError("the Vendi score needs at least 1 image, got 0")
    empty = ~x.any(1)
    if empty.any():
        raise ValueError(
            f"{int(empty.sum())} of {len(x)} images have features that are all 0, the first is number "
            f"{int(empty.argmax())}: they have no direction to compare; use other features"
        )
    return x


def _gram(x: np.ndarray) -> np.ndarray:
    """(D, D): sum of the outer products of the normalized rows of x, (N, D)."""
    total = np.zeros((x.shape[1], x.shape[1]))
    for rows in _tiles(len(x)):
        unit = x[rows] / np.linalg.norm(x[rows], axis=1, keepdims=True)
        total += unit.T @ unit
    return total


def _effective_number(matrix: np.ndarray) -> float:
    """exp of the entropy of the eigenvalues of a symmetric matrix of trace 1."""
    values = np.linalg.eigvalsh(matrix)
    values = values[values > 0]  # 0 log 0 = 0; rounding makes some of them negative
    return float(np.exp(-(values * np.log(values)).sum()))


def _tiles(count: int) -> Iterator[slice]:
    return (slice(start, min(start + TILE, count)) for start in range(0, count, TILE))


METRIC = Metric(
    "Vendi",
    "higher",
    VERSION,
    value=lambda x: vendi_score(x.fake.features),
    leave_one_out=lambda x: vendi_leave_one_out(x.fake_groups(x.fake.features)),
    parameters={"kernel": "cosine"},
    stage="detailed",
)
