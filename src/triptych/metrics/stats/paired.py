"""Intervals for differences of scores, for the mean of several runs, and for what another seed would give.

There are two levels. A run's score has an error because images are a sample (generated and real ones), and
runs of one model differ because their seeds do. `difference` and `mean_of` make statements about the given
runs alone; `over_runs` and `difference_over_runs` about runs with other seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from triptych.metrics.stats.intervals import Estimate, interval, wilson_interval
from triptych.metrics.stats.quantiles import LEVEL, normal_quantile, t_quantile
from triptych.metrics.stats.resampling import ResamplingErrors, combine_errors

MIN_RUNS = 3  # fewer seeds give no usable standard deviation over runs
POWER = 0.8  # of the test that a suggested number of images or runs is for
MAX_RUNS = 1000


class HasInterval(Protocol):
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
    """The first score minus the second, with an interval.

    `factor` is the multiple of the present sample size at which the difference would be significant: of
    the images, real and generated, for a difference of two runs; of the runs on each side for a difference
    of models. It assumes that the true difference is the one observed, that the width of the interval goes
    as 1/sqrt(n), and a power of 0.8. Infinity: no sample size would do.
    """

    value: float
    low: float
    high: float
    method: str
    factor: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def difference(a: HasInterval, b: HasInterval, level: float = LEVEL) -> Difference:
    """Difference of two scores with comparable cards: a - b.

    If both scores have the same grouping of the same real images, their errors are paired and shared parts
    cancel. Otherwise they count as independent, which is conservative for scores that share real images.
    Proportions use the Wilson interval of each score, combined with the correlation of the errors, so that
    two proportions of 1 still have a width. KID does the same where that is wider, because the upper end of
    its interval holds more than its errors alone.

    Args:
        a: the first score.
        b: the second score.
        level: confidence level in (0, 1).

    Returns:
        The difference with its interval.

    References:
        Zou & Donner 2008, "Construction of confidence limits about effect measures", eq. 8.
    """
    paired = a.resampling is not None and b.resampling is not None and a.resampling.pairs_with(b.resampling)
    gap = a.value - b.value
    dof = min((s.dof for s in (a.resampling, b.resampling) if s is not None), default=np.inf)
    if paired and a.trials is None and b.trials is None:
        assert a.resampling is not None and b.resampling is not None
        paired_interval = interval(
            gap, combine_errors([a.resampling, b.resampling], [1.0, -1.0]), level=level
        )
        low, high = paired_interval.low, paired_interval.high
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
    pairing = "paired" if paired else "not paired, independent"
    return Difference(gap, low, high, f"{pairing}: {a.method}", _factor(gap, low, high, dof, level))


def mean_of(runs: Sequence[HasInterval]) -> Estimate:
    """Mean of the scores of these runs, with an interval for their mean expectation.

    The interval covers the sampling error of generated and real images only, not the variation over seeds.
    """
    value = float(np.mean([run.value for run in runs]))
    errors = [run.resampling for run in runs if run.resampling is not None]
    trials = [run.trials for run in runs if run.trials is not None]
    if len(runs) == 1:
        only = runs[0]
        return Estimate(only.value, only.low, only.high, only.method, only.resampling, only.trials)
    if len(errors) < len(runs) or not all(errors[0].pairs_with(e) for e in errors):
        low, high = (float(np.mean([getattr(run, end) for run in runs])) for end in ("low", "high"))
        return Estimate(value, low, high, "mean of the runs' own intervals", None)
    combined = combine_errors(errors, [1 / len(runs)] * len(runs))
    return wilson_interval(value, combined, min(trials)) if trials else interval(value, combined)


def over_runs(runs: Sequence[HasInterval], level: float = LEVEL) -> tuple[float, float, str]:
    """Interval for the expected score of a run with another seed.

    The variance of the runs' scores contains everything that differs from run to run: the training seed and
    the draw of the samples, so a t interval of the scores needs no term for the latter. It does not contain
    what all runs share, the real images; that is the covariance of their errors, added here.

    Raises ValueError if there are fewer than 3 runs.

    Args:
        runs: scores of at least 3 runs with different seeds.
        level: confidence level in (0, 1).

    Returns:
        (low, high, method).

    References:
        Satterthwaite 1946, "An approximate distribution of estimates of variance components".
    """
    _check_run_count(runs)
    value = float(np.mean([run.value for run in runs]))
    shared, shared_dof = _shared_covariance(runs, runs)
    variance, dof = _satterthwaite([_between(runs), (max(shared, 0.0), shared_dof)])
    reach = t_quantile(dof, level) * np.sqrt(variance)
    low, high = value - reach, value + reach
    if all(run.trials is not None for run in runs):
        low, high = max(low, 0.0), min(high, 1.0)
    return low, high, f"t over {len(runs)} runs, {dof:.1f} degrees of freedom"


def difference_over_runs(
    first: Sequence[HasInterval], second: Sequence[HasInterval], level: float = LEVEL
) -> Difference:
    """Difference of two models' expected scores by Welch's t test on the scores of their runs.

    To the variances over runs comes what the real images add as far as the two models do not share it:
    c11 + c22 - 2 c12, where c is the covariance of the errors of two different runs.

    Raises ValueError if a side has fewer than 3 runs.

    Args:
        first: scores of at least 3 runs of the first model, with different seeds.
        second: scores of at least 3 runs of the second model.
        level: confidence level in (0, 1).

    Returns:
        The difference with its interval; `factor` is of the number of runs.

    References:
        Welch 1947, "The generalization of Student's problem".
    """
    for runs in (first, second):
        _check_run_count(runs)
    gap = float(np.mean([r.value for r in first]) - np.mean([r.value for r in second]))
    between = [_between(runs) for runs in (first, second)]
    shared = _shared_difference(first, second)
    variance, dof = _satterthwaite([*between, shared])
    if variance == 0:  # all runs have the same score: only the sampling error of images is left
        return difference(mean_of(first), mean_of(second), level)
    reach = t_quantile(dof, level) * np.sqrt(variance)
    counts = min(len(first), len(second))
    factor = _runs_factor(gap, between[0][0] + between[1][0], shared[0], counts, level)
    method = f"Welch's t over {len(first)} and {len(second)} runs, {dof:.1f} degrees of freedom"
    return Difference(gap, gap - reach, gap + reach, method, factor)


def _arms(m: HasInterval, level: float) -> tuple[float, float]:
    """Lengths of the interval below and above the value, at another level."""
    if m.resampling is None:
        ratio = normal_quantile((1 + level) / 2) / normal_quantile((1 + LEVEL) / 2)
        return (m.value - m.low) * ratio, (m.high - m.value) * ratio
    if m.trials is not None:
        estimate = wilson_interval(m.value, m.resampling, m.trials, level)
    else:
        estimate = interval(m.value, m.resampling, level=level)
    return m.value - estimate.low, estimate.high - m.value


def _hypotenuse(a: float, b: float, correlation: float) -> float:
    return float(np.sqrt(max(a * a + b * b - 2 * correlation * a * b, 0.0)))


def _correlation(a: ResamplingErrors, b: ResamplingErrors) -> float:
    scale = np.sqrt(a.variance() * b.variance())
    return float(np.clip(a.covariance(b) / scale, -1.0, 1.0)) if scale > 0 else 0.0


def _factor(gap: float, low: float, high: float, dof: float, level: float) -> float:
    """Factor by which the number of images should grow; see Difference."""
    reach = gap - low if gap > 0 else high - gap
    if gap == 0:
        return float(np.inf) if reach > 0 else 1.0
    return float((reach / abs(gap) * (1 + normal_quantile(POWER) / t_quantile(dof, level))) ** 2)


def _runs_factor(gap: float, between: float, shared: float, runs: int, level: float) -> float:
    """Factor by which the number of runs should grow: the real images' part does not shrink with it."""
    power = normal_quantile(POWER)
    for wanted in range(runs, MAX_RUNS + 1):
        error = np.sqrt(between * runs / wanted + shared)
        if abs(gap) >= error * (t_quantile(2 * wanted - 2, level) + power):
            return wanted / runs
    return float(np.inf)


