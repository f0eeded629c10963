"""Binomial statistics: exact intervals for proportions, and the distributions behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triptych.metrics.stats.quantiles import LEVEL


@dataclass(frozen=True)
class Proportion:
    """A proportion of independent images with its exact 95% interval (Clopper-Pearson)."""

    value: float
    low: float
    high: float
    count: int
    total: int

    @classmethod
    def of(cls, count: int, total: int) -> Proportion:
        """The proportion count / total.

        Args:
            count: successes, 0..total.
            total: trials, at least 1.

        Returns:
            The proportion with its interval.
        """
        return cls(count / total, *clopper_pearson(count, total), count, total)


def clopper_pearson(successes: float, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval for a binomial proportion: its coverage is at least `level` for every proportion.

    The end points are the proportions at which as many successes or more, or as many or fewer, have
    probability (1 - level) / 2: quantiles of beta distributions.

    Args:
        successes: 0..trials. May be fractional, as the mean count over several sets of the same trials:
            the interval is then that of a single count, hence conservative.
        trials: at least 1.
        level: confidence level in (0, 1).

    Returns:
        (low, high), each in [0, 1].

    Raises:
        ValueError: if the count or the level is out of range.

    References:
        Clopper & Pearson 1934, "The use of confidence or fiducial limits".
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            f"expected 0 <= successes <= trials and trials >= 1, got {successes} successes in {trials} trials"
        )
    if not 0 < level < 1:
        raise ValueError(f"the confidence level must lie between 0 and 1, got {level}")
    low, high = clopper_pearson_bounds(np.array([successes]), trials, (1 - level) / 2)
    return float(low[0]), float(high[0])


def clopper_pearson_bounds(successes: np.ndarray, trials: int, risk: float) -> tuple[np.ndarray, np.ndarray]:
    """One-sided exact bounds for several proportions of the same number of trials.

    Args:
        successes: (N,), each in 0..trials.
        trials: at least 1.
        risk: probability, at most, that a single bound is wrong; in (0, 1).

    Returns:
        Lower and upper bounds, (N,) each, in [0, 1].
    """
    from scipy.stats import beta  # half a second to import: only where an interval is computed

    k = np.asarray(successes, dtype=np.float64)
    low = np.where(k > 0, beta.ppf(risk, np.maximum(k, 1e-300), trials - k + 1), 0.0)
    high = np.where(k < trials, beta.ppf(1 - risk, k + 1, np.maximum(trials - k, 1e-300)), 1.0)
    return low, high


def binomial_pmf(x: np.ndarray, n: int, p: float) -> np.ndarray:
    """Probabilities P(X = x), X ~ Binomial(n, p).

    Args:
        x: (K,) int, each in 0..n.
        n: number of trials.
        p: probability of success, in [0, 1].

    Returns:
        (K,) probabilities.
    """
    from scipy.stats import binom

    return np.asarray(binom.pmf(x, n, p))


def beta_binomial_tail(count: int, images: int, rank: int, reference: int) -> float:
    """P(X >= count), X ~ BetaBinomial(images, rank, reference + 1 - rank).

    X is how many of `images` lie below the rank-th smallest of `reference` values of the same distribution:
    the probability mass below that order statistic is Beta(rank, reference + 1 - rank) distributed.

    Args:
        count: number of images below the threshold.
        images: number of tested images.
        rank: which of the reference values is the threshold, 1..reference.
        reference: number of reference values.

    Returns:
        The probability, in [0, 1].
    """
    from scipy.stats import betabinom  # half a second to import: only where a test is computed

    return min(
        float(betabinom.pmf(np.arange(count, images + 1), images, rank, reference + 1 - rank).sum()), 1.0
    )
