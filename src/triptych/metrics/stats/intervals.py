"""95% confidence intervals for scores of features, by leaving images out or by disjoint blocks.

Why not the bootstrap: it draws images twice. A duplicated image is its own nearest neighbor at distance 0
and lowers the rank of a covariance, so every metric here shifts for a reason that has nothing to do with
sampling. Leaving images out makes no duplicates.

FID and KID use a jackknife, corrected for the second-order terms it counts twice; for KID these are also
estimated directly (`second_order`). Nearest-neighbor scores, which have terms of every order, use disjoint
blocks. The coverage of the intervals is measured by benchmarks/interval_coverage.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from triptych.metrics.stats.quantiles import LEVEL, t_quantile
from triptych.metrics.stats.resampling import (
    ResamplingErrors,
    block_errors,
    jackknife_errors,
    split_groups,
)

VERSION = 3
GROUPS = 20  # enough for a stable variance, few enough that each holds several neighborhoods
MIN_IMAGES = 20  # in each set, for an interval
BLOCK_SIZE = 250  # images in a block of the smaller set, where there are enough for two blocks
MAX_BLOCKS = 5
BLOCK_DOF = 20  # degrees of freedom of a variance from blocks: the split is repeated until it has them
LeaveGroupsOut = Callable[
    [Sequence[np.ndarray], Sequence[np.ndarray], Sequence[tuple[int, ...]]], list[float]
]  # groups of both sets, and what to leave out, to values


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval and the resampling errors behind it."""

    value: float
    low: float
    high: float
    method: str
    resampling: ResamplingErrors | None
    trials: int | None = None  # number of images, if the value is a proportion of them


