"""Edits: pictures moved along a direction, and what that did to everything that can be read in them."""

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
from triptych.latent.attributes import Attribute, Reader, units_of
from triptych.latent.codes import Codes, model_hash, paint
from triptych.latent.directions import Direction, belongs
from triptych.metrics.extractors.base import Extractor

LEAST = 20


class Change(Record):
    """What a direction did to one factor, in standard deviations of unedited samples' readings.

    There are two ways of looking: from -amount to +amount, where what bends both ways alike cancels, and
    from no edit to +amount, which is what an edited picture shows.
    """

    factor: str
    mean: float
    """Mean change from -amount to +amount, over two amounts' distance: a shift a unit. Of the factor's
    attributes the one that changed most, with its sign."""
    attribute: str
    """Which that was."""
    forth: float
    """Mean change from no edit to +amount, a unit, of the attribute that changed most so."""
    stirred: float
    """Mean absolute change of a picture from no edit to +amount, a unit: also what cancels out on average."""
    error: float
    """Standard error of `mean`."""

    @property
    def at_most(self) -> float:
        """The larger of both ways of looking, without its sign: what an untouched factor is held to."""
        return max(abs(self.mean), abs(self.forth))

    @property
    def at_least(self) -> float:
        """The smaller of both ways of looking, with its sign: what a target is held to."""
        return min(self.mean, self.forth)


class Effect(Record):
    """What one direction does to pictures."""

    direction: str
    amount: float
    n: int
    reader: str
    target: Change | None
    """Of the factor the direction was found for; None where it was found without one."""
    others: tuple[Change, ...]
    """Of every other factor, the most moved first, in the larger of both ways of looking."""
    ratio: float | None = None
    """How many times as much the target rose as the most moved other factor moved, each in the worse of both
    ways of looking; below 0 where the target fell. None without a target, and where nothing else moved."""
    swing: float | None = None
    """The same from -amount to +amount alone, for who moves a slider both ways: what bends cancels."""
    identity: float | None = None
    """Mean distance in features from a picture to its edit, over that between unrelated samples: 0 is the
    same picture, 1 another. Infinite ("inf" in JSON) where unedited samples are all alike."""
    features: str | None = None
    """Whose features."""

    @field_serializer("identity", when_used="json")
    def _no_infinite_numbers(self, identity: float | None) -> float | str | None:
        return "inf" if identity == float("inf") else identity  # JSON knows none


def edit(
    model: Pipeline, codes: Codes, direction: Direction, amounts: Sequence[float], **controls: Any
) -> np.ndarray:
    """Pictures of codes moved along a direction: (N, amounts, H, W, C) uint8.

    amounts: in units of the direction. Raises UsageError for a direction of other weights or space.
    """
    return traverse(model, codes, [direction], amounts, **controls)[:, 0]


def traverse(
    model: Pipeline, codes: Codes, directions: Sequence[Direction], amounts: Sequence[float], **controls: Any
) -> np.ndarray:
    """Every code moved along every direction by every amount: (N, directions, amounts, H, W, C) uint8."""
    if not directions or not len(amounts) or not len(codes):
        raise UsageError("a traversal needs a code, a direction and an amount, at least one of each")
    check(model, codes, directions)
    return _moved(model, codes, directions, amounts, **controls)


def check(model: Pipeline, codes: Codes, directions: Sequence[Direction]) -> None:
    """Raises UsageError for directions of other weights than the model's or another space than the codes'."""
    weights = model_hash(model)
    for direction in directions:
        belongs(direction, model, weights)
        if direction.about.space != codes.space:
            raise UsageError(
                f"the direction {direction.name!r} lies in {direction.about.space} space, these codes in "
                f"{codes.space} space"
            )


def _moved(
    model: Pipeline, codes: Codes, directions: Sequence[Direction], amounts: Sequence[float], **controls: Any
) -> np.ndarray:
    steps = torch.cat([direction.steps(amounts) for direction in directions])  # (D A, *shape)
    moved = (codes.values[:, None] + steps).flatten(0, 1)  # (N D A, *shape)
    repeated = codes.cut([k for k in range(len(codes)) for _ in range(len(steps))])
    painted = paint(model, Codes(codes.space, moved, repeated.seeds, repeated.labels), **controls)
    return painted.reshape(len(codes), len(directions), len(amounts), *painted.shape[1:])


