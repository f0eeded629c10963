"""Which classes of the data the samples cover, and how evenly: from class probabilities or counts.

A classifier assigns bad images to some class too, so a histogram of predicted classes flatters a bad model.
Every figure here can therefore be restricted to confident predictions (`confidence=0.9`).
"""

from __future__ import annotations

import numpy as np
from pydantic import AliasChoices, Field
from scipy.special import xlogy

from triptych.core.config import Record
from triptych.metrics.stats.binomial import binomial_pmf, clopper_pearson_bounds
from triptych.metrics.stats.quantiles import LEVEL, normal_quantile

VERSION = 1
MIN_SHARE = 0.1  # of a class's share in the data: a class with less counts as missing
CONFIDENT = 0.9  # class probability above which a prediction counts as confident


class ModeCoverage(Record):
    """How many of the data's classes the samples cover."""

    total: int = Field(validation_alias=AliasChoices("total", "of"))
    """Number of classes in the data."""
    covered: int
    """Classes with at least `min_share` of their share in the data, and at least one sample."""
    low: int
    """Classes shown to be covered beyond sampling noise: the interval for `covered` is low..high."""
    high: int
    """All classes except those shown to be missing."""
    missed: tuple[int, ...]
    """Numbers of the classes shown to be missing."""
    expected: float
    """Expectation of `covered` if the samples came from the data distribution."""
    seen: int
    """Classes with at least one sample: the count that is published for stacked MNIST."""
    seen_expected: float
    """Expectation of `seen` if the samples came from the data distribution."""
    seen_std: float = Field(validation_alias=AliasChoices("seen_std", "seen_spread"))
    """Standard deviation of `seen` in that case."""
    min_share: float = Field(validation_alias=AliasChoices("min_share", "due"))
    level: float
    """Confidence level of low..high, over all classes together."""


class ClassDiversity(Record):
    """Class histogram of the samples, compared with that of the data."""

    n: int
    n_real: int
    confidence: float = Field(validation_alias=AliasChoices("confidence", "sure"))
    """Only images whose top class probability exceeds this were counted; 0: all."""
    counted: int
    """Number of samples counted."""
    shares: tuple[float, ...]
    """Share of each class among all samples, in the order of the classes."""
    shares_real: tuple[float, ...]
    entropy: float | None
    """Entropy of the counted samples' histogram in nats; None if none was counted."""
    entropy_share: float | None
    """Entropy divided by log C: 1 is a uniform distribution over all classes."""
    entropy_real: float
    """Entropy of the real images' histogram in nats."""
    entropy_expected: float | None
    """Expectation of `entropy` if the samples came from the data distribution: slightly below its entropy."""
    kl: float | None
    """KL(samples || data) of the histograms in nats; None if none was counted or the data lack a class."""
    kl_low: float | None
    kl_high: float | None
    kl_expected: float | None
    """Expectation of `kl` if the samples came from the data distribution: its floor at this n."""
    modes: ModeCoverage


def class_diversity(
    fake: np.ndarray, real: np.ndarray, confidence: float = 0.0, min_share: float = MIN_SHARE
) -> ClassDiversity:
    """Compare the class histogram of samples with that of the data: entropy, KL divergence, mode coverage.

    Both sets are counted by predicted class, so that biases of the classifier are in both histograms.

    Args:
        fake: (N, C) class probabilities of generated images.
        real: (M, C) class probabilities of real images, from the same classifier.
        confidence: count only images whose top class probability exceeds this, in [0, 1).
        min_share: see `mode_coverage`.

    Returns:
        The comparison.

    Raises:
        ValueError: if shapes do not fit, rows are not probabilities, or no real image is counted.
    """
    fake, real = _probabilities(fake, "fake"), _probabilities(real, "real")
    if fake.shape[1] != real.shape[1]:
        raise ValueError(
            f"got {fake.shape[1]} classes for fake images and {real.shape[1]} for real ones: both must "
            "come from the same classifier"
        )
    counts, real_counts = class_counts(fake, confidence), class_counts(real, confidence)
    return class_diversity_of_counts(counts, real_counts, len(fake), len(real), confidence, min_share)