def groups_for(images: int) -> int:
    """Number of jackknife groups for the smaller set: 20, or fewer of about 5 images each."""
    return min(GROUPS, max(images // 5, 2))


def jackknife_with_pairs(
    compute: LeaveGroupsOut, real: np.ndarray, fake: np.ndarray
) -> tuple[float, ResamplingErrors]:
    """A score and its errors by the jackknife, freed of the second-order terms that it counts twice.

    Args:
        compute: called with the groups of both sets and what to leave out; see `fid_leave_groups_out`.
        real: (N, D).
        fake: (M, D).

    Returns:
        The score of both sets, and its errors from each group and each pair of neighboring groups left out.
    """
    count = groups_for(min(len(real), len(fake)))
    groups = split_groups(real, count, seed=0), split_groups(fake, count, seed=1)
    left_out = [(), *((g,) for g in range(count)), *((g, (g + 1) % count) for g in range(count))]
    value, *rest = compute(*groups, left_out)
    return value, jackknife_errors(value, rest[:count], rest[count:])


def errors_from_blocks(
    compute: Callable[[np.ndarray, np.ndarray], dict[str, float]],
    real: np.ndarray,
    fake: np.ndarray,
    k: int,
) -> dict[str, ResamplingErrors]:
    """Errors of scores of nearest neighbors, from disjoint blocks of both sets under several splits.

    Args:
        compute: gives scores by name, of two sets of features.
        real: (N, D).
        fake: (M, D).
        k: the neighbor that every block must have; blocks need k + 1 images.

    Returns:
        The errors of each score.

    Raises:
        ValueError: for too few images.
    """
    fewest = min(len(real), len(fake))
    blocks = min(max(fewest // BLOCK_SIZE, 2), MAX_BLOCKS)
    if fewest // blocks <= k:
        raise ValueError(
            f"an interval is made of {blocks} blocks of {fewest} images, and k = {k} needs {k + 1} "
            f"images in each block: give at least {blocks * (k + 1)}"
        )
    made: dict[str, list[list[float]]] = {}
    for number in range(-(-BLOCK_DOF // (blocks - 1))):
        pairs = zip(
            split_groups(real, blocks, (number, 0)), split_groups(fake, blocks, (number, 1)), strict=True
        )
        scores = [compute(r, f) for r, f in pairs]
        for name in scores[0]:
            made.setdefault(name, []).append([score[name] for score in scores])
    return {name: block_errors(np.array(values)) for name, values in made.items()}


def leave_one_out(metric: Callable[..., float], *sets: Sequence[np.ndarray]) -> tuple[float, list[float]]:
    """Any metric of all groups, and with the g-th group of every set left out, by recomputation.

    Args:
        metric: called with one array for each set.
        *sets: G >= 2 groups each. Sets whose rows belong together (features and labels, starts and ends of
            paths) must be split with the same seed.

    Returns:
        The value, and a list of G values, each without one group.

    Raises:
        ValueError: if the sets have fewer than 2 groups or unequal numbers of them.
    """
    counts = sorted({len(groups) for groups in sets})
    if len(counts) != 1 or counts[0] < 2:
        raise ValueError(
            f"leave-one-out needs the same number of groups in each set, at least 2, got {counts}"
        )
    without = [
        metric(*(np.concatenate([*groups[:g], *groups[g + 1 :]]) for groups in sets))
        for g in range(counts[0])
    ]
    return metric(*map(np.concatenate, sets)), without


def jackknife_interval(value: float, without: Sequence[float], lowest: float = -np.inf) -> Estimate:
    """Jackknife t interval for a score that is close to a mean over images.

    Args:
        value: the score of all G groups.
        without: G scores, each without one group.
        lowest: smallest possible score; the interval is cut there.

    Returns:
        The value with its interval.
    """
    return interval(value, jackknife_errors(value, without), lowest)


def interval(
    value: float, resampling: ResamplingErrors, lowest: float = -np.inf, level: float = LEVEL
) -> Estimate:
    """Student t interval: value -+ quantile x standard error; for KID see `_second_order_interval`.

    Args:
        value: the score.
        resampling: its resampling errors.
        lowest: smallest possible score; the interval is cut there.
        level: confidence level in (0, 1).

    Returns:
        The value with its interval.
    """
    if resampling.second_order:
        return _second_order_interval(value, resampling, level)
    reach = t_quantile(resampling.dof, level) * np.sqrt(resampling.variance())
    method = f"{_method(resampling)}, t with {resampling.dof:g} degrees of freedom"
    return Estimate(value, max(value - reach, lowest), value + reach, method, resampling)


def _second_order_interval(value: float, resampling: ResamplingErrors, level: float) -> Estimate:
    """Interval for KID, whose error has a first-order part and an uncorrelated second-order part.

    KID is the squared length of a difference of mean embeddings. Where that length is comparable to its
    own error, low values come with small first-order variances, so the upper end is computed for the
    length itself: its variance along the direction of the difference, at most `top`, does not depend on
    the value; the other directions add a variance estimated from all pairs of images. Both are combined as
    by Zou & Donner (2008). The lower end needs none of this: high values come with large variances. The
    population value is never negative, so neither is the upper end.
    """
    shared, rest, top = resampling.second_order
    t, z = t_quantile(resampling.dof, level), t_quantile(np.inf, level)
    pairs = shared + rest
    down = np.sqrt(t**2 * resampling.first_order() + z**2 * pairs)
    errors, _ = resampling.covariance_parts(resampling)
    squared = max(value + top, 0.0)  # observed squared length: KID has its expected error subtracted
    along = top if errors >= 4 * squared * top else errors / (4 * squared)  # variance of the length
    longer = (np.sqrt(squared) + np.sqrt(along) * (t if along < top else z)) ** 2 - value
    up = max(np.hypot(longer, z * np.sqrt(max(pairs - 2 * top**2, 0.0))), down)
    method = (
        f"{_method(resampling)}, t with {resampling.dof:g} degrees of freedom, and the second-order variance "
        "of all pairs"
    )
    return Estimate(value, float(value - down), float(max(value + up, 0.0)), method, resampling)


def wilson_interval(
    value: float, resampling: ResamplingErrors, trials: int, level: float = LEVEL
) -> Estimate:
    """Wilson interval for a proportion, with an effective number of images.

    That number is value (1 - value) / variance: the number of independent images whose proportion would
    have the same error. Unlike a t interval this stays within [0, 1] and keeps a width at 0 and 1, where
    all errors are 0; `trials` is the number used there.

    Args:
        value: the proportion, in [0, 1].
        resampling: its resampling errors.
        trials: number of images of which the value is a proportion.
        level: confidence level in (0, 1).

    Returns:
        The proportion with its interval.

    References:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    variance, t = resampling.variance(), t_quantile(resampling.dof, level)
    binomial = value * (1 - value)
    effective = binomial / variance if binomial > 0 and variance > 0 else float(trials)
    scale = 1 + t**2 / effective
    center = (value + t**2 / (2 * effective)) / scale
    reach = t / scale * np.sqrt(binomial / effective + t**2 / (4 * effective**2))
    low = max(float(center - reach), 0.0) if value > 0 else 0.0
    high = min(float(center + reach), 1.0) if value < 1 else 1.0
    return Estimate(value, low, high, f"{_method(resampling)}, Wilson", resampling, trials)


def _method(resampling: ResamplingErrors) -> str:
    method = "disjoint blocks" if "blocks" in resampling.grouping else "delete-a-group jackknife"
    return f"{method} ({resampling.grouping})"