def measure(
    model: Pipeline,
    codes: Codes,
    directions: Sequence[Direction],
    amount: float,
    reader: Reader,
    extractor: Extractor | None = None,
    progress: Progress | None = None,
    **controls: Any,
) -> list[Effect]:
    """What moving along each direction by -amount and +amount does to what is read in the pictures.

    codes: unedited samples, at least 20, on which no direction was found. A direction is for the reader's
    attribute of its name, if there is one. extractor: whose features tell how far the picture itself has
    drifted. Raises UsageError for too few codes, amount 0, and directions of other weights or space.
    """
    if len(codes) < LEAST or amount <= 0:
        raise UsageError(f"give {LEAST} codes or more and an amount above 0, got {len(codes)} and {amount}")
    check(model, codes, directions)
    before = paint(model, codes, **controls)
    read, seen = reader(before), None if extractor is None else extractor(before)
    found = []
    for done, direction in enumerate(directions):
        ends = _moved(model, codes, [direction], (-amount, amount), **controls)[:, 0]  # (N, 2, H, W, C)
        readings = np.stack([reader(ends[:, 0]), read, reader(ends[:, 1])])  # (3, N, K)
        own = next((a for a in reader.attributes if a.name == direction.name), None)
        effect = effect_of(direction.name, readings, reader, amount, own)
        if extractor is not None and seen is not None:
            moved = drift(seen, extractor(ends[:, 1]))
            effect = effect.model_copy(update={"identity": moved, "features": extractor.name})
        found.append(effect)
        if progress is not None:
            progress("directions measured", done + 1, len(directions))
    return found


def effect_of(
    name: str, readings: np.ndarray, reader: Reader, amount: float, target: Attribute | None
) -> Effect:
    """What a direction called `name` did, from readings (3, N, K) at -amount, 0 and +amount."""
    changes = changes_of(readings, reader.attributes, amount, target)
    on = next((c for c in changes if target is not None and c.factor == target.factor), None)
    others = sorted((c for c in changes if c is not on), key=lambda c: -c.at_most)
    return Effect(
        direction=name,
        amount=amount,
        n=readings.shape[1],
        reader=reader.name,
        target=on,
        others=tuple(others),
        ratio=None if on is None else _times(on.at_least, [c.at_most for c in others]),
        swing=None if on is None else _times(on.mean, [abs(c.mean) for c in others]),
    )


def _times(wanted: float, others: Sequence[float]) -> float | None:
    """How many times the largest of the others; None where there is none above 0."""
    most = max(others, default=0.0)
    return wanted / most if most > 0 else None


def with_effects(directions: Sequence[Direction], effects: Sequence[Effect]) -> list[Direction]:
    """The directions with what they were seen to do noted in them: mean changes a unit, in spreads."""
    found = []
    for direction, effect in zip(directions, effects, strict=True):
        changes = [*([effect.target] if effect.target is not None else []), *effect.others]
        noted = {change.attribute: round(change.mean, 4) for change in changes}
        found.append(replace(direction, about=direction.about.model_copy(update={"effects": noted})))
    return found


def changes_of(
    readings: np.ndarray, attributes: Sequence[Attribute], amount: float, target: Attribute | None = None
) -> list[Change]:
    """The change of each factor that anything changed in. readings: (3, N, K) at -amount, 0 and +amount.

    Of a factor with several attributes the most changed stands for it; of the target's factor, the target.
    """
    scaled = readings / units_of(readings[1], attributes)  # (3, N, K) in standard deviations
    varies = np.ptp(readings, axis=(0, 1)) > 0  # also what no unedited picture shows and an edit creates
    both = (scaled[2] - scaled[0]) / (2 * amount)  # (N, K)
    forth = (scaled[2] - scaled[1]) / amount
    found = []
    for factor in dict.fromkeys(a.factor for a in attributes):
        own = [k for k, a in enumerate(attributes) if a.factor == factor and varies[k]]
        if target is not None and target.factor == factor:
            own = [k for k in own if attributes[k] == target]
        if own:
            found.append(_change(both, forth, attributes, own))
    return found


def _change(both: np.ndarray, forth: np.ndarray, attributes: Sequence[Attribute], own: list[int]) -> Change:
    most = max(own, key=lambda k: abs(both[:, k].mean()))
    return Change(
        factor=attributes[most].factor,
        attribute=attributes[most].name,
        mean=float(both[:, most].mean()),
        forth=float(max((forth[:, k].mean() for k in own), key=abs)),
        stirred=float(max(np.abs(forth[:, k]).mean() for k in own)),
        error=float(both[:, most].std(ddof=1) / len(both) ** 0.5),
    )


def drift(before: np.ndarray, after: np.ndarray) -> float:
    """Mean distance of features (N, D) before and after, over that between unrelated pictures before.

    Infinite where pictures moved that were all alike before.
    """
    moved = np.linalg.norm(after - before, axis=1).mean()
    apart = np.linalg.norm(np.roll(before, 1, axis=0) - before, axis=1).mean()
    if moved == 0:
        return 0.0
    return float(moved / apart) if apart > 0 else float("inf")
