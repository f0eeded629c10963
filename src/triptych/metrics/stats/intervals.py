"""95 % intervals for scores of features, from pictures left out or dealt into blocks.

Why not the bootstrap: it draws pictures twice, and a picture drawn twice is its own nearest
neighbour at distance 0 and lowers the rank of a covariance, so every metric here moves for a reason
that has nothing to do with sampling. Leaving pictures out makes no copies.

FID and KID take a jackknife, freed of the second-order terms it counts twice, which for KID are known
by themselves (`second_order`); scores of nearest
neighbours, to which terms of every order belong, take disjoint blocks. How often the intervals hold
their target is measured by benchmarks/interval_coverage.py.
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
from triptych.metrics.stats.resampling import ResamplingErrors, block_errors, jackknife_errors, split_groups
from triptych.metrics.stats.second_order import second_order_parts
from triptych.metrics.validation import checked_pair

VERSION = 3
GROUPS = 20  # enough for a steady variance, few enough that each holds several neighbourhoods
MIN_IMAGES = 20  # pictures in each set for an interval
BLOCK_SIZE = 250  # pictures in the smaller set's blocks, where there are enough for two
MAX_BLOCKS = 5
BLOCK_DOF = 20  # degrees of freedom of a variance from blocks: as many deals as that takes
METRICS = ("FID", "KID", "precision", "recall", "density", "coverage")
PROPORTIONS = ("precision", "recall", "coverage")  # means of zeros and ones


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval and what the interval was made of."""

    value: float
    low: float
    high: float
    method: str
    resampling: ResamplingErrors | None
    trials: int | None = None  # of how many pictures the value is a share; None: it is no share


@one_thread()
def estimates(
    real: np.ndarray,
    fake: np.ndarray,
    precision_k: int = PRECISION_K,
    density_k: int = DENSITY_K,
) -> dict[str, Estimate]:
    """FID, KID, precision, recall, density and coverage, each with a 95 % interval.

    An interval is for the score's expectation at these numbers of pictures, so it does not cover
    FID's bias: that is what the floor is for. (KID has none: its target is the population's value.)

    real: (N, D), fake: (M, D) features, at least 20 each and enough that half of them have
    neighbours. Returns {name: Estimate} for METRICS. Raises ValueError on NaN, unlike widths, too few
    pictures.
    """
    real, fake = checked_pair(real, fake, MIN_IMAGES, "a score with an interval")
    made = {name: _left_out(name, real, fake) for name in ("FID", "KID")}
    values = prdc_scores(real, fake, precision_k, density_k)
    spreads = _neighbour_spreads(real, fake, precision_k, density_k)
    sizes = {"recall": len(real), "coverage": len(real), "precision": len(fake)}
    for name, value in values.items():
        if name in PROPORTIONS:
            made[name] = wilson_interval(value, spreads[name], sizes[name])
        else:
            made[name] = interval(value, spreads[name], lowest=0.0)
    return made


