"""Directions for what a reader reads: which step raises one factor and leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean
from triptych.inference.pipeline import Pipeline
from triptych.latent.attribute_samples import Progress, Study
from triptych.latent.attributes import Attribute, Reader
from triptych.latent.codes import model_hash, paint
from triptych.latent.directions import Direction, named, shaped
from triptych.latent.linear_fit import corrected, share_explained, steepest_alone, white_slopes

MEASURED_SEED = 5_000_000  # of pictures that directions are measured on
LEAST_TRIED = 20
RIDGE = 10.0  # pictures' worth of belief that a number of the code does nothing
SURE = 2.0  # standard errors of a slope that are reckoned with: about the largest of twenty
ROUNDS = 5
HELD_BACK = 0.2  # of the pictures, to say how far the readings are linear in the code


def find(
    model: Pipeline,
    reader: Reader,
    studied: Study,
    targets: Sequence[str] | None = None,
    layers: Iterable[int] | None = None,
    tried: int = 0,
    amount: float = 1.0,
    progress: Progress | None = None,
) -> list[Direction]:
    """For each target attribute the shortest step that raises it and leaves every other factor alone.

    Of the attribute's own factor nothing is held: the classes of one factor cannot but make way for
    each other. targets: names of attributes; None: all that vary, turns aside, and of a model with labels
    the class, which the label decides. layers: of styles, which shall move; where the study does not tell
    them apart, the step is found for all and then given to these alone. tried: on so many of the study's
    pictures (all, if there are fewer) each direction is tried out by -amount and +amount, `ROUNDS` times, and
    the slopes are corrected by what it then did; 0 leaves it as fitted. Raises UsageError for unknown names,
    for one that no picture varies in or no chosen layer moves, and for fewer than 20 tried.
    """
    check_tried(tried)
    tried, moving = min(tried, len(studied.codes)), None if layers is None else list(layers)
    slopes, explained, found = scaled_slopes(studied, moving), _explained(studied), []
    chosen, weights = numbers_of(studied, targets), model_hash(model)
    chance = SURE * studied.freedom**-0.5

    def direction_of(white: np.ndarray, k: int) -> Direction:
        kind = "pictures" if studied.blocks == 1 else "pictures of mixed styles"
        told = f"slopes of {studied.reader} on {len(studied.fitted)} {kind}, R2 {explained[k]:.2f}"
        told += ", each layer its own way" if studied.blocks > 1 else ""
        told += f", tried out on {tried}" if tried else ""
        step = step_of(model, studied, white, moving)
        return named(model, studied.attributes[k].name, studied.codes.space, told, step, weights)

    for done, k in enumerate(chosen):

        def changes(white: np.ndarray, k: int = k) -> tuple[np.ndarray, np.ndarray]:
            means, errors = _changes(model, reader, studied, direction_of(white, k), tried, amount)
            length = float(np.linalg.norm(studied.cloud.unit(white)))  # of the direction, in white numbers
            return means / length, errors / length

        if not slopes[:, k].any():
            where = "" if moving is None else f" of the layers {', '.join(map(str, moving))} alone"
            raise UsageError(f"no step{where} moves {studied.attributes[k].name!r}")
        held = held_for(studied, k)
        white = steepest_alone(slopes, k, held, chance)
        if tried and held:
            white = try_out(white, slopes, k, held, chance, changes)
        found.append(direction_of(white, k))
        if progress is not None:
            progress("directions", done + 1, len(chosen))
    return found


def check_tried(tried: int) -> None:
    """Raises UsageError for a number of pictures that a direction could not be tried out on."""
    if tried != 0 and tried < LEAST_TRIED:
        raise UsageError(f"a direction is tried out on {LEAST_TRIED} pictures or more, or 0, got {tried}")


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
        others, risen = np.abs(means[:, held]) + errors[:, held], float(means[:, k].min())
        worst = float(others.max()) / risen if risen > 0 else np.inf
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
    if studied.blocks > 1 and layers is not None:
        blocks = slopes.reshape(studied.blocks, studied.cloud.width, -1)
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
    model: Pipeline,
    reader: Reader,
    studied: Study,
    direction: Direction,
    tried: int,
    amount: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean change of each reading a unit of a direction, in spreads, and its standard error: (2, K) each.

    In two ways of looking, as `editing.Change` has them: from -amount to +amount, and from 0 to +amount.
    """
    codes, units = studied.codes.cut(range(tried)), studied.units
    back, forth = (
        reader(paint(model, codes.moved(side * direction.vector), **studied.controls)) / units
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


def step_of(model: Pipeline, studied: Study, white: np.ndarray, layers: list[int] | None) -> Tensor:
    """A step in white numbers as one of codes: one unit is one standard deviation of the codes along it.

    Of layers apart, in the one that moves most.
    """
    cloud = studied.cloud
    steps = cloud.unit(white).reshape(studied.blocks, -1) @ cloud.root.T  # (B, D)
    if studied.blocks > 1 and layers is not None:
        steps[[k for k in range(studied.blocks) if k not in layers]] = 0  # the equations leave dust there
    return shaped(torch.from_numpy(steps.ravel()), model, studied.codes.space, layers)


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
            hint = did_you_mean(name, names)
            raise UsageError(f"{reader} reads no {name!r}.{hint} There are: {', '.join(names)}")


def numbers_of(studied: Study, targets: Sequence[str] | None) -> list[int]:
    """The numbers of attributes that are called so. Raises UsageError for others and for constant ones."""
    names, varies = [a.name for a in studied.attributes], studied.varies
    if targets is None:
        left_out = {"turn"} if studied.codes.labels is None else {"turn", "class"}
        return [k for k, a in enumerate(studied.attributes) if varies[k] and a.factor not in left_out]
    known(studied.reader, studied.attributes, targets)
    for name in targets:
        if not varies[names.index(name)]:
            alike = f"all {len(studied.readings)} pictures read alike in {name!r}"
            alike += "" if studied.codes.labels is None else " within a label"
            raise UsageError(f"{alike}: there is nothing to find")
    return [names.index(name) for name in targets]
