"""The acts of `triptych steer` that work on images: invert, edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.cli._flags import numbers
from triptych.cli._registry import Result, say
from triptych.cli._steer_common import (
    AmountFlags,
    Controls,
    MovieFlags,
    SpaceFlag,
    SteerFlags,
    amounts_of,
    check_at_most_one,
    labels_of,
    load_directions,
)
from triptych.cli.progress import throttled
from triptych.cli.steer_directions import measure_if_possible, print_effects

if TYPE_CHECKING:
    from triptych.inference.pipeline import Pipeline
    from triptych.latent.codes import Space
    from triptych.latent.inversion import Inversion


@dataclass(kw_only=True)
class GivenImagesFlags:
    """Of acts on images that the model did not draw."""

    images: tuple[Path, ...] = ()
    """Image files; cropped and resized where needed, ..."""
    test_rows: str | None = None
    """... or images of the test split by row: 0-7."""


@dataclass(kw_only=True)
class InvertFlags(GivenImagesFlags, SpaceFlag, SteerFlags):
    """Find the latent codes of given images (left out: the first eight test images), and measure how far
    their reconstructions are off."""

    out: Path = Path("invert.png")


def invert(pipeline: Pipeline, flags: InvertFlags, controls: Controls) -> Result:
    """Invert images.

    Args:
        pipeline: The model.
        flags: As typed.
        controls: Values of the model's own controls.

    Returns:
        What --json prints.
    """
    check_at_most_one(images=flags.images, test_rows=flags.test_rows)
    import numpy as np

    from triptych.core.images import is_points
    from triptych.viz.sheets import write_sheet

    labels = labels_of(flags, pipeline)
    inversion = invert_images(pipeline, flags.images, flags.test_rows, flags.space, labels, controls)
    names = [one.image for one in inversion.errors]
    if is_points(inversion.images):  # both are drawn in one plot
        names = [f"{name}:\ngiven faint,\nreconstructed dark" for name in names]
    pairs = np.stack([inversion.images, inversion.reconstructed], 1)  # (N, 2, H, W, C)
    write_sheet(flags.out, pairs, names, ["given", "reconstructed"], faint=1)
    for one in inversion.errors:
        line = (
            f"{one.image}: mean squared error {one.mse:.4f} (unrelated samples: {one.baseline_mse:.4f}), "
            f"PSNR {one.psnr:.1f} dB"
        )
        if one.feature_distance is not None:
            line += (
                f", feature distance[{one.extractor}] {one.feature_distance:.2f} of that to unrelated samples"
            )
        print(line)
    print(flags.out)
    return {"images": [one.model_dump(mode="json") for one in inversion.errors], "out": str(flags.out)}


def invert_images(
    pipeline: Pipeline,
    files: Sequence[Path],
    test_rows: str | None,
    space: Space,
    labels: list[int] | None,
    controls: Controls,
) -> Inversion:
    """Find the latent codes of image files or test images.

    Args:
        pipeline: The model.
        files: Image files; () for test images.
        test_rows: Rows of the test split; None for the first eight.
        space: Latent space to search.
        labels: Classes of the images; None: those of the test split, where it has some.
        controls: The model's controls.

    Returns:
        The inversion.

    Raises:
        UsageError: For rows that the test split does not have.
    """
    import numpy as np

    from triptych.core.errors import UsageError
    from triptych.evaluation.classifier import extractor_for
    from triptych.evaluation.evaluate import data_of
    from triptych.latent import inversion as inverting

    dataset = None
    if files:
        prepared = [inverting.prepare_image(pipeline, file) for file in files]
        for _, message in prepared:
            if message is not None:
                say(message)
        pixels, names = np.stack([image for image, _ in prepared]), [file.name for file in files]
    else:
        dataset = data_of(pipeline)
        rows = numbers(test_rows) if test_rows else list(range(min(8, len(dataset.test))))
        if max(rows) >= len(dataset.test):
            raise UsageError(f"the test split has the rows 0-{len(dataset.test) - 1}, got {test_rows}")
        pixels, names = np.asarray(dataset.test.pixels[rows]), [f"test {row}" for row in rows]
        if labels is None and pipeline.model.conditional and dataset.test.labels is not None:
            labels = [int(label) for label in dataset.test.labels[rows]]
    # before a classifier is trained
    inverting.resolve_labels(pipeline, len(pixels), space, labels, **controls)
    try:
        extractor = extractor_for(dataset or data_of(pipeline), "auto", throttled(), pipeline.device)
    except ValueError as error:
        say(f"distances in features were not measured: {error}")
        extractor = None
    return inverting.invert(pipeline, pixels, space, labels, extractor, names, **controls)


@dataclass(kw_only=True)
class EditFlags(AmountFlags, GivenImagesFlags, MovieFlags):
    """Move images along one direction from a file, and measure what that changes."""

    direction: str
    """FILE or FILE:NAME, as saved by triptych steer RUN directions."""
    range: float = 2.0
    """Move from -RANGE to +RANGE, in the direction's units."""
    frames: int = 5
    seeds: str | None = None
    """Seeds of the images to edit (0-5 if nothing is given), or give --images or --test-rows."""
    out: Path = Path("edit.png")
    effect_samples: int = 200
    """Samples on which the effect is measured; 0: none."""


def edit(pipeline: Pipeline, flags: EditFlags, controls: Controls) -> Result:
    """Edit images.

    Args:
        pipeline: The model.
        flags: As typed.
        controls: Values of the model's own controls.

    Returns:
        What --json prints.

    Raises:
        UsageError: For two kinds of images, or a file of several directions without a name.
    """
    from triptych.core.errors import UsageError
    from triptych.latent.codes import codes_at
    from triptych.latent.edits import edit as move
    from triptych.viz.sheets import write_sheet

    check_at_most_one(seeds=flags.seeds, images=flags.images, test_rows=flags.test_rows)
    amounts, labels = amounts_of(flags), labels_of(flags, pipeline)
    directions = load_directions(flags.direction)
    if len(directions) > 1:
        names = ", ".join(d.name for d in directions)
        raise UsageError(f"{flags.direction} holds several directions: choose one, as in FILE:NAME ({names})")
    space = directions[0].info.space
    if flags.images or flags.test_rows is not None:
        inversion = invert_images(pipeline, flags.images, flags.test_rows, space, labels, controls)
        codes, captions = inversion.codes, [one.image for one in inversion.errors]
    else:
        seeds = numbers(flags.seeds or "0-5")
        codes = codes_at(pipeline, seeds, space, labels, **controls)
        captions = list(map(str, seeds))
    images = move(pipeline, codes, directions[0], amounts, **controls)
    write_sheet(flags.out, images, captions, [f"{a:+.3g}" for a in amounts], moves=True)
    _, effects = measure_if_possible(pipeline, directions, flags.effect_samples, labels, controls)
    print_effects(effects)
    print(flags.out)
    return {
        "direction": directions[0].info.model_dump(mode="json"),
        "effects": [effect.model_dump(mode="json") for effect in effects],
        "out": str(flags.out),
    }