def _check_run_count(runs: Sequence[HasInterval]) -> None:
    if len(runs) < MIN_RUNS:
        raise ValueError(
            f"{len(runs)} runs are too few for a statement about other seeds: train at least {MIN_RUNS} runs "
            "with different seeds, or compare these runs only"
        )


def _between(runs: Sequence[HasInterval]) -> tuple[float, float]:
    """(variance of the mean over runs, degrees of freedom)."""
    values = [run.value for run in runs]
    return float(np.var(values, ddof=1)) / len(values), len(values) - 1.0


def _shared_difference(first: Sequence[HasInterval], second: Sequence[HasInterval]) -> tuple[float, float]:
    """(variance that shared real images add to the difference of two models, degrees of freedom)."""
    parts = [
        _shared_covariance(first, first),
        _shared_covariance(second, second),
        _shared_covariance(first, second),
    ]
    return max(parts[0][0] + parts[1][0] - 2 * parts[2][0], 0.0), min(dof for _, dof in parts)


def _shared_covariance(first: Sequence[HasInterval], second: Sequence[HasInterval]) -> tuple[float, float]:
    """(mean covariance of the errors of two different runs, degrees of freedom); 0 if none can be paired."""
    covariances, dof = [], np.inf
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            if (first is second and i <= j) or a.resampling is None or b.resampling is None:
                continue
            if a.resampling.pairs_with(b.resampling):
                covariances.append(a.resampling.covariance(b.resampling))
                dof = min(dof, a.resampling.dof, b.resampling.dof)
    return (float(np.mean(covariances)) if covariances else 0.0), dof


def _satterthwaite(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(sum of the variances, effective degrees of freedom of the sum)."""
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / dof for variance, dof in parts)
    return total, total**2 / below if below > 0 else min(dof for _, dof in parts)
