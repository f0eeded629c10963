"""95 % confidence intervals for scores of features, by leaving images out or by disjoint blocks.

Why not the bootstrap: it draws images twice. A duplicated image is its own nearest neighbor at distance 0
and lowers the rank of a covariance, so every metric here shifts for a reason that has nothing to do with
sampling. Leaving images out makes no duplicates.

FID and KID use a jackknife, corrected for the second-order terms it counts twice; for KID these are also
estimated directly (`second_order`). Nearest-neighbor scores, which have terms of every order, use disjoint
blocks. The coverage of the intervals is measured by benchmarks/interval_coverage.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from triptych.core.threads import one_thread
from triptych.metrics.fid import fid_leave_groups_out
from triptych.metrics.kid import COEF, DEGREE, kid_leave_groups_out
from triptych.metrics.prdc import DENSITY_K, PRECISION_K, prdc_scores
from triptych.metrics.stats.quantiles import LEVEL, t_quantile
from triptych.metrics.stats.resampling import (
    ResamplingErrors,
    block_errors,
    jackknife_errors,
    split_groups,
)
from triptych.metrics.stats.second_order import second_order_parts
from triptych.metrics.validation import checked_pair

VERSION = 3
GROUPS = 20  # enough for a stable variance, few enough that each holds several neighborhoods
MIN_IMAGES = 20  # in each set, for an interval
BLOCK_SIZE = 250  # images in a block of the smaller set, where there are enough for two blocks
MAX_BLOCKS = 5
BLOCK_DOF = 20  # degrees of freedom of a variance from blocks: the split is repeated until it has them
METRICS = ("FID", "KID", "precision", "recall", "density", "coverage")
PROPORTIONS = ("precision", "recall", "coverage")  # means of zeros and ones


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval and the resampling errors behind it."""

    value: float
    low: float
    high: float
    method: str
    resampling: ResamplingErrors | None
    trials: int | None = None  # number of images, if the value is a proportion of them


@one_thread()
def estimates(
    real: np.ndarray,
    fake: np.ndarray,
    precision_k: int = PRECISION_K,
    density_k: int = DENSITY_K,
) -> dict[str, Estimate]:
    """FID, KID, precision, recall, density and coverage, each with a 95 % interval.

    An interval is for the score's expectation at these sample sizes, so it does not cover FID's bias; the
    floor is what shows that. (KID has no bias: its target is the population value.)

    Args:
        real: features (N, D) of real images, N >= 20 and enough that each block has k neighbors.
        fake: features (M, D) of generated images, likewise.
        precision_k: number of neighbors for precision and recall.
        density_k: number of neighbors for density and coverage.

    Returns:
        {name: Estimate} for the names in METRICS.

    Raises:
        ValueError: if features contain NaN or infinity, differ in width or are too few.
    """
    real, fake = checked_pair(real, fake, MIN_IMAGES, "a score with an interval")
    result = {name: _leave_out(name, real, fake) for name in ("FID", "KID")}
    values = prdc_scores(real, fake, precision_k, density_k)
    errors = _block_errors(real, fake, precision_k, density_k)
    sizes = {"recall": len(real), "coverage": len(real), "precision": len(fake)}
    for name, value in values.items():
        if name in PROPORTIONS:
            result[name] = wilson_interval(value, errors[name], sizes[name])
        else:
            result[name] = interval(value, errors[name], lowest=0.0)
    return result


def groups_for(images: int) -> int:
    """Number of jackknife groups for the smaller set: 20, or fewer of about 5 images each."""
    return min(GROUPS, max(images // 5, 2))


def _leave_out(name: str, real: np.ndarray, fake: np.ndarray) -> Estimate:
    """FID or KID with its jackknife interval."""
    count = groups_for(min(len(real), len(fake)))
    groups = split_groups(real, count, seed=0), split_groups(fake, count, seed=1)
    left_out = [(), *((g,) for g in range(count)), *((g, (g + 1) % count) for g in range(count))]
    compute = {"FID": fid_leave_groups_out, "KID": kid_leave_groups_out}[name]
    value, *rest = compute(*groups, left_out)
    errors = jackknife_errors(value, rest[:count], rest[count:])
    if name == "KID":
        parts = second_order_parts(np.concatenate(groups[0]), np.concatenate(groups[1]), DEGREE, COEF)
        return interval(value, replace(errors, second_order=parts))
    return interval(value, errors, lowest=0.0)


def _block_errors(
    real: np.ndarray, fake: np.ndarray, precision_k: int, density_k: int
) -> dict[str, ResamplingErrors]:
    """Resampling errors of the nearest-neighbor scores, from several random splits into blocks."""
    fewest = min(len(real), len(fake))
    blocks = min(max(fewest // BLOCK_SIZE, 2), MAX_BLOCKS)
    if fewest // blocks <= (k := max(precision_k, density_k)):
        raise ValueError(
            f"an interval needs {blocks} blocks of {fewest} images, and k = {k} needs {k + 1} images in each "
            f"block: give at least {blocks * (k + 1)} images"
        )
    values: dict[str, list[list[float]]] = {}
    for split in range(-(-BLOCK_DOF // (blocks - 1))):
        halves = split_groups(real, blocks, (split, 0)), split_groups(fake, blocks, (split, 1))
        scores = [prdc_scores(r, f, precision_k, density_k) for r, f in zip(*halves, strict=True)]
        for name in scores[0]:
            values.setdefault(name, []).append([score[name] for score in scores])
    return {name: block_errors(np.array(rows)) for name, rows in values.items()}


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
