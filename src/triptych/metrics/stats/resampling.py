"""Resampling errors of a score (jackknife or disjoint blocks), stored so that errors can be paired.

A standard error alone does not suffice for comparisons: two models scored against the same real images
have correlated errors, and what they share cancels in their difference. So a score stores draws of its
error, in an order fixed by how images were split into groups. The errors of a difference of scores are the
differences of their errors, those of a mean are the means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import AliasChoices, BeforeValidator, Field

DOF_SHARE = 0.5  # of the nominal degrees of freedom: values of groups have heavier tails than normal ones


def _current_grouping(value: object) -> object:
    """Stored scores used to say "5 deals of 4"."""
    if not isinstance(value, str):
        return value
    return re.sub(r"^(\d+) deals of (\d+)$", r"\1 splits into \2 blocks", value)


@dataclass(frozen=True)
class ResamplingErrors:
    """Draws of a score's error; `variance()` is their mean square less that of the excess.

    Attributes:
        errors: draws with mean 0 and the variance of the score's error, or more where a jackknife counts
            second-order terms twice.
        dof: degrees of freedom of a t interval.
        grouping: how images were split, in words; only scores with the same grouping can be paired.
        excess: draws whose mean square is what `errors` have too much; empty where they have nothing.
        second_order: for KID, the result of `second_order_parts` (two variances and the largest weight);
            empty for other scores.
    """

    errors: tuple[float, ...]
    dof: Annotated[float, Field(validation_alias=AliasChoices("dof", "freedom"))]
    grouping: Annotated[
        str, BeforeValidator(_current_grouping), Field(validation_alias=AliasChoices("grouping", "dealt"))
    ]
    excess: tuple[float, ...] = ()
    second_order: tuple[float, ...] = ()

    def variance(self) -> float:
        """Variance of the score, at least half of the errors' mean square: no second-order score has less."""
        errors, excess = self.covariance_parts(self)
        return max(errors - excess, errors / 2)

    def first_order(self) -> float:
        """Variance without the second-order part, which the jackknife counts twice; at least 0."""
        return max(self.covariance_parts(self)[0] - 2 * sum(self.second_order[:2]), 0.0)

    def covariance(self, other: ResamplingErrors) -> float:
        """Covariance of two scores with the same grouping."""
        errors, excess = self.covariance_parts(other)
        return errors - excess

    def covariance_parts(self, other: ResamplingErrors) -> tuple[float, float]:
        """Covariance of the errors, and that of the excess."""
        both = [
            (np.asarray(a, np.float64), np.asarray(b, np.float64))
            for a, b in ((self.errors, other.errors), (self.excess, other.excess))
        ]
        errors, excess = (float(a @ b) / len(a) if len(a) else 0.0 for a, b in both)
        return errors, excess

    def pairs_with(self, other: ResamplingErrors | None) -> bool:
        """Whether both have the same grouping, so that their errors correspond one to one."""
        own = (self.grouping, len(self.errors), len(self.excess))
        return other is not None and own == (other.grouping, len(other.errors), len(other.excess))


def combine_errors(scores: Sequence[ResamplingErrors], weights: Sequence[float]) -> ResamplingErrors:
    """Resampling errors of a weighted sum of scores with the same grouping.

    Args:
        scores: errors of R scores.
        weights: R factors: (1, -1) for a difference, 1/R each for a mean.

    Returns:
        The errors of the sum.
    """
    first = scores[0]
    assert all(first.pairs_with(other) for other in scores), "scores of unlike grouping cannot be combined"

    def sums(rows: list[tuple[float, ...]]) -> tuple[float, ...]:
        return tuple((np.asarray(weights) @ np.asarray(rows, np.float64)).tolist())

    return ResamplingErrors(
        sums([s.errors for s in scores]),
        min(s.dof for s in scores),
        first.grouping,
        sums([s.excess for s in scores]),
        _mean_second_order(scores, np.asarray(weights)),
    )


