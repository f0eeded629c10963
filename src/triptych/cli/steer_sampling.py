"""The acts of `triptych steer` that only sample: interpolate, traverse, map, mix, sweep."""

from __future__ import annotations

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
    OneLabelFlag,
    SpaceFlag,
    SteerFlags,
    amounts_of,
    check_at_most_one,
    labels_of,
    layers_of,
    load_directions,
)
from triptych.cli.progress import throttled

if TYPE_CHECKING:
    from triptych.inference.pipeline import Pipeline


@dataclass(kw_only=True)
class InterpolateFlags(SpaceFlag, MovieFlags):
    """Images on the path from one seed to the next."""

    seeds: str = "0-7"
    """The seeds to pass through: 0-7 or 1,5,9."""
    seeds_per_row: int = 2
    """Seeds on one path, a row each: with --seeds 0-7, 2 makes four rows and 8 makes one."""
    frames: int = 9
    """Images from one seed to the next, both included."""
    method: Literal["slerp", "lerp"] | None = None
    """slerp (spherical) or lerp (linear); left out: slerp in noise, lerp in style space."""
    out: Path = Path("interpolate.png")


def interpolate(pipeline: Pipeline, flags: InterpolateFlags, controls: Controls) -> Result:
    """Interpolate between seeds.

    Args:
        pipeline: The model.
        flags: As typed.
        controls: Values of the model's own controls.

    Returns:
        What --json prints.
    """
    from triptych.latent import interpolation
    from triptych.viz.sheets import write_sheet

    seeds, labels = numbers(flags.seeds), labels_of(flags, pipeline)
    check_whole_rows(len(seeds), flags.seeds_per_row)
    starts = range(0, len(seeds), flags.seeds_per_row)
    rows = [seeds[k : k + flags.seeds_per_row] for k in starts]
    row_labels: list[int] | list[list[int]] | None = labels
    if labels is not None and len(labels) == len(seeds):
        row_labels = [labels[k : k + flags.seeds_per_row] for k in starts]
    images = interpolation.interpolate(
        pipeline, rows, flags.frames, flags.method, flags.space, row_labels, **controls
    )
    write_sheet(flags.out, images, ["-".join(map(str, row)) for row in rows], moves=True)
    print(flags.out)
    return {"out": str(flags.out), "shape": list(images.shape), "rows": rows}


def check_whole_rows(count: int, per_row: int) -> None:
    """Refuse seeds that do not fill whole rows.

    Args:
        count: How many seeds there are.
        per_row: How many make a row.

    Raises:
        UsageError: With numbers that would do.
    """
    from triptych.core.errors import UsageError

    if per_row < 2:
        raise UsageError(f"a path needs two seeds: give --seeds-per-row 2 or more, got {per_row}")
    if count % per_row == 0:
        return
    near = sorted({count - count % per_row, count + per_row - count % per_row} - {0})
    would_do = f"{' or '.join(map(str, near))} seeds"
    fit = [k for k in range(2, count + 1) if count % k == 0]
    if fit:
        nearest = map(str, sorted(sorted(fit, key=lambda k: abs(k - per_row))[:3]))
        would_do = f"--seeds-per-row {' or '.join(nearest)}, or {would_do}"
    seeds = "1 seed does" if count == 1 else f"{count} seeds do"
    raise UsageError(f"{seeds} not fill whole rows of {per_row}: give {would_do}")


@dataclass(kw_only=True)
class TraverseFlags(AmountFlags, LayersFlag, SpaceFlag, MovieFlags):
    """Move along single dimensions of the latent code, or along directions from a file."""

    seeds: str = "0"
    """The images to start from."""
    dimensions: str | None = None
    """Dimensions of the latent code to move along: 0-7 or 1,5,9; left out: the first eight, ..."""
    direction: str | None = None
    """... or a file of directions, or FILE:NAME for one of them."""
    range: float = 3.0
    out: Path = Path("traverse.png")


