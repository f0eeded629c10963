"""What a count out of n pictures says of the share it was drawn from."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv

LEVEL = 0.95


def exact_interval(successes: float, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Clopper and Pearson's interval (1934) for a share: covers it at least as often as `level` says.

    The ends are the shares at which so many successes or more, so many or fewer, have probability
    (1 - level) / 2 each: quantiles of a beta distribution.

    successes: 0..trials; a mean of several counts over the same pictures may be a fraction, and
    then the interval is that of a single count, so too wide rather than too narrow. trials: at
    least 1. Returns (low, high). Raises ValueError on anything else.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials and trials >= 1, got {successes} of {trials}")
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, got {level}")
    low, high = exact_bounds(np.array([successes]), trials, (1 - level) / 2)
    return float(low[0]), float(high[0])


def exact_bounds(successes: np.ndarray, trials: int, risk: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of many shares, each wrong with probability at most `risk`. (N,) -> 2 x (N,)."""
    k = np.asarray(successes, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # the branch not taken has a parameter 0
        low = np.where(k > 0, betaincinv(np.maximum(k, 1e-300), trials - k + 1, risk), 0.0)
        high = np.where(k < trials, betaincinv(k + 1, np.maximum(trials - k, 1e-300), 1 - risk), 1.0)
    return low, high
