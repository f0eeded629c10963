"""Directions for what a reader reads: which step raises one factor and leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
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
ROUNDS = 5
HELD_BACK = 0.2  # of the pictures, to say how far the readings are linear in the code

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Study:
    """Pictures of a model that were read: what directions are fitted to and tried out on."""

    codes: Codes  # N, as the model draws them
    readings: np.ndarray  # (N, K) of their pictures
    cloud: Cloud  # of the codes of one layer
    white: (
        np.ndarray
    )  # (M, B R) what slopes are fitted to: a block of uncorrelated numbers a layer told apart
    fitted: np.ndarray  # (M, K) readings that belong to these
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

    @property
    def apart(self) -> bool:
        """Whether each layer has slopes of its own."""
        return self.white.shape[1] > self.cloud.width


def study(
    model: Model,
    reader: Reader,
    samples: int = SAMPLES,
    space: Space | None = None,
    first_seed: int = FIRST_SEED,
    progress: Progress | None = None,
    apart: bool | None = None,
    **controls: Any,
) -> Study:
    """Draw pictures and read them. space: None takes styles where there are some.

    samples: at least 200; the error of a direction falls with their root. apart: let every layer of a style
    have slopes of its own, so that a step may move each its own way; this reads as many pictures more, whose
    layers have unrelated styles. None: where there are layers. Raises UsageError for too few samples.
    """
    if samples < LEAST:
        raise UsageError(f"a direction needs at least {LEAST} pictures to be found in, got {samples}")
    where: Space = space or ("style" if isinstance(model.family, Styled) else "noise")
    codes = codes_at(model, range(first_seed, first_seed + samples), where, **controls)
    values = codes.values[:, 0] if where == "style" else codes.values.flatten(1)
    cloud = cloud_of(model, where, **controls)
    white = cloud.white(values.double().numpy())
    layers = codes.values.shape[1] if where == "style" else 1
    mixes = layers > 1 and apart is not False
    pictures = samples * (1 + mixes)

    def read(of: Codes, done: int) -> np.ndarray:
        found = []
        for start in range(0, samples, SAMPLING_BATCH):
            part = of.cut(range(start, min(start + SAMPLING_BATCH, samples)))
            found.append(reader(paint(model, part, **controls)))
            if progress is not None:
                progress("pictures read", done + start + len(part), pictures)
        return np.concatenate(found)

    readings = fitted = read(codes, 0)
    if mixes:
        mixed = mixed_rows(samples, layers, first_seed)
        styles = torch.stack([codes.values[rows, k] for k, rows in enumerate(mixed)], 1)
        fitted = read(replace(codes, values=styles), samples)
        white = np.concatenate([white[rows] for rows in mixed], 1)  # (N, layers R)
    return Study(codes, readings, cloud, white, fitted, reader.attributes, reader.name)


def mixed_rows(samples: int, layers: int, seed: int) -> np.ndarray:
    """Whose style each layer takes, (layers, N): a shuffle a layer, so that layers have nothing in common."""
    draw = np.random.default_rng(seed)
    return np.stack([draw.permutation(samples) for _ in range(layers)])


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
    move; where the study does not tell them apart, the step is found for all and then given to these alone.
    tried: on so many of the study's pictures each direction is tried out by -amount and +amount, `ROUNDS`
    times, and the slopes are corrected by what it then did; 0 leaves it as fitted. Raises UsageError for
    unknown names and for one that no picture varies in.
    """
    moving = None if layers is None else list(layers)
    slopes, explained, found = scaled_slopes(studied, moving), _explained(studied), []
    chosen, weights = numbers_of(studied, targets), model_hash(model)
    chance = SURE * len(studied.fitted) ** -0.5

    def direction_of(white: np.ndarray, k: int) -> Direction:
        told = f"slopes of {studied.reader} on {len(studied.fitted)} pictures, R2 {explained[k]:.2f}"
        told += ", each layer its own way" if studied.apart else ""
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

        white = steepest_alone(slopes, k, held_for(studied, k), chance)
        if tried:
            white = try_out(white, slopes, k, held_for(studied, k), chance, changes)
        found.append(direction_of(white, k))
        if progress is not None:
            progress("directions", done + 1, len(chosen))
    return found


