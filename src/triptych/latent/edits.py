"""Edits: samples moved along a direction, and what that did to every attribute of their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import field_serializer

from triptych.core.config import Record
from triptych.core.errors import UsageError
from triptych.inference.pipeline import Pipeline
from triptych.latent.attribute_samples import Progress
from triptych.latent.attributes import Attribute, AttributePredictor, attribute_units
from triptych.latent.codes import Codes, model_hash, synthesize
from triptych.latent.directions import Direction, check_matches
from triptych.metrics.extractors.base import Extractor

MIN_CODES = 20


class Change(Record):
    """What a direction did to one factor, in standard deviations of the attribute over unedited samples.

    It is measured in two ways: two-sided, from -amount to +amount, where effects that are alike in both
    directions cancel; and one-sided, from no edit to +amount, which is what an edited image shows.
    """

    factor: str
    two_sided: float
    """Mean change from -amount to +amount over twice the amount, per unit. Of the factor's attributes the one
    that changed most, with its sign."""
    attribute: str
    """Which that was."""
    one_sided: float
    """Mean change from no edit to +amount, per unit, of the attribute that changed most so."""
    mean_absolute: float
    """Mean absolute one-sided change of an image, per unit: includes what cancels out on average."""
    error: float
    """Standard error of `two_sided`."""

    @property
    def bound(self) -> float:
        """max(|two_sided|, |one_sided|): the side effect on a factor that should not change."""
        return max(abs(self.two_sided), abs(self.one_sided))

    @property
    def least(self) -> float:
        """min(two_sided, one_sided), with sign: the effect on a target."""
        return min(self.two_sided, self.one_sided)


class Effect(Record):
    """What one direction does to images."""

    direction: str
    amount: float
    n: int
    predictor: str
    target: Change | None
    """Of the factor the direction was found for; None where it was found without one."""
    others: tuple[Change, ...]
    """Of every other factor, the most changed first, by `Change.bound`."""
    ratio: float | None = None
    """How many times as much the target rose as the most changed other factor changed, each by the less
    favorable measure; below 0 where the target fell. None without a target, or where nothing else changed."""
    two_sided_ratio: float | None = None
    """The same by the two-sided measure alone, for sliders that move both ways."""
    feature_distance: float | None = None
    """Mean distance in features from an image to its edit, over that between unrelated samples: 0 is the same
    image, 1 another. Infinite ("inf" in JSON) where unedited samples are all alike."""
    extractor: str | None = None
    """The feature extractor."""

    @field_serializer("feature_distance", when_used="json")
    def _no_infinite_numbers(self, distance: float | None) -> float | str | None:
        return "inf" if distance == float("inf") else distance  # JSON has no infinity


def edit(
    model: Pipeline, codes: Codes, direction: Direction, amounts: Sequence[float], **controls: Any
) -> np.ndarray:
    """Generate images of codes moved along a direction; see `traverse` for what is refused.

    Args:
        model: The model.
        codes: N codes.
        direction: A direction that was found in this model.
        amounts: In units of the direction.
        **controls: Sampling controls of the model.

    Returns:
        (N, amounts, H, W, C) uint8.
    """
    return traverse(model, codes, [direction], amounts, **controls)[:, 0]


def traverse(
    model: Pipeline, codes: Codes, directions: Sequence[Direction], amounts: Sequence[float], **controls: Any
) -> np.ndarray:
    """Generate images of every code moved along every direction by every amount.

    Args:
        model: The model.
        codes: N codes.
        directions: Directions that were found in this model.
        amounts: In units of each direction.
        **controls: Sampling controls of the model.

    Returns:
        (N, directions, amounts, H, W, C) uint8.

    Raises:
        UsageError: There is no code, direction or amount, or a direction belongs to other weights or another
            space.
    """
    if not directions or not len(amounts) or not len(codes):
        raise UsageError("a traversal needs at least one code, one direction and one amount")
    check_directions(model, codes, directions)
    return _moved(model, codes, directions, amounts, **controls)


def check_directions(model: Pipeline, codes: Codes, directions: Sequence[Direction]) -> None:
    """Check that directions belong to the model's weights and the codes' space.

    Args:
        model: The model.
        codes: The codes to move.
        directions: The directions.

    Raises:
        UsageError: One does not.
    """
    weights = model_hash(model)
    for direction in directions:
        check_matches(direction, model, weights)
        if direction.info.space != codes.space:
            raise UsageError(
                f"the direction {direction.name!r} is of {direction.info.space} space, these codes are of "
                f"{codes.space} space"
            )


def _moved(
    model: Pipeline, codes: Codes, directions: Sequence[Direction], amounts: Sequence[float], **controls: Any
) -> np.ndarray:
    steps = torch.cat([direction.steps(amounts) for direction in directions])  # (D A, *shape)
    moved = (codes.values[:, None] + steps).flatten(0, 1)  # (N D A, *shape)
    repeated = codes.select([k for k in range(len(codes)) for _ in range(len(steps))])
    images = synthesize(model, Codes(codes.space, moved, repeated.seeds, repeated.labels), **controls)
    return images.reshape(len(codes), len(directions), len(amounts), *images.shape[1:])


def measure(
    model: Pipeline,
    codes: Codes,
    directions: Sequence[Direction],
    amount: float,
    predictor: AttributePredictor,
    extractor: Extractor | None = None,
    progress: Progress | None = None,
    **controls: Any,
) -> list[Effect]:
    """Measure what moving along each direction by -amount and +amount does to the attributes of images.

    Args:
        model: The model.
        codes: Unedited samples, at least 20, on which no direction was found.
        directions: Directions that were found in this model; the target of one is the attribute of its name,
            if there is one.
        amount: In units of each direction, above 0.
        predictor: Predicts the attributes of images.
        extractor: Measures how far an image moves as a whole; None for not.
        progress: Called with (what, done, total).
        **controls: Sampling controls of the model.

    Returns:
        One effect per direction.

    Raises:
        UsageError: There are too few codes, the amount is not above 0, or a direction belongs to other
            weights or another space.
    """
    if len(codes) < MIN_CODES or amount <= 0:
        raise UsageError(
            f"expected {MIN_CODES} codes or more and an amount above 0, got {len(codes)} and {amount}"
        )
    check_directions(model, codes, directions)
    unedited = synthesize(model, codes, **controls)
    values, features = predictor(unedited), None if extractor is None else extractor(unedited)
    effects = []
    for done, direction in enumerate(directions):
        ends = _moved(model, codes, [direction], (-amount, amount), **controls)[:, 0]  # (N, 2, H, W, C)
        attributes = np.stack([predictor(ends[:, 0]), values, predictor(ends[:, 1])])  # (3, N, K)
        own = next((a for a in predictor.attributes if a.name == direction.name), None)
        effect = direction_effect(direction.name, attributes, predictor, amount, own)
        if extractor is not None and features is not None:
            distance = relative_feature_distance(features, extractor(ends[:, 1]))
            effect = effect.model_copy(update={"feature_distance": distance, "extractor": extractor.name})
        effects.append(effect)
        if progress is not None:
            progress("directions measured", done + 1, len(directions))
    return effects


def direction_effect(
    name: str, values: np.ndarray, predictor: AttributePredictor, amount: float, target: Attribute | None
) -> Effect:
    """Summarize what a direction did.

    Args:
        name: The direction's name.
        values: (3, N, K) attributes at -amount, 0 and +amount.
        predictor: What predicted them.
        amount: In units of the direction.
        target: The attribute the direction was found for, if any.

    Returns:
        The effect, without `feature_distance`.
    """
    changes = factor_changes(values, predictor.attributes, amount, target)
    on = next((c for c in changes if target is not None and c.factor == target.factor), None)
    others = sorted((c for c in changes if c is not on), key=lambda c: -c.bound)
    return Effect(
        direction=name,
        amount=amount,
        n=values.shape[1],
        predictor=predictor.name,
        target=on,
        others=tuple(others),
        ratio=None if on is None else _over_largest(on.least, [c.bound for c in others]),
        two_sided_ratio=(
            None if on is None else _over_largest(on.two_sided, [abs(c.two_sided) for c in others])
        ),
    )


def _over_largest(wanted: float, others: Sequence[float]) -> float | None:
    """How many times the largest of the others; None where there is none above 0."""
    most = max(others, default=0.0)
    return wanted / most if most > 0 else None


def with_effects(directions: Sequence[Direction], effects: Sequence[Effect]) -> list[Direction]:
    """Record measured effects in directions: two-sided changes per unit, in standard deviations.

    Args:
        directions: The directions.
        effects: One per direction.

    Returns:
        The directions with `info.effects`.
    """
    updated = []
    for direction, effect in zip(directions, effects, strict=True):
        changes = [*([effect.target] if effect.target is not None else []), *effect.others]
        recorded = {change.attribute: round(change.two_sided, 4) for change in changes}
        updated.append(replace(direction, info=direction.info.model_copy(update={"effects": recorded})))
    return updated


def factor_changes(
    values: np.ndarray, attributes: Sequence[Attribute], amount: float, target: Attribute | None = None
) -> list[Change]:
    """Compute the change of each factor that anything changed in.

    Args:
        values: (3, N, K) attributes at -amount, 0 and +amount.
        attributes: K attributes.
        amount: In units of the direction.
        target: Stands for its factor; of another factor the most changed attribute does.

    Returns:
        One change per factor.
    """
    scaled = values / attribute_units(values[1], attributes)  # (3, N, K) in standard deviations
    varies = np.ptp(values, axis=(0, 1)) > 0  # also what no unedited image shows and an edit creates
    two_sided = (scaled[2] - scaled[0]) / (2 * amount)  # (N, K)
    one_sided = (scaled[2] - scaled[1]) / amount
    changes = []
    for factor in dict.fromkeys(a.factor for a in attributes):
        own = [k for k, a in enumerate(attributes) if a.factor == factor and varies[k]]
        if target is not None and target.factor == factor:
            own = [k for k in own if attributes[k] == target]
        if own:
            changes.append(_change(two_sided, one_sided, attributes, own))
    return changes


def _change(
    two_sided: np.ndarray, one_sided: np.ndarray, attributes: Sequence[Attribute], own: list[int]
) -> Change:
    most = max(own, key=lambda k: abs(two_sided[:, k].mean()))
    return Change(
        factor=attributes[most].factor,
        attribute=attributes[most].name,
        two_sided=float(two_sided[:, most].mean()),
        one_sided=float(max((one_sided[:, k].mean() for k in own), key=abs)),
        mean_absolute=float(max(np.abs(one_sided[:, k]).mean() for k in own)),
        error=float(two_sided[:, most].std(ddof=1) / len(two_sided) ** 0.5),
    )


def relative_feature_distance(before: np.ndarray, after: np.ndarray) -> float:
    """Measure how far images moved in feature space.

    Args:
        before: (N, D) features.
        after: (N, D) features of the same images, edited.

    Returns:
        The mean distance, over that between unrelated images before; infinite where images moved that were
        all alike before.
    """
    moved = np.linalg.norm(after - before, axis=1).mean()
    unrelated = np.linalg.norm(np.roll(before, 1, axis=0) - before, axis=1).mean()
    if moved == 0:
        return 0.0
    return float(moved / unrelated) if unrelated > 0 else float("inf")
