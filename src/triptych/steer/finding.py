"""Directions for what a reader reads: which step raises one factor and leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.core.errors import UsageError
from triptych.core.styled import Styled
from triptych.model import SAMPLING_BATCH, Model
from triptych.steer.codes import Codes, Space, codes_at, model_hash, paint
from triptych.steer.directions import Direction, cloud_of, named, shaped
from triptych.steer.fitting import (
    Cloud,
    corrected,
    largest_change,
    share_explained,
    steepest_alone,
    white_slopes,
)
from triptych.steer.readers import Attribute, Reader, units_of

FIRST_SEED = 3_000_000  # far from those of evaluation and of training's pictures
MEASURED_SEED = 5_000_000  # of pictures that directions are measured on
SAMPLES = 4000
LEAST = 200
RIDGE = 10.0  # pictures' worth of belief that a number of the code does nothing
SURE = 2.0  # standard errors of a slope that are reckoned with: about the largest of twenty
ROUNDS = 3
HELD_BACK = 0.2  # of the pictures, to say how far the readings are linear in the code

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Study:
    """Pictures of a model that were read: what directions are fitted to."""

    codes: Codes
    cloud: Cloud
    white: np.ndarray  # (N, R) codes of one layer, uncorrelated, of variance 1
    readings: np.ndarray  # (N, K)
    attributes: tuple[Attribute, ...]
    reader: str

    @property
    def spreads(self) -> np.ndarray:
        """(K,): the standard deviation of each reading over unedited samples; 0 for what never varies."""
        return self.readings.std(0)

    @property
    def units(self) -> np.ndarray:
        """(K,): what changes of each reading are told in: its spread, where that is not too small."""
        return units_of(self.readings, self.attributes)


def study(
    model: Model,
    reader: Reader,
    samples: int = SAMPLES,
    space: Space | None = None,
    first_seed: int = FIRST_SEED,
    progress: Progress | None = None,
    **controls: Any,
) -> Study:
    """Draw pictures and read them. space: None takes styles where there are some.

    samples: at least 200; the error of a direction falls with their root. Raises UsageError for fewer.
    """
    if samples < LEAST:
        raise UsageError(f"a direction needs at least {LEAST} pictures to be found in, got {samples}")
    where: Space = space or ("style" if isinstance(model.family, Styled) else "noise")
    codes = codes_at(model, range(first_seed, first_seed + samples), where, **controls)
    readings = []
    for start in range(0, samples, SAMPLING_BATCH):
        part = codes.cut(range(start, min(start + SAMPLING_BATCH, samples)))
        readings.append(reader(paint(model, part, **controls)))
        if progress is not None:
            progress("pictures read", min(start + SAMPLING_BATCH, samples), samples)
    cloud = cloud_of(model, where, **controls)
    values = codes.values[:, 0] if where == "style" else codes.values.flatten(1)
    white = cloud.white(values.double().numpy())
    return Study(codes, cloud, white, np.concatenate(readings), reader.attributes, reader.name)


def find(
    model: Model,
    reader: Reader,
    studied: Study,
    targets: Sequence[str] | None = None,
    layers: Iterable[int] | None = None,
    tried: int = 0,
    amount: float = 1.0,
    progress: Progress | None = None,
    **controls: Any,
) -> list[Direction]:
    """For each target attribute the shortest step that raises it and leaves every other factor alone.

    Of the attribute's own factor nothing is held: the classes of one factor cannot but make way for
    each other. targets: names of attributes; None: all that vary, turns aside. layers: of styles, which shall
    move; the step is found for all and then given to these alone. tried: on so many of the study's
    pictures each direction is tried out by -amount and +amount, `ROUNDS` times, and the slopes are
    corrected by what it then did; 0 leaves it as fitted. Raises UsageError for unknown names and
    for one that no picture varies in.
    """
    slopes, moving = scaled_slopes(studied), None if layers is None else list(layers)
    explained, found = _explained(studied), []
    chosen, weights = numbers_of(studied, targets), model_hash(model)

    def direction_of(white: np.ndarray, k: int) -> Direction:
        told = f"slopes of {studied.reader} on {len(studied.readings)} pictures, R2 {explained[k]:.2f}"
        told += f", tried out on {tried}" if tried else ""
        step = step_of(model, studied, white, moving)
        return named(model, studied.attributes[k].name, studied.codes.space, told, step, weights)

    for done, k in enumerate(chosen):

        def changes(white: np.ndarray, k: int = k) -> tuple[np.ndarray, np.ndarray]:
            means, errors = _changes(
                model, reader, studied, direction_of(white, k), tried, amount, **controls
            )
            length = float(np.linalg.norm(studied.cloud.unit(white)))  # of the direction, in white numbers
            return means / length, errors / length

        chance = SURE * len(studied.readings) ** -0.5
        white = steepest_alone(slopes, k, held_for(studied, k), chance)
        if tried:
            white = try_out(white, slopes, k, held_for(studied, k), chance, changes)
        found.append(direction_of(white, k))
        if progress is not None:
            progress("directions", done + 1, len(chosen))
    return found


# Of a step (R,) in white numbers: means of the changes a white unit along it, and their errors, (K,) each.
Changes = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def try_out(
    white: np.ndarray, slopes: np.ndarray, k: int, held: Sequence[int], chance: float, changes: Changes
) -> np.ndarray:
    """A step, tried, its slopes corrected and found anew, `ROUNDS` times: the best of those tried, (R,)."""
    best, least = white, np.inf
    for _ in range(ROUNDS):
        means, errors = changes(white)
        others = np.abs(means[held]) + errors[held]
        worst = float(others.max(initial=0.0)) / max(float(means[k]), 1e-9)
        if worst < least:
            best, least = white, worst
        unit = white / np.linalg.norm(white)
        was = slopes.T @ unit
        slopes = corrected(slopes, unit, was + clear(means - was, errors))
        white = steepest_alone(slopes, k, held, chance)
    return best


def prospects(studied: Study) -> dict[str, float]:
    """How many times as much each target attribute should move as any other factor, by the slopes alone.

    Chance is reckoned with, bends of the generator are not: for choosing which directions to look for. A
    factor's class that pictures hardly tell from other factors has a low one.
    """
    slopes, chance = scaled_slopes(studied), SURE * len(studied.readings) ** -0.5
    found = {}
    for k in numbers_of(studied, None):
        held = held_for(studied, k)
        step = steepest_alone(slopes, k, held, chance)
        found[studied.attributes[k].name] = 1 / largest_change(slopes[:, held], step, chance)
    return found


def likeliest(studied: Study) -> list[str]:
    """Of each factor the attribute with the best prospects."""
    best: dict[str, str] = {}
    promised = prospects(studied)
    for attribute in studied.attributes:
        held = best.get(attribute.factor)
        if attribute.name in promised and (held is None or promised[attribute.name] > promised[held]):
            best[attribute.factor] = attribute.name
    return list(best.values())


def scaled_slopes(studied: Study) -> np.ndarray:
    """Slopes of the readings in units of their spreads on white codes, (R, K)."""
    return white_slopes(studied.white, studied.readings / studied.units, RIDGE)


def clear(means: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Means less what may be chance: m max(0, 1 - 4 e^2 / m^2), nothing within two standard errors e.

    The fitted step has an error too: without this a step that was right would be spoilt by trying it out.
    """
    return means * np.maximum(0.0, 1.0 - 4 * errors**2 / np.maximum(means**2, 1e-300))