def class_diversity_of_counts(
    counts: np.ndarray,
    real: np.ndarray,
    n: int | None = None,
    n_real: int | None = None,
    confidence: float = 0.0,
    min_share: float = MIN_SHARE,
) -> ClassDiversity:
    """Like `class_diversity`, from the number of images of each class.

    The data's histogram is taken as the true distribution: with few real images its own sampling noise adds
    to the KL divergence.

    Args:
        counts: (C,) generated images of each class.
        real: (C,) real images of each class.
        n: number of generated images; None takes the sum of the counts. More than the sum if some images
            were assigned no class.
        n_real: number of real images, likewise.
        confidence: recorded in the result.
        min_share: see `mode_coverage`.

    Returns:
        The comparison.

    Raises:
        ValueError: if counts are negative or not integers, differ in length, or all real counts are 0.
    """
    counts, real = _counts(counts, "fake"), _counts(real, "real")
    if len(counts) != len(real):
        raise ValueError(f"got {len(counts)} classes for fake images and {len(real)} for real ones")
    counted, n, n_real = int(counts.sum()), n or int(counts.sum()), n_real or int(real.sum())
    if real.sum() == 0:
        raise ValueError("no real image was assigned a class, so there is nothing to compare with")
    distribution = real / real.sum()
    floor = expected_entropy(distribution, counted) if counted else None
    kl = kl_divergence(counts, distribution) if counted else np.inf
    reach = normal_quantile((1 + LEVEL) / 2) * _kl_error(counts, distribution) if np.isfinite(kl) else 0.0
    finite = bool(np.isfinite(kl))
    return ClassDiversity(
        n=n,
        n_real=n_real,
        confidence=confidence,
        counted=counted,
        shares=tuple((counts / max(n, 1)).tolist()),
        shares_real=tuple((real / n_real).tolist()),
        entropy=entropy(counts) if counted else None,
        entropy_share=entropy(counts) / float(np.log(len(counts))) if counted and len(counts) > 1 else None,
        entropy_real=entropy(real),
        entropy_expected=floor,
        kl=kl if finite else None,
        kl_low=max(kl - reach, 0.0) if finite else None,
        kl_high=kl + reach if finite else None,
        kl_expected=None if floor is None else entropy(distribution) - floor,
        modes=mode_coverage(counts, real / n_real, n, min_share),
    )


def class_counts(probabilities: np.ndarray, confidence: float = 0.0) -> np.ndarray:
    """Number of images predicted as each class.

    Args:
        probabilities: (N, C) class probabilities.
        confidence: count only images whose top class probability exceeds this.

    Returns:
        (C,) int64.
    """
    p = np.asarray(probabilities)
    return np.bincount(p.argmax(1)[p.max(1) > confidence], minlength=p.shape[1])


def entropy(counts: np.ndarray) -> float:
    """Entropy -sum p log p of a histogram of counts, (C,), at least one of them positive, in nats."""
    p = np.asarray(counts, dtype=np.float64) / np.sum(counts)
    return float(-xlogy(p, p).sum()) + 0.0  # not -0


def kl_divergence(counts: np.ndarray, reference: np.ndarray) -> float:
    """KL divergence sum p log(p / q) between two histograms, in nats.

    Args:
        counts: (C,) histogram of p, at least one positive.
        reference: (C,) histogram of q, at least one positive.

    Returns:
        The divergence, >= 0; infinite if q lacks a class that p has.
    """
    p = np.asarray(counts, dtype=np.float64) / np.sum(counts)
    q = np.asarray(reference, dtype=np.float64) / np.sum(reference)
    if (p[q == 0] > 0).any():
        return float("inf")
    return max(float((xlogy(p, p) - xlogy(p, q)).sum()), 0.0)


def expected_entropy(distribution: np.ndarray, n: int) -> float:
    """Expected entropy of the histogram of n draws: exact, and below the entropy of the distribution.

    E[H] = -sum over classes of E[(X / n) log(X / n)], X ~ Binomial(n, p); approximately H - (C - 1) / 2n.

    Args:
        distribution: (C,) probabilities, summing to 1.
        n: number of draws, at least 1.

    Returns:
        The expectation in nats.

    References:
        Miller 1955, "Note on the bias of information estimates".
    """
    values, times = np.unique(np.asarray(distribution, dtype=np.float64), return_counts=True)
    total = 0.0
    for p, often in zip(values, times, strict=True):
        reach = 12 * np.sqrt(n * p * (1 - p)) + 20  # the tails beyond it are below float64 resolution
        x = np.arange(max(1, int(n * p - reach)), min(n, int(n * p + reach)) + 1)
        total -= often * float((binomial_pmf(x, n, p) * xlogy(x / n, x / n)).sum())
    return total + 0.0


