"""How far a score strays from its expectation, kept so that differences and means of scores inherit it.

A single standard error is not enough for a comparison: two models judged by the same real pictures
err together, and what they share drops out of their difference. So a score keeps draws of its error,
in an order fixed by the deal of the pictures; the errors of a difference are the differences of the
errors, those of a mean their means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import AliasChoices, BeforeValidator, Field

KEPT = 0.5  # of the nominal degrees of freedom: groups' values are heavier-tailed than normal ones


def _current_grouping(value: object) -> object:
    """Stored scores used to say "5 deals of 4"."""
    return (
        re.sub(r"^(\d+) deals of (\d+)$", r"\1 splits into \2 blocks", value)
        if isinstance(value, str)
        else value
    )


@dataclass(frozen=True)
class ResamplingErrors:
    """Draws of a score's error under a deal of the pictures; `variance()` is their mean square.

    errors: draws with mean 0 and the variance of the score's error, or more where a jackknife counts
    second-order terms twice. excess: draws of what is too much, with it as their mean square; empty
    where the errors are right. freedom: degrees of freedom of a t interval. dealt: the deal; only
    scores with the same one can be paired. second_order: for KID, what
    `second_order_parts` found: two variances and the largest weight; empty otherwise.
    """

    errors: tuple[float, ...]
    dof: Annotated[float, Field(validation_alias=AliasChoices("dof", "freedom"))]
    grouping: Annotated[
        str, BeforeValidator(_current_grouping), Field(validation_alias=AliasChoices("grouping", "dealt"))
    ]
    excess: tuple[float, ...] = ()
    second_order: tuple[float, ...] = ()

    def variance(self) -> float:
        """Of the score. At least half of the errors' mean square: no second-order score has less."""
        errors = self.covariance_parts(self)
        return max(errors[0] - errors[1], errors[0] / 2)

    def first_order(self) -> float:
        """Variance without the second-order part, which the jackknife counts twice; 0 where that is all."""
        return max(self.covariance_parts(self)[0] - 2 * sum(self.second_order[:2]), 0.0)

    def covariance(self, other: ResamplingErrors) -> float:
        """Of two scores with one deal."""
        errors, excess = self.covariance_parts(other)
        return errors - excess

    def covariance_parts(self, other: ResamplingErrors) -> tuple[float, float]:
        """(of the errors, of the excess)."""
        both = [
            (np.asarray(a, np.float64), np.asarray(b, np.float64))
            for a, b in ((self.errors, other.errors), (self.excess, other.excess))
        ]
        errors, excess = (float(a @ b) / len(a) if len(a) else 0.0 for a, b in both)
        return errors, excess

    def pairs_with(self, other: ResamplingErrors | None) -> bool:
        """Whether both follow one deal, so that their errors correspond."""
        mine = (self.grouping, len(self.errors), len(self.excess))
        return other is not None and mine == (other.grouping, len(other.errors), len(other.excess))


def combine_errors(spreads: Sequence[ResamplingErrors], weights: Sequence[float]) -> ResamplingErrors:
    """The spread of a weighted sum of scores with one deal: (1, -1) for a difference, 1/R for a mean of R."""
    first = spreads[0]
    assert all(first.pairs_with(other) for other in spreads), "scores with unlike deals cannot be combined"

    def sums(rows: list[tuple[float, ...]]) -> tuple[float, ...]:
        return tuple((np.asarray(weights) @ np.asarray(rows, np.float64)).tolist())

    return ResamplingErrors(
        sums([s.errors for s in spreads]),
        min(s.dof for s in spreads),
        first.grouping,
        sums([s.excess for s in spreads]),
        _mean_second_order(spreads, np.asarray(weights)),
    )


def _mean_second_order(spreads: Sequence[ResamplingErrors], weights: np.ndarray) -> tuple[float, ...]:
    """That of a mean: real images' terms are the same in all scores, the others are independent.

    Empty for a difference, in which the real images' terms drop out: `difference` puts the two scores' own
    intervals together.
    """
    if (weights < 0).any() or not all(s.second_order for s in spreads):
        return ()
    shared, rest, top = np.array([s.second_order for s in spreads]).T  # (R,) each
    return float((weights @ np.sqrt(shared)) ** 2), float(weights**2 @ rest), float(weights @ top)


def jackknife_errors(
    value: float, without: Sequence[float], without_pairs: Sequence[float] = (), grouping: str = ""
) -> ResamplingErrors:
    """The spread by the delete-a-group jackknife (Shao & Wu 1989, eq. 2.1 for disjoint groups).

    without: G values that leave one group out. The jackknife counts a second-order term twice (Efron &
    Stein 1981): a FID or KID near its floor, where first-order terms vanish, would get twice its
    variance. without_pairs: G values that leave out groups g and g + 1 (the last: the last and the
    first), from which that excess is estimated: G T - (G-1) (T_g + T_h) + (G-2) T_gh is a second-order
    term alone. Leave it out for scores that are means. dealt: the deal, "G groups" if left out.
    """
    values, count = np.asarray(without, np.float64), len(without)
    errors = np.sqrt(count - 1) * (values - values.mean())
    excess = np.empty(0)
    if len(without_pairs):
        ones = (count - 1) * (values + np.roll(values, -1))
        excess = count * value - ones + (count - 2) * np.asarray(without_pairs, np.float64)
        excess *= np.sqrt((count - 1) / (2 * count))
    name = grouping or f"{count} groups"
    return ResamplingErrors(tuple(errors.tolist()), (count - 1) * KEPT, name, tuple(excess.tolist()))


def block_errors(values: np.ndarray, grouping: str = "") -> ResamplingErrors:
    """The spread from a score of disjoint blocks of pictures, for scores of nearest neighbours.

    values: (deals, B) scores of B disjoint blocks, each with 1/B of both sets, for several deals. Blocks
    share no picture, so their variance is that of a score of so few pictures, terms of all orders
    included, where a jackknife of neighbours errs by a factor of 2 to 4. A neighbourhood is local: the
    variance then goes as 1/n, and a B-th of it is that of the whole.
    """
    deals, blocks = values.shape
    errors = (values - values.mean(1, keepdims=True)) / np.sqrt(blocks - 1)
    freedom = deals * (blocks - 1) * KEPT
    return ResamplingErrors(
        tuple(errors.ravel().tolist()), freedom, grouping or f"{deals} splits into {blocks} blocks"
    )


def split_groups(features: np.ndarray, groups: int, seed: int | Sequence[int]) -> list[np.ndarray]:
    """Features, (N, D), in groups of sizes that differ by one at most, by a fixed shuffle.

    Shuffled because pictures often come in order of their labels: a group of one class would be
    another distribution. A picture's place depends on its number alone, so two models judged on the
    same pictures get the same groups.
    """
    order = np.random.default_rng(seed).permutation(len(features))
    bounds = [g * len(features) // groups for g in range(groups + 1)]
    return [features[order[a:b]] for a, b in pairwise(bounds)]
