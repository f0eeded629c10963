"""How many of the data's classes the samples show, and how evenly: of class probabilities or counts.

A classifier takes rubbish for some class too, so a histogram of first choices flatters a bad model.
Every figure here can therefore be had of the sure pictures alone (`sure=0.9`).
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, xlogy

from triptych.core.config import Record
from triptych.metrics.stats.binomial import clopper_pearson_bounds
from triptych.metrics.stats.quantiles import LEVEL, normal_quantile

VERSION = 1
MIN_SHARE = 0.1  # of its share in the data: with less, a class counts as missing
CONFIDENT = 0.9


class ModeCoverage(Record):
    """How many of the classes that the data have the samples have too."""

    total: int
    """Classes that the data have."""
    covered: int
    """Those with at least `due` of the share that the data give them (and at least one sample)."""
    low: int
    """Those proved to have it, sampling noise considered: the interval for `covered` is low..high."""
    high: int
    """All but those proved to be short of it."""
    missed: tuple[int, ...]
    """Numbers of the classes proved short of it."""
    expected: float
    """What `covered` would be on average if the samples were the data's own."""
    seen: int
    """Classes with at least one sample: the count that is published for stacked MNIST."""
    seen_expected: float
    """What `seen` would be on average if the samples were the data's own."""
    seen_std: float
    """Its standard deviation then."""
    min_share: float
    level: float
    """How often low..high holds the truth, at least, over all classes together."""


class ClassDiversity(Record):
    """The samples' classes beside the data's."""

    n: int
    n_real: int
    confidence: float
    """Only pictures with a class of more than this probability were counted; 0: all."""
    counted: int
    """How many samples that left."""
    shares: tuple[float, ...]
    """Of all samples, in the order of the classes."""
    shares_real: tuple[float, ...]
    entropy: float | None
    """Of the counted samples' histogram, nats; None where none was counted."""
    entropy_share: float | None
    """The same over log C: 1 is an even spread over all classes."""
    entropy_real: float
    """Of the real pictures' histogram, nats."""
    entropy_expected: float | None
    """What `entropy` would be on average if the samples were the data's own: a little less."""
    kl: float | None
    """KL(samples' histogram || data's), nats; None where none was counted or the data lack a class."""
    kl_low: float | None
    kl_high: float | None
    kl_expected: float | None
    """What `kl` would be on average if the samples were the data's own: its floor at this n."""
    modes: ModeCoverage


def class_diversity(
    fake: np.ndarray, real: np.ndarray, confidence: float = 0.0, min_share: float = MIN_SHARE
) -> ClassDiversity:
    """The class histogram of samples against the data's: entropy, KL, modes covered.

    fake: (N, C), real: (M, C) class probabilities from one classifier. Both are counted by first
    choice, so a classifier's habits are in both histograms and cancel. sure: count only pictures whose
    first choice has more than this probability. due: see `modes`. Raises ValueError on other
    shapes, on rows that are not probabilities, and where no real picture is left.
    """
    fake, real = _probabilities(fake, "fake"), _probabilities(real, "real")
    if fake.shape[1] != real.shape[1]:
        raise ValueError(
            f"{fake.shape[1]} classes of the fake pictures, {real.shape[1]} of the real ones: "
            "both must come from the same classifier"
        )
    counts, law = class_counts(fake, confidence), class_counts(real, confidence)
    return class_diversity_of_counts(counts, law, len(fake), len(real), confidence, min_share)


def class_diversity_of_counts(
    counts: np.ndarray,
    real: np.ndarray,
    n: int | None = None,
    n_real: int | None = None,
    confidence: float = 0.0,
    min_share: float = MIN_SHARE,
) -> ClassDiversity:
    """Like `diversity`, of how often each class was counted: (C,) among n and n_real pictures.

    n, n_real: None takes the sums; more than the sum where some pictures were given no class.
    The data's histogram is taken for the truth: with few real pictures its own noise adds to KL.
    Raises ValueError on counts below 0, unlike lengths, or none of the real pictures.
    """
    counts, real = _counts(counts, "fake"), _counts(real, "real")
    if len(counts) != len(real):
        raise ValueError(f"{len(counts)} classes of the fake pictures, {len(real)} of the real ones")
    counted, n, n_real = int(counts.sum()), n or int(counts.sum()), n_real or int(real.sum())
    if real.sum() == 0:
        raise ValueError("no real picture was given a class: nothing to compare with")
    law = real / real.sum()
    floor = expected_entropy(law, counted) if counted else None
    kl = kl_divergence(counts, law) if counted else np.inf
    reach = normal_quantile((1 + LEVEL) / 2) * _kl_error(counts, law) if np.isfinite(kl) else 0.0
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
        kl_expected=None if floor is None else entropy(law) - floor,
        modes=mode_coverage(counts, real / n_real, n, min_share),
    )


def class_counts(probabilities: np.ndarray, confidence: float = 0.0) -> np.ndarray:
    """How often each class is the first choice, with more than `sure` probability. (N, C) -> (C,) int64."""
    p = np.asarray(probabilities)
    return np.bincount(p.argmax(1)[p.max(1) > confidence], minlength=p.shape[1])


def entropy(counts: np.ndarray) -> float:
    """H = -sum p log p of the histogram, nats. counts: (C,), at least one above 0."""
    p = np.asarray(counts, dtype=np.float64) / np.sum(counts)
    return float(-xlogy(p, p).sum()) + 0.0  # not -0


