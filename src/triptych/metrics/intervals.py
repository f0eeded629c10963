"""95 % intervals for scores of features, by a jackknife that leaves out whole groups of pictures.

Why not the bootstrap: it draws pictures twice, and a picture drawn twice is its own nearest
neighbour at distance 0 and lowers the rank of a covariance, so every metric here moves for a reason
that has nothing to do with sampling. Leaving pictures out makes no copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy.special import stdtrit

from triptych.metrics.frechet import fid_without_each
from triptych.metrics.kernel import kid_without_each
from triptych.metrics.neighbours import DENSITY_K, PRECISION_K, neighbour_scores_without_each
from triptych.metrics.pair import checked_pair
from triptych.metrics.threads import one_thread

VERSION = 1
LEVEL = 0.95
GROUPS = 20  # enough for a steady variance, few enough that each holds several neighbourhoods
LEAST = 20  # pictures in each set for an interval
METRICS = ("FID", "KID", "precision", "recall", "density", "coverage")
SHARES = ("precision", "recall", "coverage")  # means of zeros and ones


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; `without[g]` is the value without the g-th group of both sets."""

    value: float
    low: float
    high: float
    method: str
    without: tuple[float, ...] = field(repr=False)


@one_thread()
def estimates(
    real: np.ndarray,
    fake: np.ndarray,
    precision_k: int = PRECISION_K,
    density_k: int = DENSITY_K,
) -> dict[str, Estimate]:
    """FID, KID, precision, recall, density and coverage, each with a 95 % interval.

    Real and fake pictures are dealt into groups by a fixed shuffle; each score is computed on all of
    them and with the g-th group of both sets left out (Shao & Wu 1989). An interval is for the
    score's expectation at these numbers of pictures, so it does not cover FID's bias: that is what
    the floor is for.

    real: (N, D), fake: (M, D) features, at least 20 each. Returns {name: Estimate} for METRICS.
    Raises ValueError on NaN, unlike widths, too few pictures.
    """
    real, fake = checked_pair(real, fake, LEAST, "a score with an interval")
    count = groups_for(min(len(real), len(fake)), max(precision_k, density_k))
    reals, fakes = deal(real, count, seed=0), deal(fake, count, seed=1)
    values = {"FID": fid_without_each(reals, fakes), "KID": kid_without_each(reals, fakes)}
    values |= neighbour_scores_without_each(reals, fakes, precision_k, density_k)
    sizes = {"recall": len(real), "coverage": len(real), "precision": len(fake)}
    made = {}
    for name, (value, without) in values.items():
        if name in SHARES:
            made[name] = share_interval(value, without, sizes[name])
        else:
            lowest = -np.inf if name == "KID" else 0.0
            made[name] = jackknife_interval(value, without, lowest)
    return made


def groups_for(pictures: int, k: int) -> int:
    """How many groups to deal the smaller set of pictures into: 20, or fewer of about 5 pictures."""
    count = min(GROUPS, max(pictures // 5, 2))
    left = pictures - -(-pictures // count)
    if left <= k:
        raise ValueError(f"{left} pictures are left without one group, k = {k} needs {k + 1}: give more")
    return count


def deal(features: np.ndarray, groups: int, seed: int) -> list[np.ndarray]:
    """Features, (N, D), in groups of sizes that differ by one at most, by a fixed shuffle.

    Shuffled because pictures often come in order of their labels: a group of one class would be
    another distribution. A picture's place depends on its number alone, so two models judged on the
    same pictures get the same groups.
    """
    order = np.random.default_rng(seed).permutation(len(features))
    bounds = [g * len(features) // groups for g in range(groups + 1)]
    return [features[order[a:b]] for a, b in pairwise(bounds)]


def leave_each_out(metric: Callable[..., float], *sets: Sequence[np.ndarray]) -> tuple[float, list[float]]:
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


def standard_error(without: Sequence[float]) -> float:
    """The delete-a-group jackknife's standard error (Shao & Wu 1989, eq. 2.1 for disjoint groups).

    without: the G values that leave one group out. Its bias is upwards (Efron & Stein 1981).
    """
    values = np.asarray(without, dtype=np.float64)
    spread = float(((values - values.mean()) ** 2).sum())
    return float(np.sqrt(spread * (len(values) - 1) / len(values)))


def jackknife_interval(value: float, without: Sequence[float], lowest: float = -np.inf) -> Estimate:
    """value -+ t quantile x standard error, cut off at `lowest`."""
    reach = _quantile(len(without)) * standard_error(without)
    method = f"delete-a-group jackknife ({len(without)} groups, t)"
    return Estimate(value, max(value - reach, lowest), value + reach, method, tuple(without))


def share_interval(value: float, without: Sequence[float], pictures: int) -> Estimate:
    """An interval for a share, by Wilson's formula (1927) with the jackknife's effective number of pictures.

    That number is value (1 - value) / standard error^2: what a plain share of independent pictures
    would need for the same error. Unlike value -+ reach this stays in [0, 1] and keeps a width at
    0 and 1, where all groups agree; `pictures` is the number used there.
    """
    error, t = standard_error(without), _quantile(len(without))
    inner = value * (1 - value)
    effective = inner / error**2 if inner > 0 and error > 0 else float(pictures)
    scale = 1 + t**2 / effective
    centre = (value + t**2 / (2 * effective)) / scale
    reach = t / scale * np.sqrt(inner / effective + t**2 / (4 * effective**2))
    low = max(float(centre - reach), 0.0) if value > 0 else 0.0
    high = min(float(centre + reach), 1.0) if value < 1 else 1.0
    method = f"delete-a-group jackknife ({len(without)} groups, Wilson)"
    return Estimate(value, low, high, method, tuple(without))


def _quantile(groups: int) -> float:
    return float(stdtrit(groups - 1, (1 + LEVEL) / 2))