def traverse(pipeline: Pipeline, flags: TraverseFlags, controls: Controls) -> Result:
    """Move along dimensions or directions.

    Args:
        pipeline: The model.
        flags: As typed.
        controls: Values of the model's own controls.

    Returns:
        What --json prints.

    Raises:
        UsageError: For flags that exclude each other.
    """
    from triptych.core.errors import UsageError
    from triptych.latent.codes import codes_at
    from triptych.latent.directions import coordinate_directions
    from triptych.latent.edits import traverse as move
    from triptych.viz.sheets import write_sheet

    check_at_most_one(dimensions=flags.dimensions, direction=flags.direction)
    if flags.direction is not None and flags.layers is not None:
        raise UsageError("a direction from a file moves the layers it was found for: leave --layers out")
    seeds, layers = numbers(flags.seeds), layers_of(flags.layers, flags.space, pipeline)
    if flags.direction is not None:
        directions = load_directions(flags.direction)
    else:
        chosen = None if flags.dimensions is None else numbers(flags.dimensions)
        directions = coordinate_directions(pipeline, chosen, flags.space, layers, **controls)
    codes = codes_at(pipeline, seeds, directions[0].info.space, labels_of(flags, pipeline), **controls)
    amounts = amounts_of(flags)
    images = move(pipeline, codes, directions, amounts, **controls)  # (N, D, A, H, W, C)
    names = [f"{d.name}" + (f", {seed}" if len(seeds) > 1 else "") for seed in seeds for d in directions]
    write_sheet(
        flags.out, images.reshape(-1, *images.shape[2:]), names, [f"{a:+.3g}" for a in amounts], moves=True
    )
    print(flags.out)
    return {"out": str(flags.out), "directions": [d.name for d in directions], "amounts": amounts}


@dataclass(kw_only=True)
class MapFlags(OneLabelFlag, SteerFlags):
    """Draw a grid over a two-dimensional latent space, with its axes, beside the codes of test images."""

    grid_size: int = 15
    """Images on each side of the grid."""
    dimensions: str | None = None
    """For a larger noise, the two dimensions to map, 0,5; the others are held at 0."""
    test_images: int = 2000
    """Test images to encode and plot beside the map, where the model has an encoder; 0: none."""
    out: Path = Path("map.png")


def draw_map(pipeline: Pipeline, flags: MapFlags, controls: Controls) -> Result:
    """Map a two-dimensional latent space.

    Args:
        pipeline: The model.
        flags: As typed.
        controls: Values of the model's own controls.

    Returns:
        What --json prints.

    Raises:
        UsageError: For --dimensions that are not two numbers.
    """
    from triptych.core.errors import UsageError
    from triptych.latent import mapping
    from triptych.latent.interpolation import latent_map

    chosen = None if flags.dimensions is None else numbers(flags.dimensions)
    if chosen is not None and len(chosen) != 2:
        raise UsageError(f"expected two numbers like --dimensions 0,5, got {flags.dimensions!r}")
    pair = None if chosen is None else (chosen[0], chosen[1])
    images = latent_map(pipeline, flags.grid_size, labels_of(flags, pipeline), pair, **controls)
    encoded = None
    if flags.test_images > 0:
        try:
            encoded = mapping.encode_test_images(pipeline, flags.test_images, pair or (0, 1), **controls)
        except (ValueError, OSError) as error:
            say(f"no test images beside the map: {error}")
    mapping.write_map(flags.out, images, pair or (0, 1), encoded)
    print(flags.out)
    return {
        "out": str(flags.out), "grid_size": flags.grid_size, "dimensions": list(pair or (0, 1)),
        "encoded": 0 if encoded is None else len(encoded.coordinates),
    }  # fmt: skip