def _changes(
    model: Model,
    reader: Reader,
    studied: Study,
    direction: Direction,
    tried: int,
    amount: float,
    **controls: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean change of each reading a unit of a direction, in spreads, and its standard error: (K,) each."""
    codes = studied.codes.cut(range(min(tried, len(studied.codes))))
    back, forth = (
        paint(model, codes.moved(side * direction.vector), **controls) for side in (-amount, amount)
    )
    change = (reader(forth) - reader(back)) / studied.units / (2 * amount)  # (N, K)
    return change.mean(0), change.std(0, ddof=1) / len(change) ** 0.5


def held_for(studied: Study, k: int) -> list[int]:
    """Numbers of the attributes of other factors than attribute k's.

    Also of what no picture showed: it has no slope, but a step that is tried out may create it.
    """
    own = studied.attributes[k].factor
    return [j for j, a in enumerate(studied.attributes) if a.factor != own]


def step_of(model: Model, studied: Study, white: np.ndarray, layers: list[int] | None) -> Tensor:
    """A step in white numbers as one of codes: one unit is one standard deviation of the codes along it."""
    step = studied.cloud.root @ studied.cloud.unit(white)  # (D,)
    return shaped(torch.from_numpy(step), model, studied.codes.space, layers)


def _explained(studied: Study) -> np.ndarray:
    """R^2 of each reading on the last fifth of the pictures, from slopes of the rest: (K,)."""
    cut = int(len(studied.white) * (1 - HELD_BACK))
    slopes = white_slopes(studied.white[:cut], studied.readings[:cut], RIDGE)
    return share_explained(studied.white[cut:], studied.readings[cut:], slopes)


def known(reader: str, attributes: Sequence[Attribute], targets: Iterable[str]) -> None:
    """Raises UsageError for targets that are the name of no attribute. reader: who reads them."""
    names = [attribute.name for attribute in attributes]
    for name in targets:
        if name not in names:
            raise UsageError(f"{reader} reads no {name!r}: there are {', '.join(names)}")


def numbers_of(studied: Study, targets: Sequence[str] | None) -> list[int]:
    """The numbers of attributes that are called so. Raises UsageError for others and for constant ones."""
    names = [a.name for a in studied.attributes]
    spreads = studied.spreads
    if targets is None:
        return [k for k, a in enumerate(studied.attributes) if spreads[k] > 0 and a.factor != "turn"]
    known(studied.reader, studied.attributes, targets)
    for name in targets:
        if spreads[names.index(name)] == 0:
            raise UsageError(
                f"all {len(studied.readings)} pictures read alike in {name!r}: there is nothing to find"
            )
    return [names.index(name) for name in targets]