def kl_divergence(counts: np.ndarray, law: np.ndarray) -> float:
    """KL = sum p log(p / q) of two histograms, nats; infinite where q lacks a class that p has. (C,) each."""
    p = np.asarray(counts, dtype=np.float64) / np.sum(counts)
    q = np.asarray(law, dtype=np.float64) / np.sum(law)
    if (p[q == 0] > 0).any():
        return float("inf")
    return max(float((xlogy(p, p) - xlogy(p, q)).sum()), 0.0)


def expected_entropy(law: np.ndarray, n: int) -> float:
    """The entropy that the histogram of n pictures has on average: below the law's, exactly.

    E[H] = -sum over classes of E[(X / n) log(X / n)], X binomial(n, p); about H - (C - 1) / 2n
    (Miller 1955). law: (C,) shares that sum to 1. n: at least 1.
    """
    values, times = np.unique(np.asarray(law, dtype=np.float64), return_counts=True)
    total = 0.0
    for p, often in zip(values, times, strict=True):
        spread = 12 * np.sqrt(n * p * (1 - p)) + 20  # beyond it lies less than float64 can add
        x = np.arange(max(1, int(n * p - spread)), min(n, int(n * p + spread)) + 1)
        total -= often * float((_binomial(x, n, p) * xlogy(x / n, x / n)).sum())
    return total + 0.0


def mode_coverage(counts: np.ndarray, law: np.ndarray, n: int, min_share: float = MIN_SHARE) -> ModeCoverage:
    """How many of the data's classes the samples cover.

    A class is covered if the model gives it at least `due` of its share in the data, `law`.
    Of n samples that is known with noise: an exact binomial bound for each class, at a risk of
    5 % / C (so that all C hold together), proves some classes covered and some missed, and
    the true number lies between. With few samples a class nothing may be proved.

    counts: (C,) samples of each class among n. law: (C,) shares in the data, sum at most 1 (less where
    some pictures were given no class). due: 0..1; 0 asks for one sample only, and proves nothing missed.
    Raises ValueError where no class has a share, or n is below the sum of counts.
    """
    counts, law = _counts(counts, "fake"), np.asarray(law, dtype=np.float64)
    if n < max(counts.sum(), 1) or law.sum() > 1 + 1e-9 or not (law >= 0).all() or law.sum() == 0:
        raise ValueError(f"expected shares that sum to at most 1 and n >= {counts.sum()}, got n = {n}")
    if not 0 <= min_share <= 1:
        raise ValueError(f"due is a share of a share, 0..1, got {min_share}")
    present = np.flatnonzero(law > 0)
    held, p = counts[present], law[present]
    needed = np.maximum(np.ceil(min_share * n * p - 1e-9), 1)  # samples
    low, high = clopper_pearson_bounds(held, n, (1 - LEVEL) / len(present))
    proved, missed = (low >= min_share * p) & (held > 0), high < min_share * p
    misses = (1 - p) ** n  # chance that no sample of the data's own falls into the class
    return ModeCoverage(
        total=len(present),
        covered=int((held >= needed).sum()),
        low=int(proved.sum()),
        high=len(present) - int(missed.sum()),
        missed=tuple(present[missed].tolist()),
        expected=float(sum(_at_least(int(k), n, share) for k, share in zip(needed, p, strict=True))),
        seen=int((held > 0).sum()),
        seen_expected=float((1 - misses).sum()),
        seen_std=_seen_spread(p, misses, n),
        min_share=min_share,
        level=LEVEL,
    )


def _seen_spread(p: np.ndarray, misses: np.ndarray, n: int) -> float:
    """Standard deviation of the number of classes that n of the data's own pictures show.

    Classes j and k are both missed with probability (1 - p_j - p_k)^n: the covariances are exact.
    """
    variance = float((misses * (1 - misses)).sum())
    for j in range(len(p) - 1):
        both = np.clip(1 - p[j] - p[j + 1 :], 0, None) ** n
        variance += 2 * float((both - misses[j] * misses[j + 1 :]).sum())
    return float(np.sqrt(max(variance, 0.0)))


def _at_least(k: int, n: int, p: float) -> float:
    """P(X >= k), X binomial(n, p): the smaller tail is summed."""
    return 1.0 - float(_binomial(np.arange(k), n, p).sum())


def _binomial(x: np.ndarray, n: int, p: float) -> np.ndarray:
    """P(X = x), X binomial(n, p)."""
    ways = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
    return np.exp(ways + xlogy(x, p) + xlogy(n - x, 1 - p))


def _kl_error(counts: np.ndarray, law: np.ndarray) -> float:
    """Standard error of `divergence` by the jackknife: one picture left out, alike within a class."""
    n = int(counts.sum())
    if n < 2:
        return 0.0
    held = counts > 0
    c, q = counts[held].astype(np.float64), law[held]
    terms, less = xlogy(c, c / q), xlogy(c - 1, (c - 1) / q)
    without = (terms.sum() - terms + less) / (n - 1) - np.log(n - 1)  # KL without one of the class
    mean = (c * without).sum() / n
    return float(np.sqrt((n - 1) / n * (c * (without - mean) ** 2).sum()))


def _counts(values: np.ndarray, name: str) -> np.ndarray:
    counts = np.asarray(values)
    if counts.ndim != 1 or len(counts) == 0 or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise ValueError(
            f"expected (C,) {name} counts, whole and not below 0, got {counts.shape} {counts.dtype}"
        )
    return counts.astype(np.int64)


def _probabilities(values: np.ndarray, name: str) -> np.ndarray:
    p = np.asarray(values, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 2 or len(p) == 0:
        raise ValueError(f"expected (N, C) {name} probabilities of at least two classes, got {p.shape}")
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(1) - 1).max() > 1e-4:
        raise ValueError(f"each row of {name} must be probabilities: no NaN, none below 0, summing to 1")
    return p
