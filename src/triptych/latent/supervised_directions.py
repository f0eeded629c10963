"""Directions from predicted attributes: the step that raises one attribute and leaves other factors alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean
from triptych.inference.pipeline import Pipeline
from triptych.latent.attribute_samples import AttributeDataset, Progress
from triptych.latent.attributes import Attribute, AttributePredictor
from triptych.latent.codes import model_hash, synthesize
from triptych.latent.directions import Direction, make_direction, to_code_shape
from triptych.latent.linear_fit import (
    broyden_update,
    least_squares_slopes,
    orthogonalized_direction,
    r_squared,
)

EVALUATION_SEED = 5_000_000  # of samples on which effects are measured
MIN_REFINEMENT_SAMPLES = 20
RIDGE = 10.0  # ridge penalty, in pseudo-observations
STANDARD_ERRORS = 2.0  # of a slope, taken as its error: about the largest of twenty
ROUNDS = 5
VALIDATION_SHARE = 0.2  # of the samples, for R^2 of the linear fit


def fit_directions(
    model: Pipeline,
    predictor: AttributePredictor,
    data: AttributeDataset,
    targets: Sequence[str] | None = None,
    layers: Iterable[int] | None = None,
    refinement_samples: int = 0,
    amount: float = 1.0,
    progress: Progress | None = None,
) -> list[Direction]:
    """Find for each target the shortest step that raises it and leaves every other factor alone.

    The attributes of the target's own factor are not constrained: classes of one factor exclude each other.

    Args:
        model: The model.
        predictor: Predicts the attributes of images.
        data: Samples with attributes.
        targets: Names of attributes; None for all that vary, but the sine and cosine of turns and, of a model
            with labels, the class, which the label decides.
        layers: Which layers of a style move; where `data` has no slopes per layer, the step is found for all
            and then given to these alone.
        refinement_samples: On so many of the samples (at most all) each direction is applied by -amount and
            +amount, `ROUNDS` times, and the slopes are corrected by what it then did; 0 leaves it as fitted.
        amount: In standard deviations of the codes.
        progress: Called with (what, done, total).

    Returns:
        One direction per target.

    Raises:
        UsageError: A name is unknown, an attribute does not vary or no chosen layer changes it, or there are
            1 to 19 refinement samples.
    """
    check_refinement_samples(refinement_samples)
    refining = min(refinement_samples, len(data.codes))
    moving = None if layers is None else list(layers)
    slopes, explained, directions = standardized_slopes(data, moving), _validation_r_squared(data), []
    chosen, weights = attribute_indices(data, targets), model_hash(model)
    error = STANDARD_ERRORS * data.dof**-0.5

    def direction_of(whitened: np.ndarray, k: int) -> Direction:
        kind = "samples" if data.blocks == 1 else "samples of mixed styles"
        how = f"slopes of {data.predictor} on {len(data.fitted_values)} {kind}, R2 {explained[k]:.2f}"
        how += ", layer by layer" if data.blocks > 1 else ""
        how += f", refined on {refining}" if refining else ""
        step = code_step(model, data, whitened, moving)
        return make_direction(model, data.attributes[k].name, data.codes.space, how, step, weights)

    for done, k in enumerate(chosen):

        def changes(whitened: np.ndarray, k: int = k) -> tuple[np.ndarray, np.ndarray]:
            means, errors = _mean_changes(model, predictor, data, direction_of(whitened, k), refining, amount)
            length = float(np.linalg.norm(data.distribution.unit_step(whitened)))  # in whitened coordinates
            return means / length, errors / length

        if not slopes[:, k].any():
            where = "" if moving is None else f" of the layers {', '.join(map(str, moving))} alone"
            raise UsageError(f"no step{where} changes {data.attributes[k].name!r}")
        constrained = other_factors(data, k)
        whitened = orthogonalized_direction(slopes, k, constrained, error)
        if refining and constrained:
            whitened = refine_direction(whitened, slopes, k, constrained, error, changes)
        directions.append(direction_of(whitened, k))
        if progress is not None:
            progress("directions", done + 1, len(chosen))
    return directions


def check_refinement_samples(count: int) -> None:
    """Check a number of samples to refine directions on.

    Args:
        count: The number of samples.

    Raises:
        UsageError: It is neither 0 nor at least 20.
    """
    if count != 0 and count < MIN_REFINEMENT_SAMPLES:
        raise UsageError(
            f"directions are refined on 0 samples (not at all), or on {MIN_REFINEMENT_SAMPLES} or more, "
            f"got {count}"
        )


# From a step in whitened coordinates to the mean changes per unit of it and their standard errors, (W, K)
# each, of W ways to measure.
Changes = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def refine_direction(
    whitened: np.ndarray,
    slopes: np.ndarray,
    target: int,
    constrained: Sequence[int],
    error: float,
    changes: Changes,
) -> np.ndarray:
    """Apply a step, correct the slopes by what it did, find it anew, `ROUNDS` times.

    Each way to measure (two-sided, one-sided) has slopes of its own, as a nonlinear generator responds
    differently; a step is as good as the worst of them says.

    Args:
        whitened: (R,) the fitted step.
        slopes: (R, K).
        target: The index of the target attribute.
        constrained: The indices of those that should not change.
        error: As for `orthogonalized_direction`.
        changes: Measures a step.

    Returns:
        (R,), the best of the steps that were measured.
    """
    best, least, K = whitened, np.inf, slopes.shape[1]
    for tries in range(ROUNDS):
        means, errors = changes(whitened)  # (W, K) each
        ways = len(means)
        if tries == 0:
            slopes = np.tile(slopes, ways)  # (R, W K)
        others = np.abs(means[:, constrained]) + errors[:, constrained]
        raised = float(means[:, target].min())
        worst = float(others.max()) / raised if raised > 0 else np.inf
        if worst < least:
            best, least = whitened, worst
        unit = whitened / np.linalg.norm(whitened)
        predicted = slopes.T @ unit
        significant = shrink(means.ravel() - predicted, errors.ravel())
        slopes = broyden_update(slopes, unit, predicted + significant)
        indices = [way * K + other for way in range(ways) for other in constrained]
        whitened = orthogonalized_direction(slopes, target, indices, error)
    return best


def standardized_slopes(data: AttributeDataset, layers: Sequence[int] | None = None) -> np.ndarray:
    """Fit slopes of the attributes, in their units, on whitened codes.

    Args:
        data: Samples with attributes.
        layers: Which layers may move; the slopes of the others are set to 0, where layers have own slopes.

    Returns:
        (R, K), or (B R, K) for B layers.
    """
    slopes = least_squares_slopes(data.whitened, data.fitted_values / data.units, RIDGE)
    if data.blocks > 1 and layers is not None:
        blocks = slopes.reshape(data.blocks, data.distribution.rank, -1)
        fixed = np.ones(len(blocks), dtype=bool)
        fixed[list(layers)] = False
        blocks[fixed] = 0
    return slopes


def shrink(means: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Shrink means by what may be chance: m max(0, 1 - 4 e^2 / m^2), 0 within two standard errors.

    The fitted step has an error too: without this a step that was right would be spoiled by refinement.

    Args:
        means: m.
        errors: Their standard errors e, of the same shape.

    Returns:
        Of the same shape.
    """
    return means * np.maximum(0.0, 1.0 - 4 * errors**2 / np.maximum(means**2, 1e-300))


