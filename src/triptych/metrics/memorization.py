"""Copies of training pictures: who lies nearer to one than chance allows.

A model that only returned its training set would have a perfect FID, precision and recall. Whether
samples are copies shows only beside pictures of the same distribution that the model never saw.
Distances are exact (see `distances`): the rounding of |a|^2 + |b|^2 - 2 a.b is largest, beside the
distance, for just the pairs that matter here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import betaln, gammaln

from triptych.metrics.knn import search
from triptych.metrics.knn.distances import Points
from triptych.metrics.stats.binomial import Proportion
from triptych.metrics.validation import checked_sets

VERSION = 1
ALPHA = 0.01  # share of honest samples that lie below the threshold
CHANCE = 0.01  # a smaller p-value is called more than chance: one honest model in 100 is accused


@dataclass(frozen=True)
class NearDuplicates:
    """How many pictures lie below a threshold that `nominal` of honest ones lie below."""

    share: Proportion
    """Of pictures below the threshold."""
    expected: float
    """The share expected where nothing was copied; at most, if distances tie."""
    threshold: float
    p_value: float
    """Chance of so many or more below, had nothing been copied; the threshold's own error is in it."""
    indices: tuple[int, ...] = field(repr=False)
    """Numbers of the pictures below the threshold, the nearest first: look at them."""

    @property
    def significant(self) -> bool:
        """Whether chance would do this in fewer than one of 100 cases."""
        return self.p_value < CHANCE

    def __str__(self) -> str:
        share = self.share
        verdict = "more than chance" if self.significant else "no more than chance may do"
        return (
            f"{share.count} of {share.total} ({share.value:.1%} [{share.low:.1%}, {share.high:.1%}]) "
            f"are nearer than {self.expected:.1%} would be by chance: {verdict} (p = {self.p_value:.2g})"
        )


def near_duplicate_test(
    train: np.ndarray, fake: np.ndarray, held_out: np.ndarray, alpha: float = ALPHA
) -> NearDuplicates:
    """Share of samples nearer to a training picture than held-out pictures are.

    Held-out pictures are what an honest sampler would draw. The threshold is the j-th smallest of
    their H distances to the nearest training picture, j = floor(alpha (H + 1)); an honest sample
    lies below it with probability j / (H + 1), `nominal`, whatever the distribution, and the number
    of M that do is beta-binomial: the p-value is P(X >= count), X ~ BetaBinomial(M, j, H + 1 - j),
    exact for independent pictures and too large where distances tie. A model that returns training
    pictures, or such with a little noise, scores 1.

    More than chance is a reason to look, not a proof: pictures of the commonest kind, or smoother
    than any, have near neighbours too. No more than chance does not clear rare copies: a share far
    below alpha is lost in it.

    train: (N, D), fake: (M, D), held_out: (H, D), no training picture among them; 1 / alpha - 1
    held-out pictures at least. alpha: in (0, 0.5]. Raises ValueError on NaN, unlike widths, too few
    held-out pictures, and where the threshold is 0 because held-out pictures are copies themselves.
    """
    sets = checked_sets({"training": train, "fake": fake, "held-out": held_out}, 1, "a test for copies")
    points = Points(sets["training"])
    fakes, honest = (_nearest(points, sets[name], 1)[1][:, 0] for name in ("fake", "held-out"))
    return _nearness(fakes, honest, alpha, "held-out pictures", "training pictures")


def canary_test(
    canaries: np.ndarray, fake: np.ndarray, controls: np.ndarray, alpha: float = ALPHA
) -> NearDuplicates:
    """How many canaries, marked pictures put into the training set, come back among the samples.

    A canary has come back if a sample lies nearer to it than the j-th smallest distance from H
    controls to their nearest sample, j = floor(alpha (H + 1)). Controls are pictures the model never
    saw: best, more that were marked in the same way and kept out, then `nominal` and the p-value
    hold as in `copy_share`; with plain held-out pictures marks that nothing else bears make the
    test too mild. `near` are the canaries that came back.

    canaries: (C, D), fake: (M, D), controls: (H, D), 1 / alpha - 1 controls at least. alpha: in
    (0, 0.5]. Raises ValueError as `copy_share` does.
    """
    sets = checked_sets({"canary": canaries, "fake": fake, "control": controls}, 1, "a test with canaries")
    points = Points(sets["fake"])
    back, kept_out = (_nearest(points, sets[name], 1)[1][:, 0] for name in ("canary", "control"))
    return _nearness(back, kept_out, alpha, "controls", "samples")


