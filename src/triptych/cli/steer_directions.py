"""`triptych steer RUN directions`: find latent directions and measure their effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from triptych.cli._flags import numbers
from triptych.cli._registry import Result, say
from triptych.cli._steer_common import (
    AmountFlags,
    Controls,
    LayersFlag,
    MovieFlags,
    amounts_of,
    labels_of,
    layers_of,
)
from triptych.cli.progress import throttled

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset
    from triptych.inference.pipeline import Pipeline
    from triptych.latent.attributes import AttributePredictor
    from triptych.latent.directions import Direction
    from triptych.latent.edits import Effect


@dataclass(kw_only=True)
class DirectionsFlags(AmountFlags, LayersFlag, MovieFlags):
    """Find latent directions that change one attribute, save them to a file, and measure what they do."""

    method: Literal["labels", "closed-form"] = "labels"
    """labels: supervised, from attributes that classifiers read in samples; closed-form: unsupervised, from
    the weights (SeFa, Shen and Zhou 2021)."""
    attributes: str | None = None
    """Attributes to find directions for, by name with commas between; left out: all."""
    count: int = 6
    """Number of closed-form directions."""
    samples: int = 4000
    """Samples to fit directions to; twice as many where every layer has its own direction."""
    refine_samples: int = 0
    """Samples on which each direction is tried and corrected for its side effects; 0: no correction."""
    effect_samples: int = 200
    """Other samples on which each direction's effect is measured; 0: none."""
    space: Literal["noise", "style"] | None = None
    """Latent space: noise (z) or style (w); left out: style where the model has one."""
    share_layers: bool = False
    """In style space, one direction for all layers, not one for each layer (from labels)."""
    seeds: str = "0"
    """The images that are shown moved along each direction."""
    out: Path = Path("directions.png")
    save: Path = Path("directions.safetensors")
    """File to save the directions to."""


def find_directions(pipeline: Pipeline, flags: DirectionsFlags, controls: Controls) -> Result:
    """Find directions.

    Args:
        pipeline: The model.
        flags: As typed.
        controls: Values of the model's own controls.

    Returns:
        What --json prints.
    """
    from triptych.latent.directions import check_writable, save

    amounts = amounts_of(flags)
    layers, seeds = layers_of(flags.layers, flags.space, pipeline), numbers(flags.seeds)
    check_writable(flags.save)
    find = from_labels if flags.method == "labels" else from_weights
    directions, effects = find(pipeline, flags, layers, controls)
    save(flags.save, directions)
    draw_directions(pipeline, flags, directions, seeds, amounts, controls)
    print_effects(effects)
    print(flags.save, flags.out, sep="\n")
    return {
        "directions": [direction.info.model_dump(mode="json") for direction in directions],
        "effects": [effect.model_dump(mode="json") for effect in effects],
        "save": str(flags.save),
        "out": str(flags.out),
    }


def from_labels(
    pipeline: Pipeline, flags: DirectionsFlags, layers: list[int] | None, controls: Controls
) -> tuple[list[Direction], list[Effect]]:
    """Find supervised directions.

    Args:
        pipeline: The model.
        flags: How to find them.
        layers: Layers that move; None: all.
        controls: The model's controls.

    Returns:
        The directions and their effects.
    """
    from triptych.evaluation.evaluate import data_of
    from triptych.latent.attribute_samples import sample_attributes
    from triptych.latent.attributes import predictor_for
    from triptych.latent.supervised_directions import (
        check_attribute_names,
        check_refinement_samples,
        fit_directions,
    )

    check_refinement_samples(flags.refine_samples)
    progress, labels = throttled(), labels_of(flags, pipeline)
    names = None if flags.attributes is None else flags.attributes.split(",")
    dataset = data_of(pipeline)
    predictor = predictor_for(dataset, names)
    accuracies = "; ".join(f"{name} {accuracy}" for name, accuracy in predictor.accuracy.items())
    say(f"attributes are read by {predictor.name} ({accuracies})")
    # before thousands of samples are drawn
    check_attribute_names(predictor.name, predictor.attributes, names or ())
    attribute_samples = sample_attributes(
        pipeline, predictor, flags.samples, flags.space, labels, False if flags.share_layers else None,
        progress=progress, **controls,
    )  # fmt: skip
    if attribute_samples.codes.space == "style":
        say(
            "one direction for each layer" if attribute_samples.blocks > 1 else "one direction for all layers"
        )
    directions = fit_directions(
        pipeline, predictor, attribute_samples, names, layers, flags.refine_samples, progress=progress
    )
    return measure_effects(pipeline, directions, flags.effect_samples, labels, controls, predictor, dataset)