def _mean_changes(
    model: Pipeline,
    predictor: AttributePredictor,
    data: AttributeDataset,
    direction: Direction,
    samples: int,
    amount: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean change of each attribute per unit of a direction, in its units, and its error: (2, K) each.

    Measured as `edits.Change` does: two-sided from -amount to +amount, and one-sided from 0 to +amount.
    """
    codes, units = data.codes.select(range(samples)), data.units
    low, high = (
        predictor(synthesize(model, codes.translate(side * direction.vector), **data.controls)) / units
        for side in (-amount, amount)
    )
    unedited = data.values[: len(codes)] / units
    changes = np.stack([(high - low) / (2 * amount), (high - unedited) / amount])  # (2, N, K)
    return changes.mean(1), changes.std(1, ddof=1) / len(codes) ** 0.5


def other_factors(data: AttributeDataset, k: int) -> list[int]:
    """List the attributes of other factors than one attribute's.

    Also those that no sample showed: they have no slope, but a step may create them.

    Args:
        data: Samples with attributes.
        k: The index of the attribute.

    Returns:
        Indices into `data.attributes`.
    """
    own = data.attributes[k].factor
    return [j for j, a in enumerate(data.attributes) if a.factor != own]


def code_step(
    model: Pipeline, data: AttributeDataset, whitened: np.ndarray, layers: list[int] | None
) -> Tensor:
    """Turn a step in whitened coordinates into a step of codes, one standard deviation of the codes long.

    Args:
        model: The model.
        data: Samples with attributes.
        whitened: (R,), or (B R,) for B layers, of which the one that moves most gets unit length.
        layers: Which layers move; None for all.

    Returns:
        float32, of the shape of one code.
    """
    distribution = data.distribution
    steps = distribution.unit_step(whitened).reshape(data.blocks, -1) @ distribution.factor.T  # (B, D)
    if data.blocks > 1 and layers is not None:
        steps[[k for k in range(data.blocks) if k not in layers]] = 0  # rounding errors of the equations
    return to_code_shape(torch.from_numpy(steps.ravel()), model, data.codes.space, layers)


def _validation_r_squared(data: AttributeDataset) -> np.ndarray:
    """R^2 of each attribute on the last fifth of the samples, with slopes from the rest: (K,)."""
    cut = int(len(data.whitened) * (1 - VALIDATION_SHARE))
    slopes = least_squares_slopes(data.whitened[:cut], data.fitted_values[:cut], RIDGE)
    return r_squared(data.whitened[cut:], data.fitted_values[cut:], slopes)


def check_attribute_names(predictor: str, attributes: Sequence[Attribute], targets: Iterable[str]) -> None:
    """Check the names of target attributes.

    Args:
        predictor: The name of what predicts them.
        attributes: All that it predicts.
        targets: The names to check.

    Raises:
        UsageError: One is the name of no attribute.
    """
    names = [attribute.name for attribute in attributes]
    for name in targets:
        if name not in names:
            hint = did_you_mean(name, names)
            raise UsageError(f"{predictor} predicts no {name!r}.{hint} There are: {', '.join(names)}")


def attribute_indices(data: AttributeDataset, targets: Sequence[str] | None) -> list[int]:
    """Find the indices of target attributes.

    Args:
        data: Samples with attributes.
        targets: Names; None as for `fit_directions`.

    Returns:
        Indices into `data.attributes`.

    Raises:
        UsageError: A name is unknown, or the attribute does not vary.
    """
    names, varies = [a.name for a in data.attributes], data.varies
    if targets is None:
        left_out = {"turn"} if data.codes.labels is None else {"turn", "class"}
        return [k for k, a in enumerate(data.attributes) if varies[k] and a.factor not in left_out]
    check_attribute_names(data.predictor, data.attributes, targets)
    for name in targets:
        if not varies[names.index(name)]:
            alike = f"all {len(data.values)} samples have the same {name!r}"
            alike += "" if data.codes.labels is None else " within a label"
            raise UsageError(f"{alike}: there is no direction to find")
    return [names.index(name) for name in targets]
