"""Learning-rate schedules: factors on the configured learning rate, functions of the training's progress."""

from __future__ import annotations

import math

START = 1e-4  # progress added during warm-up, so that the first step moves the weights


def constant(progress: float) -> float:
    """The factor 1 throughout."""
    return 1.0


def cosine_to(progress: float, end: float = 0.0) -> float:
    """Decay along half a cosine from 1 to a final share, without restarts.

    Args:
        progress: Share of the planned steps done, in [0, 1].
        end: Factor at progress 1, in [0, 1].

    Returns:
        The factor, in [end, 1].

    References:
        Loshchilov and Hutter 2017, "SGDR: Stochastic gradient descent with warm restarts", eq. 5.
    """
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * progress))


def warmup_constant(progress: float, warmup: float = 0.02) -> float:
    """Linear warm-up, then the factor 1.

    Args:
        progress: Share of the planned steps done, in [0, 1].
        warmup: Share of the planned steps over which the factor rises, above 0.

    Returns:
        The factor, in [0, 1].
    """
    return min(1.0, (progress + START) / warmup)


def warmup_cosine(progress: float, warmup: float = 0.02) -> float:
    """Linear warm-up, then decay along half a cosine to 0.

    Args:
        progress: Share of the planned steps done, in [0, 1].
        warmup: Share of the planned steps over which the factor rises, above 0.

    Returns:
        The factor, in [0, 1].
    """
    return warmup_constant(progress, warmup) * cosine_to(progress)