def authenticity(train: np.ndarray, fake: np.ndarray) -> Proportion:
    """Share of samples that are no copies by their surroundings (Alaa et al. 2022, section 3.3).

    A sample is authentic if its nearest training picture has another training picture nearer to it
    than the sample is. It needs no held-out pictures, but an honest sampler scores no fixed value:
    compare it with that of held-out pictures. Beside a training picture that has a copy in the
    training set only exact copies count as unauthentic: take duplicates out first.

    train: (N, D), at least 2, fake: (M, D), at least 1. Raises ValueError on NaN, unlike widths and
    too few pictures.
    """
    sets = checked_sets({"training": train, "fake": fake}, 1, "authenticity")
    if len(train) < 2:
        raise ValueError(f"authenticity needs at least 2 training pictures, got {len(train)}: give more")
    points = Points(sets["training"])
    numbers, distances = _nearest(points, sets["fake"], 1)
    asked, which = np.unique(numbers[:, 0], return_inverse=True)
    own = _nearest(points, sets["training"][asked], 2)[1][:, 1]  # [:, 0] is the picture itself
    authentic = own[which] < distances[:, 0]
    return Proportion.of(int(authentic.sum()), len(authentic))


def nearest_training_images(train: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest training pictures of each sample, to be looked at beside it.

    train: (N, D), at least k, fake: (M, D). Returns their numbers (M, k) int64 and distances (M, k)
    float64, nearest first, of equal distances the lowest numbers. Raises ValueError on NaN, unlike
    widths, k below 1 and fewer than k training pictures.
    """
    sets = checked_sets({"training": train, "fake": fake}, 1, "a page of neighbours")
    if not 1 <= k <= len(train):
        raise ValueError(f"k must lie between 1 and the {len(train)} training pictures, got {k}")
    return _nearest(Points(sets["training"]), sets["fake"], k)


def _nearest(points: Points, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    distances, numbers = search.nearest(Points(queries), points, k)
    return numbers.astype(np.int64), distances


def _nearness(
    distances: np.ndarray, honest: np.ndarray, alpha: float, kind: str, others: str
) -> NearDuplicates:
    """distances: (M,), of the pictures asked about; honest: (H,), the same of pictures never seen."""
    if not 0 < alpha <= 0.5:
        raise ValueError(f"alpha is a share in (0, 0.5], got {alpha}")
    rank = int(alpha * (len(honest) + 1) + 1e-9)
    if rank < 1:
        raise ValueError(
            f"alpha = {alpha:g} needs at least {int(np.ceil(1 / alpha - 1e-9)) - 1} {kind}, got "
            f"{len(honest)}: give more, or an alpha of {1 / (len(honest) + 1):.2g} or more"
        )
    threshold = float(np.partition(honest, rank - 1)[rank - 1])
    if threshold == 0:
        raise ValueError(
            f"{int((honest == 0).sum())} of {len(honest)} {kind} equal one of the {others}, so copies "
            "cannot be told from them: take these out"
        )
    near = np.flatnonzero(distances < threshold)
    return NearDuplicates(
        share=Proportion.of(len(near), len(distances)),
        expected=rank / (len(honest) + 1),
        threshold=threshold,
        p_value=beta_binomial_tail(len(near), len(distances), rank, len(honest)),
        indices=tuple(near[np.argsort(distances[near], kind="stable")].tolist()),
    )


def beta_binomial_tail(count: int, pictures: int, rank: int, honest: int) -> float:
    """P(X >= count), X ~ BetaBinomial(pictures, rank, honest + 1 - rank).

    Of pictures like the honest ones, how many lie below the honest ones' rank-th smallest value: the
    share of the distribution below it is Beta(rank, honest + 1 - rank) distributed.
    """
    x = np.arange(count, pictures + 1)
    ways = gammaln(pictures + 1) - gammaln(x + 1) - gammaln(pictures - x + 1)
    a, b = rank, honest + 1 - rank
    return min(float(np.exp(ways + betaln(x + a, pictures - x + b) - betaln(a, b)).sum()), 1.0)
