"""Intervals for the difference of two scores, for the mean of several runs, and for what a family would do.

Two levels: a run's score errs because pictures are a sample (samples and real ones), and runs of one
family differ because their seeds do. `difference` and `mean_of` speak of these runs alone; `over_runs`
and `difference_over_runs` of runs with other seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from triptych.metrics.stats.intervals import Estimate, interval, wilson_interval
from triptych.metrics.stats.quantiles import LEVEL, normal_quantile, t_quantile
from triptych.metrics.stats.resampling import ResamplingErrors, combine_errors

MIN_RUNS = 3  # from so many seeds on a spread over runs says something
POWER = 0.8  # with which a wanted number of pictures or runs would tell two models apart
MAX_RUNS = 1000


class Measured(Protocol):
    """A score with its interval: an Estimate, or a Score as stored."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102
    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def resampling(self) -> ResamplingErrors | None: ...  # noqa: D102
    @property
    def trials(self) -> int | None: ...  # noqa: D102


@dataclass(frozen=True)
class Difference:
    """First less second, with an interval; `factor`: how many times as many would tell them apart.

    As many pictures, real and made, for a difference of two runs; runs of each side for a
    difference of families. An estimate: that the true difference is the one seen, that the
    interval's width goes as 1/sqrt(n), and that four tries of five should succeed. inf: none would.
    """

    value: float
    low: float
    high: float
    method: str
    factor: float

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def difference(a: Measured, b: Measured, level: float = LEVEL) -> Difference:
    """The difference of two scores measured alike: a less b.

    Where both follow one deal of the same real pictures their errors are paired and what they share
    drops out; else they count as independent, which is too wide rather than too narrow for scores
    that share their real pictures. Shares take each one's Wilson interval, put together by Zou &
    Donner (2008, eq. 8) with the correlation of the errors: two shares at 1 then still have a width. So do
    KIDs, whose upper ends know what their errors alone do not, where that is wider.
    """
    paired = a.resampling is not None and b.resampling is not None and a.resampling.pairs_with(b.resampling)
    gap = a.value - b.value
    freedom = min((s.dof for s in (a.resampling, b.resampling) if s is not None), default=np.inf)
    if paired and a.trials is None and b.trials is None:
        assert a.resampling is not None and b.resampling is not None
        made = interval(gap, combine_errors([a.resampling, b.resampling], [1.0, -1.0]), level=level)
        low, high = made.low, made.high
        if a.resampling.second_order and b.resampling.second_order:
            r = _correlation(a.resampling, b.resampling)
            (a_down, a_up), (b_down, b_up) = _arms(a, level), _arms(b, level)
            low = min(low, gap - _hypotenuse(a_down, b_up, r))
            high = max(high, gap + _hypotenuse(a_up, b_down, r))
    else:
        r = _correlation(a.resampling, b.resampling) if paired and a.resampling and b.resampling else 0.0
        (a_down, a_up), (b_down, b_up) = _arms(a, level), _arms(b, level)
        low = gap - _hypotenuse(a_down, b_up, r)
        high = gap + _hypotenuse(a_up, b_down, r)
    words = "paired" if paired else "not paired, independent"
    return Difference(gap, low, high, f"{words}: {a.method}", _factor(gap, low, high, freedom, level))


def mean_of(runs: Sequence[Measured]) -> Estimate:
    """The mean of these very runs' scores, with an interval for their mean expectation.

    Its error is that of the samples and the real pictures alone; other seeds are not in it.
    """
    value = float(np.mean([run.value for run in runs]))
    spreads = [run.resampling for run in runs if run.resampling is not None]
    shares = [run.trials for run in runs if run.trials is not None]
    if len(runs) == 1:
        only = runs[0]
        return Estimate(only.value, only.low, only.high, only.method, only.resampling, only.trials)
    if len(spreads) < len(runs) or not all(spreads[0].pairs_with(s) for s in spreads):
        low, high = (float(np.mean([getattr(run, end) for run in runs])) for end in ("low", "high"))
        return Estimate(value, low, high, "mean of the runs' own intervals", None)
    spread = combine_errors(spreads, [1 / len(runs)] * len(runs))
    return wilson_interval(value, spread, min(shares)) if shares else interval(value, spread)


def over_runs(runs: Sequence[Measured], level: float = LEVEL) -> tuple[float, float, str]:
    """(low, high, method): an interval for the expected score of a run with another seed.

    The spread of the runs' scores about their mean already holds both levels that differ from run to
    run, the training's seed and the draw of the samples: a t interval of the scores needs no term for
    the latter. It does not see what all runs share, the real pictures; that is the covariance of
    their errors, added here, with degrees of freedom by Satterthwaite (1946). runs: at least 3 with
    different seeds. Raises ValueError for fewer.
    """
    _enough(runs)
    value = float(np.mean([run.value for run in runs]))
    common, its_freedom = _cross(runs, runs)
    variance, freedom = _satterthwaite([_between(runs), (max(common, 0.0), its_freedom)])
    reach = t_quantile(freedom, level) * np.sqrt(variance)
    low, high = value - reach, value + reach
    if all(run.trials is not None for run in runs):
        low, high = max(low, 0.0), min(high, 1.0)
    return low, high, f"t over {len(runs)} runs, {freedom:.1f} degrees of freedom"


