"""The confidence level of all intervals, and the quantiles that go with it."""

from __future__ import annotations

from functools import lru_cache

LEVEL = 0.95  # two-sided confidence level


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution at a probability in (0, 1)."""
    from scipy.stats import norm  # half a second to import: only where an interval is computed

    return float(norm.ppf(probability))


@lru_cache(maxsize=1024)
def t_quantile(dof: float, level: float = LEVEL) -> float:
    """Half-width of a two-sided Student t interval, in standard errors.

    Args:
        dof: degrees of freedom, > 0; infinity gives the normal quantile.
        level: confidence level in (0, 1).

    Returns:
        The (1 + level) / 2 quantile of the t distribution.
    """
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, dof))