def from_weights(
    pipeline: Pipeline, flags: DirectionsFlags, layers: list[int] | None, controls: Controls
) -> tuple[list[Direction], list[Effect]]:
    """Find closed-form directions; measure their effects where attributes of the data can be read.

    Args:
        pipeline: The model.
        flags: How to find them.
        layers: Layers that move; None: all.
        controls: The model's controls.

    Returns:
        The directions and their effects.
    """
    from triptych.latent.directions import closed_form_directions

    directions = closed_form_directions(pipeline, flags.count, flags.space, layers, **controls)
    return measure_if_possible(
        pipeline, directions, flags.effect_samples, labels_of(flags, pipeline), controls
    )


def measure_if_possible(
    pipeline: Pipeline,
    directions: list[Direction],
    samples: int,
    labels: list[int] | None,
    controls: Controls,
) -> tuple[list[Direction], list[Effect]]:
    """As `measure_effects`, or a message where the data are missing or have no attributes.

    Args:
        pipeline: The model.
        directions: The directions.
        samples: Samples to measure on; 0: none.
        labels: Classes of these samples.
        controls: The model's controls.

    Returns:
        The directions and their effects.
    """
    if not samples:
        return directions, []
    from triptych.evaluation.evaluate import data_of
    from triptych.latent.attributes import binary_factors, predictor_for

    try:
        dataset = data_of(pipeline)
        factors = binary_factors(dataset)
        predictor = predictor_for(dataset, [d.name for d in directions if d.name in factors])
    except (ValueError, OSError) as error:
        say(f"effects were not measured: {error}")
        return directions, []
    return measure_effects(pipeline, directions, samples, labels, controls, predictor, dataset)


def measure_effects(
    pipeline: Pipeline,
    directions: list[Direction],
    samples: int,
    labels: list[int] | None,
    controls: Controls,
    predictor: AttributePredictor,
    dataset: Dataset,
) -> tuple[list[Direction], list[Effect]]:
    """Measure what directions do to samples on which they were not found.

    Args:
        pipeline: The model.
        directions: The directions.
        samples: How many; 0: none.
        labels: Their classes.
        controls: The model's controls.
        predictor: Reads attributes in images.
        dataset: The training data, for the feature extractor.

    Returns:
        The directions with their effects noted, and the effects.
    """
    if not samples:
        return directions, []
    from triptych.evaluation.classifier import extractor_for
    from triptych.latent.codes import codes_at
    from triptych.latent.edits import measure, with_effects
    from triptych.latent.supervised_directions import EVALUATION_SEED

    progress = throttled()
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + samples)
    codes = codes_at(pipeline, seeds, directions[0].info.space, labels, **controls)
    extractor = extractor_for(dataset, "auto", progress, pipeline.device)
    effects = measure(pipeline, codes, directions, 1.0, predictor, extractor, progress, **controls)
    return with_effects(directions, effects), effects


def draw_directions(
    pipeline: Pipeline,
    flags: DirectionsFlags,
    directions: Sequence[Direction],
    seeds: Sequence[int],
    amounts: Sequence[float],
    controls: Controls,
) -> None:
    """Write the image: a row for each direction and seed.

    Args:
        pipeline: The model.
        flags: Where to, and the labels.
        directions: The directions.
        seeds: The images that are moved.
        amounts: How far, a column each.
        controls: The model's controls.
    """
    from triptych.latent.codes import codes_at
    from triptych.latent.edits import traverse as move
    from triptych.viz.sheets import write_sheet

    codes = codes_at(pipeline, seeds, directions[0].info.space, labels_of(flags, pipeline), **controls)
    images = move(pipeline, codes, directions, amounts, **controls)
    names = [f"{d.name}" + (f", {seed}" if len(seeds) > 1 else "") for seed in seeds for d in directions]
    write_sheet(
        flags.out, images.reshape(-1, *images.shape[2:]), names, [f"{a:+.3g}" for a in amounts], moves=True
    )


def print_effects(effects: Sequence[Effect]) -> None:
    """Print a line for each direction: its effect on the target, and on the most changed other factor."""
    if any(effect.ratio is not None for effect in effects):
        print(
            "Effect of one unit on each factor, in standard deviations: mean over the step from -1 to +1 "
            "and, in parentheses, from 0 to +1. ratio: target over the most changed other factor, "
            "each by the less favorable of the two; two-sided ratio: by the step from -1 to +1 alone."
        )
    for effect in effects:
        target, other = effect.target, effect.others[0] if effect.others else None
        parts: list[str] = []
        if target is not None:
            parts.append(f"target {target.two_sided:+.2f} +-{2 * target.error:.2f} ({target.one_sided:+.2f})")
        if other is not None:
            parts.append(
                f"largest side effect {other.factor} {other.two_sided:+.2f} ({other.one_sided:+.2f})"
            )
        if effect.ratio is not None:
            parts.append(f"ratio {effect.ratio:.1f}")
        if effect.two_sided_ratio is not None:
            parts.append(f"two-sided ratio {effect.two_sided_ratio:.1f}")
        if effect.feature_distance is not None:
            parts.append(f"feature distance {effect.feature_distance:.2f}")
        print(f"{effect.direction}: {', '.join(parts)}")