def difference_over_runs(
    first: Sequence[Measured], second: Sequence[Measured], level: float = LEVEL
) -> Difference:
    """The difference of two families' expected scores: Welch's t on the runs' scores (1947).

    To the two spreads over runs comes what the real pictures add, as far as the families do not share
    it: c11 + c22 - 2 c12, where c is the covariance of the errors of two different runs. Raises
    ValueError for fewer than 3 runs on a side.
    """
    for runs in (first, second):
        _enough(runs)
    gap = float(np.mean([r.value for r in first]) - np.mean([r.value for r in second]))
    between = [_between(runs) for runs in (first, second)]
    shared = _shared_difference(first, second)
    variance, freedom = _satterthwaite([*between, shared])
    if variance == 0:  # every run the same: only the pictures' error is left
        return difference(mean_of(first), mean_of(second), level)
    reach = t_quantile(freedom, level) * np.sqrt(variance)
    counts = min(len(first), len(second))
    factor = _runs_factor(gap, between[0][0] + between[1][0], shared[0], counts, level)
    method = f"Welch's t over {len(first)} and {len(second)} runs, {freedom:.1f} degrees of freedom"
    return Difference(gap, gap - reach, gap + reach, method, factor)


# --- parts ---------------------------------------------------------------------------------


def _arms(m: Measured, level: float) -> tuple[float, float]:
    """How far the interval reaches down and up, at another level."""
    if m.resampling is None:
        wider = float(normal_quantile((1 + level) / 2) / normal_quantile((1 + LEVEL) / 2))
        return (m.value - m.low) * wider, (m.high - m.value) * wider
    if m.trials is not None:
        made = wilson_interval(m.value, m.resampling, m.trials, level)
    else:
        made = interval(m.value, m.resampling, level=level)
    return m.value - made.low, made.high - m.value


def _hypotenuse(a: float, b: float, correlation: float) -> float:
    return float(np.sqrt(max(a * a + b * b - 2 * correlation * a * b, 0.0)))


def _correlation(a: ResamplingErrors, b: ResamplingErrors) -> float:
    scale = np.sqrt(a.variance() * b.variance())
    return float(np.clip(a.covariance(b) / scale, -1.0, 1.0)) if scale > 0 else 0.0


def _factor(gap: float, low: float, high: float, freedom: float, level: float) -> float:
    """By how much the number of pictures should grow; see Difference."""
    reach = gap - low if gap > 0 else high - gap
    if gap == 0:
        return float(np.inf) if reach > 0 else 1.0
    return float((reach / abs(gap) * (1 + normal_quantile(POWER) / t_quantile(freedom, level))) ** 2)


def _runs_factor(gap: float, between: float, shared: float, runs: int, level: float) -> float:
    """By how much the number of runs should grow: what the real pictures add does not shrink with it."""
    for wanted in range(runs, MAX_RUNS + 1):
        error = np.sqrt(between * runs / wanted + shared)
        if abs(gap) >= error * (t_quantile(2 * wanted - 2, level) + normal_quantile(POWER)):
            return wanted / runs
    return float(np.inf)


def _enough(runs: Sequence[Measured]) -> None:
    if len(runs) < MIN_RUNS:
        raise ValueError(
            f"{len(runs)} runs say too little about other seeds: train at least {MIN_RUNS}, or speak of "
            "these runs only"
        )


def _between(runs: Sequence[Measured]) -> tuple[float, float]:
    """(variance of the mean by the spread over runs, degrees of freedom)."""
    values = [run.value for run in runs]
    return float(np.var(values, ddof=1)) / len(values), len(values) - 1.0


def _shared_difference(first: Sequence[Measured], second: Sequence[Measured]) -> tuple[float, float]:
    parts = [_cross(first, first), _cross(second, second), _cross(first, second)]
    return max(parts[0][0] + parts[1][0] - 2 * parts[2][0], 0.0), min(freedom for _, freedom in parts)


def _cross(first: Sequence[Measured], second: Sequence[Measured]) -> tuple[float, float]:
    """(mean covariance of the errors of two different runs, degrees of freedom); 0 if none can be paired."""
    covariances, freedom = [], np.inf
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            if (first is second and i <= j) or a.resampling is None or b.resampling is None:
                continue
            if a.resampling.pairs_with(b.resampling):
                covariances.append(a.resampling.covariance(b.resampling))
                freedom = min(freedom, a.resampling.dof, b.resampling.dof)
    return (float(np.mean(covariances)) if covariances else 0.0), freedom


def _satterthwaite(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(sum of the variances, degrees of freedom of the sum)."""
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / freedom for variance, freedom in parts)
    return total, total**2 / below if below > 0 else min(freedom for _, freedom in parts)