# Of a step in white numbers: means of the changes a white unit along it, and their errors, (W, K) each,
# in W ways of looking.
Changes = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def try_out(
    white: np.ndarray, slopes: np.ndarray, k: int, held: Sequence[int], chance: float, changes: Changes
) -> np.ndarray:
    """A step, tried, its slopes corrected and found anew, `ROUNDS` times: the best of those tried.

    slopes: (R, K). Each way of looking gets slopes of its own, since a bent generator answers them
    differently; a step is as good as the worst of them says, and has to be alone in all.
    """
    best, least, K = white, np.inf, slopes.shape[1]
    for tries in range(ROUNDS):
        means, errors = changes(white)  # (W, K) each
        ways = len(means)
        if tries == 0:
            slopes = np.tile(slopes, ways)  # (R, W K)
        others = np.abs(means[:, held]) + errors[:, held]
        worst = float(others.max(initial=0.0)) / max(float(means[:, k].min()), 1e-9)
        if worst < least:
            best, least = white, worst
        unit = white / np.linalg.norm(white)
        was = slopes.T @ unit
        slopes = corrected(slopes, unit, was + clear(means.ravel() - was, errors.ravel()))
        white = steepest_alone(slopes, k, [way * K + other for way in range(ways) for other in held], chance)
    return best


def scaled_slopes(studied: Study, layers: Sequence[int] | None = None) -> np.ndarray:
    """Slopes of the readings in units of their spreads on white codes, (R, K), or (B R, K) of layers apart.

    layers: those that may move; the others' slopes are told to be 0, where there are any.
    """
    slopes = white_slopes(studied.white, studied.fitted / studied.units, RIDGE)
    if studied.apart and layers is not None:
        blocks = slopes.reshape(-1, studied.cloud.width, slopes.shape[1])
        still = np.ones(len(blocks), dtype=bool)
        still[list(layers)] = False
        blocks[still] = 0
    return slopes


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
    """Mean change of each reading a unit of a direction, in spreads, and its standard error: (2, K) each.

    In two ways of looking, as `editing.Change` has them: from -amount to +amount, and from 0 to +amount.
    """
    codes, units = studied.codes.cut(range(min(tried, len(studied.codes)))), studied.units
    back, forth = (
        reader(paint(model, codes.moved(side * direction.vector), **controls)) / units
        for side in (-amount, amount)
    )
    still = studied.readings[: len(codes)] / units
    changes = np.stack([(forth - back) / (2 * amount), (forth - still) / amount])  # (2, N, K)
    return changes.mean(1), changes.std(1, ddof=1) / len(codes) ** 0.5


def held_for(studied: Study, k: int) -> list[int]:
    """Numbers of the attributes of other factors than attribute k's.

    Also of what no picture showed: it has no slope, but a step that is tried out may create it.
    """
    own = studied.attributes[k].factor
    return [j for j, a in enumerate(studied.attributes) if a.factor != own]


def step_of(model: Model, studied: Study, white: np.ndarray, layers: list[int] | None) -> Tensor:
    """A step in white numbers as one of codes: one unit is one standard deviation of the codes along it.

    Of layers apart, in the one that moves most.
    """
    cloud = studied.cloud
    step = (cloud.unit(white).reshape(-1, cloud.width) @ cloud.root.T).ravel()  # (D,) or (B D,)
    return shaped(torch.from_numpy(step), model, studied.codes.space, layers)


def _explained(studied: Study) -> np.ndarray:
    """R^2 of each reading on the last fifth of the pictures, from slopes of the rest: (K,)."""
    cut = int(len(studied.white) * (1 - HELD_BACK))
    slopes = white_slopes(studied.white[:cut], studied.fitted[:cut], RIDGE)
    return share_explained(studied.white[cut:], studied.fitted[cut:], slopes)


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