def mode_coverage(
    counts: np.ndarray, distribution: np.ndarray, n: int, min_share: float = MIN_SHARE
) -> ModeCoverage:
    """How many of the data's classes the samples cover.

    A class is covered if the model gives it at least `min_share` of its share in the data. Of n samples this
    is known with sampling noise: an exact binomial bound for each class, at a risk of 5% / C so that all C
    hold together, shows some classes to be covered and some to be missing; the true number lies between.
    With few samples of a class neither may be shown.

    Args:
        counts: (C,) samples of each class among n.
        distribution: (C,) shares in the data, summing to at most 1 (less if some real images were assigned
            no class).
        n: number of samples, at least the sum of counts.
        min_share: share of a class's share in the data, in [0, 1]; 0 asks for a single sample, and shows
            nothing to be missing.

    Returns:
        The coverage with its interval.

    Raises:
        ValueError: if no class has a share, n is below the sum of counts, or `min_share` is out of range.
    """
    counts, shares = _counts(counts, "fake"), np.asarray(distribution, dtype=np.float64)
    if n < max(counts.sum(), 1) or shares.sum() > 1 + 1e-9 or not (shares >= 0).all() or shares.sum() == 0:
        raise ValueError(f"expected shares that sum to at most 1 and n >= {counts.sum()}, got n = {n}")
    if not 0 <= min_share <= 1:
        raise ValueError(f"min_share must lie in [0, 1], got {min_share}")
    present = np.flatnonzero(shares > 0)
    drawn, p = counts[present], shares[present]
    needed = np.maximum(np.ceil(min_share * n * p - 1e-9), 1)  # samples
    low, high = clopper_pearson_bounds(drawn, n, (1 - LEVEL) / len(present))
    shown, missed = (low >= min_share * p) & (drawn > 0), high < min_share * p
    misses = (1 - p) ** n  # probability that none of n draws from the data falls into the class
    return ModeCoverage(
        total=len(present),
        covered=int((drawn >= needed).sum()),
        low=int(shown.sum()),
        high=len(present) - int(missed.sum()),
        missed=tuple(present[missed].tolist()),
        expected=float(sum(_at_least(int(k), n, share) for k, share in zip(needed, p, strict=True))),
        seen=int((drawn > 0).sum()),
        seen_expected=float((1 - misses).sum()),
        seen_std=_seen_std(p, misses, n),
        min_share=min_share,
        level=LEVEL,
    )


def _seen_std(p: np.ndarray, misses: np.ndarray, n: int) -> float:
    """Standard deviation of the number of classes that n draws from the data distribution show.

    Classes j and k are both missed with probability (1 - p_j - p_k)^n: the covariances are exact.
    """
    variance = float((misses * (1 - misses)).sum())
    for j in range(len(p) - 1):
        both = np.clip(1 - p[j] - p[j + 1 :], 0, None) ** n
        variance += 2 * float((both - misses[j] * misses[j + 1 :]).sum())
    return float(np.sqrt(max(variance, 0.0)))


def _at_least(k: int, n: int, p: float) -> float:
    """P(X >= k), X ~ Binomial(n, p), by summing the smaller tail."""
    return 1.0 - float(binomial_pmf(np.arange(k), n, p).sum())


def _kl_error(counts: np.ndarray, reference: np.ndarray) -> float:
    """Jackknife standard error of `kl_divergence`; leaving out any image of a class has the same effect."""
    n = int(counts.sum())
    if n < 2:
        return 0.0
    present = counts > 0
    c, q = counts[present].astype(np.float64), reference[present]
    terms, less = xlogy(c, c / q), xlogy(c - 1, (c - 1) / q)
    without = (terms.sum() - terms + less) / (n - 1) - np.log(n - 1)  # KL without one image of the class
    mean = (c * without).sum() / n
    return float(np.sqrt((n - 1) / n * (c * (without - mean) ** 2).sum()))


def _counts(values: np.ndarray, name: str) -> np.ndarray:
    counts = np.asarray(values)
    if counts.ndim != 1 or len(counts) == 0 or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise ValueError(
            f"expected {name} counts of shape (C,), non-negative integers, got {counts.shape} {counts.dtype}"
        )
    return counts.astype(np.int64)


def _probabilities(values: np.ndarray, name: str) -> np.ndarray:
    p = np.asarray(values, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 2 or len(p) == 0:
        raise ValueError(f"expected {name} probabilities of shape (N, C), C >= 2, got {p.shape}")
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(1) - 1).max() > 1e-4:
        raise ValueError(f"each row of {name} must be probabilities: no NaN, no negative value, summing to 1")
    return p