def _mean_second_order(scores: Sequence[ResamplingErrors], weights: np.ndarray) -> tuple[float, ...]:
    """Second-order parts of a mean: the real images' terms are shared by all scores, others independent.

    Empty for a difference, in which the real images' terms cancel: `difference` combines the intervals of
    the two scores instead.
    """
    if (weights < 0).any() or not all(s.second_order for s in scores):
        return ()
    shared, rest, top = np.array([s.second_order for s in scores]).T  # (R,) each
    return float((weights @ np.sqrt(shared)) ** 2), float(weights**2 @ rest), float(weights @ top)


def jackknife_errors(
    value: float, without: Sequence[float], without_pairs: Sequence[float] = (), grouping: str = ""
) -> ResamplingErrors:
    """Resampling errors by the delete-a-group jackknife.

    The jackknife counts a second-order term twice, so a FID or KID near its floor, where first-order terms
    vanish, would get twice its variance. The excess is estimated from the values that leave out two
    groups: G T - (G-1) (T_g + T_h) + (G-2) T_gh contains second-order terms only.

    Args:
        value: the score of all G groups, T.
        without: G values, the g-th with group g left out, T_g.
        without_pairs: G values with groups g and g + 1 left out (the last: the last and the first), T_gh;
            omit them for scores that are means.
        grouping: how images were split; "G groups" by default.

    Returns:
        G errors, and as many draws of the excess where `without_pairs` is given.

    References:
        Shao & Wu 1989, "A general theory for jackknife variance estimation", eq. 2.1 for disjoint groups;
        Efron & Stein 1981, "The jackknife estimate of variance".
    """
    values, count = np.asarray(without, np.float64), len(without)
    errors = np.sqrt(count - 1) * (values - values.mean())
    excess = np.empty(0)
    if len(without_pairs):
        singles = (count - 1) * (values + np.roll(values, -1))
        excess = count * value - singles + (count - 2) * np.asarray(without_pairs, np.float64)
        excess *= np.sqrt((count - 1) / (2 * count))
    dof, grouping = (count - 1) * DOF_SHARE, grouping or f"{count} groups"
    return ResamplingErrors(tuple(errors.tolist()), dof, grouping, tuple(excess.tolist()))


def block_errors(values: np.ndarray, grouping: str = "") -> ResamplingErrors:
    """Resampling errors from the scores of disjoint blocks of images, for nearest-neighbor scores.

    Blocks share no image, so their variance is that of a score of so few images, with terms of all orders,
    where a jackknife of nearest-neighbor scores is off by a factor of 2 to 4. Neighborhoods are local, so
    the variance goes as 1/n, and that of the whole is 1/B of it.

    Args:
        values: (S, B) scores of B disjoint blocks, each with 1/B of both sets, for S random splits.
        grouping: how images were split; "S splits into B blocks" by default.

    Returns:
        S x B errors.
    """
    splits, blocks = values.shape
    errors = (values - values.mean(1, keepdims=True)) / np.sqrt(blocks - 1)
    dof = splits * (blocks - 1) * DOF_SHARE
    grouping = grouping or f"{splits} splits into {blocks} blocks"
    return ResamplingErrors(tuple(errors.ravel().tolist()), dof, grouping)


def split_groups(features: np.ndarray, groups: int, seed: int | Sequence[int]) -> list[np.ndarray]:
    """Split rows at random into groups whose sizes differ by at most one.

    They are shuffled because images often come sorted by label: a group of a single class would have
    another distribution. A row's group depends on its number and the seed alone, so two models scored
    against the same images get the same groups.

    Args:
        features: (N, ...), any array.
        groups: number of groups, at most N.
        seed: seed of the shuffle.

    Returns:
        `groups` arrays, (n_g, ...) each.
    """
    order = np.random.default_rng(seed).permutation(len(features))
    bounds = [g * len(features) // groups for g in range(groups + 1)]
    return [features[order[a:b]] for a, b in pairwise(bounds)]