@dataclass(kw_only=True)
class MixFlags(OneLabelFlag, SteerFlags):
    """Style mixing: some layers take the styles of one seed, the rest those of another."""

    donors: str = "0-3"
    """Seeds that give the styles of the chosen layers: the rows."""
    bases: str = "10-15"
    """Seeds that give the styles of all other layers: the columns."""
    layers: str = "coarse"
    """The layers that take the donors' styles: coarse, middle, fine, all, or 0-2,5."""
    donor_run: Path | None = None
    """Take the donors from this other run, whose model has the same shape."""
    out: Path = Path("mix.png")


def mix(pipeline: Pipeline, flags: MixFlags, controls: Controls) -> Result:
    """Mix styles.

    Args:
        pipeline: The model.
        flags: As typed.
        controls: Values of the model's own controls.

    Returns:
        What --json prints.
    """
    from triptych.inference.pipeline import load
    from triptych.latent import style_mixing
    from triptych.runs.run import open_run
    from triptych.viz.sheets import framed, write_sheet

    donor = None
    if flags.donor_run is not None:
        model_file = flags.model_file if open_run(flags.donor_run).card.model_file else None
        donor = load(flags.donor_run, model_file=model_file, weights=flags.weights)
    donors, bases = numbers(flags.donors), numbers(flags.bases)
    images, left, top = style_mixing.mix(
        pipeline, donors, bases, flags.layers, labels_of(flags, pipeline), donor, **controls
    )
    captions = [f"{flags.layers} of {seed}" for seed in donors]
    write_sheet(flags.out, framed(images, left, top), ["", *captions], ["", *map(str, bases)])
    if donor is not None:
        say("styles of two runs have the same meaning only if one run was fine-tuned from the other")
    print(flags.out)
    return {"out": str(flags.out), "donors": donors, "bases": bases, "layers": flags.layers}


@dataclass(kw_only=True)
class SweepFlags(SteerFlags):
    """Sample and score at several values of one control."""

    control: str = "truncation"
    """The control to vary: truncation, guidance, ..."""
    values: str = "0.25,0.5,0.7,0.85,1"
    """Its values."""
    seeds: str = "0-7"
    """The images drawn at each value."""
    samples: int = 1000
    """Samples scored at each value."""
    features: str = "auto"
    """Feature extractor of the scores: see triptych evaluate --help."""
    labels: str | None = None
    """Classes of the images drawn, by name or number: bag, or one for each seed: 0-9; all are scored."""
    out: Path = Path("sweep.png")
    """An image with captions (.png, .jpg, .webp, .gif), or the images as an array (.npy, .npz). The scores
    are plotted beside it, as sweep.svg (the same name, ending in .svg)."""


def sweep(pipeline: Pipeline, flags: SweepFlags, controls: Controls) -> Result:
    """Sweep truncation, or another control.

    Args:
        pipeline: The model.
        flags: As typed.
        controls: Values of the model's own controls.

    Returns:
        What --json prints.

    Raises:
        UsageError: For values that are not numbers.
    """
    from triptych.core.errors import UsageError
    from triptych.latent import sweep as sweeping
    from triptych.viz.sheets import write_sheet

    try:
        values = [float(part) for part in flags.values.split(",")]
    except ValueError as error:
        raise UsageError(f"expected numbers like --values 0.5,0.7,1, got {flags.values!r}") from error
    others = {name: value for name, value in controls.items() if name != flags.control}
    swept = sweeping.sweep(
        pipeline, values, flags.control, numbers(flags.seeds), flags.samples, flags.features,
        labels=labels_of(flags, pipeline), progress=throttled(), **others,
    )  # fmt: skip
    write_sheet(flags.out, swept.images, sweeping.row_labels(swept.scores))
    print("\n".join(sweeping.summary_lines(swept.scores)))
    chart = flags.out.with_suffix(".svg")
    chart.write_text(sweeping.chart(swept.scores), encoding="utf-8")
    print(chart, flags.out, sep="\n")
    return {**swept.scores.model_dump(mode="json"), "chart": str(chart), "out": str(flags.out)}