def groups_for(pictures: int) -> int:
    """How many groups to deal the smaller set of pictures into: 20, or fewer of about 5 pictures."""
    return min(GROUPS, max(pictures // 5, 2))


def _left_out(name: str, real: np.ndarray, fake: np.ndarray) -> Estimate:
    """FID or KID by the jackknife."""
    count = groups_for(min(len(real), len(fake)))
    groups = split_groups(real, count, seed=0), split_groups(fake, count, seed=1)
    left_out = [(), *((g,) for g in range(count)), *((g, (g + 1) % count) for g in range(count))]
    compute = {"FID": fid_leave_groups_out, "KID": kid_leave_groups_out}[name]
    value, *rest = compute(*groups, left_out)
    spread = jackknife_errors(value, rest[:count], rest[count:])
    if name == "KID":
        parts = second_order_parts(np.concatenate(groups[0]), np.concatenate(groups[1]), DEGREE, COEF)
        return interval(value, replace(spread, second_order=parts))
    return interval(value, spread, lowest=0.0)


def _neighbour_spreads(
    real: np.ndarray, fake: np.ndarray, precision_k: int, density_k: int
) -> dict[str, ResamplingErrors]:
    """Spreads of the neighbour scores, from disjoint blocks of both sets under several deals."""
    fewest = min(len(real), len(fake))
    blocks = min(max(fewest // BLOCK_SIZE, 2), MAX_BLOCKS)
    if fewest // blocks <= (k := max(precision_k, density_k)):
        raise ValueError(
            f"an interval is made of {blocks} blocks of {fewest} pictures, and k = {k} needs {k + 1} "
            f"pictures in each: give at least {blocks * (k + 1)}"
        )
    made: dict[str, list[list[float]]] = {}
    for number in range(-(-BLOCK_DOF // (blocks - 1))):
        pairs = zip(
            split_groups(real, blocks, (number, 0)), split_groups(fake, blocks, (number, 1)), strict=True
        )
        scores = [prdc_scores(r, f, precision_k, density_k) for r, f in pairs]
        for name in scores[0]:
            made.setdefault(name, []).append([score[name] for score in scores])
    return {name: block_errors(np.array(values)) for name, values in made.items()}


def leave_one_out(metric: Callable[..., float], *sets: Sequence[np.ndarray]) -> tuple[float, list[float]]:
    """Any metric of one or more sets, whole and with the g-th group of every set left out, by computing anew.

    metric: called with as many arrays as there are sets. sets: G >= 2 groups each. Sets whose rows
    belong together (features and labels, starts and ends of paths) must be dealt with one seed.
    Returns (value, [value without group g]).
    """
    counts = sorted({len(groups) for groups in sets})
    if len(counts) != 1 or counts[0] < 2:
        raise ValueError(f"leaving one out needs equally many groups in each set, at least 2, got {counts}")
    without = [
        metric(*(np.concatenate([*groups[:g], *groups[g + 1 :]]) for groups in sets))
        for g in range(counts[0])
    ]
    return metric(*map(np.concatenate, sets)), without


def jackknife_interval(value: float, without: Sequence[float], lowest: float = -np.inf) -> Estimate:
    """An interval from the values without each group, for scores that are near to means."""
    return interval(value, jackknife_errors(value, without), lowest)


def interval(
    value: float, resampling: ResamplingErrors, lowest: float = -np.inf, level: float = LEVEL
) -> Estimate:
    """value -+ t quantile x standard error, cut off at `lowest`; of KID as `_two_order_interval` says."""
    if resampling.second_order:
        return _two_order_interval(value, resampling, level)
    reach = t_quantile(resampling.dof, level) * np.sqrt(resampling.variance())
    method = f"{_words(resampling)}, t with {resampling.dof:g} degrees of freedom"
    return Estimate(value, max(value - reach, lowest), value + reach, method, resampling)


def _two_order_interval(value: float, spread: ResamplingErrors, level: float) -> Estimate:
    """An interval for KID, whose error has a first-order part and an uncorrelated second-order one.

    KID is the squared length of a difference of means. Where that is about as long as its own error, low
    values come with small first-order variances, so the upper end is sought for the length itself: its
    variance in the direction of the difference, at most `top`, does not depend on the value; what the
    other directions add has a variance from all pairs of images. Arms are put together as by Zou & Donner
    (2008). The lower end needs none of this: high values come with large variances. What is estimated is
    never negative, so neither is the upper end.
    """
    shared, rest, top = spread.second_order
    t, z = t_quantile(spread.dof, level), t_quantile(np.inf, level)
    pairs = shared + rest
    down = np.sqrt(t**2 * spread.first_order() + z**2 * pairs)
    errors, _ = spread.covariance_parts(spread)
    squared = max(value + top, 0.0)  # of the length as seen: KID is less by its expected error
    along = top if errors >= 4 * squared * top else errors / (4 * squared)  # variance of the length
    longer = (np.sqrt(squared) + np.sqrt(along) * (t if along < top else z)) ** 2 - value
    up = max(np.hypot(longer, z * np.sqrt(max(pairs - 2 * top**2, 0.0))), down)
    method = f"{_words(spread)}, t with {spread.dof:g} degrees of freedom, and all pairs' second order"
    return Estimate(value, float(value - down), float(max(value + up, 0.0)), method, spread)


def wilson_interval(
    value: float, resampling: ResamplingErrors, trials: int, level: float = LEVEL
) -> Estimate:
    """An interval for a share, by Wilson's formula (1927) with an effective number of pictures.

    That number is value (1 - value) / variance: what a plain share of independent pictures would need
    for the same error. Unlike value -+ reach this stays in [0, 1] and keeps a width at 0 and 1, where
    all errors are 0; `pictures` is the number used there.
    """
    variance, t = resampling.variance(), t_quantile(resampling.dof, level)
    inner = value * (1 - value)
    effective = inner / variance if inner > 0 and variance > 0 else float(trials)
    scale = 1 + t**2 / effective
    centre = (value + t**2 / (2 * effective)) / scale
    reach = t / scale * np.sqrt(inner / effective + t**2 / (4 * effective**2))
    low = max(float(centre - reach), 0.0) if value > 0 else 0.0
    high = min(float(centre + reach), 1.0) if value < 1 else 1.0
    return Estimate(value, low, high, f"{_words(resampling)}, Wilson", resampling, trials)


def _words(spread: ResamplingErrors) -> str:
    way = "disjoint blocks" if "blocks" in spread.grouping else "delete-a-group jackknife"
    return f"{way} ({spread.grouping})"
