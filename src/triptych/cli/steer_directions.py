"""The acts of `triptych steer` that know a direction or a picture: directions, invert, edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.cli._flags import numbers
from triptych.cli._registry import say
from triptych.cli._steer_common import (
    LAYERS,
    MOVIE,
    act,
    amounts_of,
    controls_of,
    directions_of,
    flags_for,
    labels_of,
    layers_of,
    one_of,
)
from triptych.cli.progress import said_slowly


@act("directions", "find steps that mean something, from labels or without, and keep them in a file")
def directions(model: Any, path: str, words: list[str]) -> dict[str, Any]:
    """Find directions."""
    flags = flags_for(
        model, path, "directions", words,
        how=(str, "labels", "labels (what is read in the model's own pictures) or closed-form (none)."),
        attributes=(str | None, None, "Which to find, by name with commas between; left out: all."),
        count=(int, 6, "How many, of closed-form ones."),
        samples=(int, 4000, "Pictures drawn and read to find them, twice where layers move apart."),
        tried=(int, 0, "Pictures that each is tried out on, to take back what it does besides."),
        measured=(int, 200, "Other pictures that each is measured on; 0: none."),
        space=(str | None, None, "noise or style; left out: style where there is one."),
        together=(bool, False, "Of styles, move all layers alike, not each its own way (from labels)."),
        layers=LAYERS,
        seeds=(str, "0", "Whose pictures are shown, moved along each."),
        reach=(float, 2.0, "How far both ways, in standard deviations of the code."),
        frames=(int, 7, "Pictures in a row."),
        out=(Path, Path("directions.png"), MOVIE),
        save=(Path, Path("directions.safetensors"), "The file they are kept in."),
    )  # fmt: skip
    from triptych.core.errors import UsageError
    from triptych.core.nearest import did_you_mean
    from triptych.latent.directions import fit_to_keep, save

    if flags.how not in ("labels", "closed-form"):
        hint = did_you_mean(flags.how, ("labels", "closed-form"))
        raise UsageError(f"--how is labels or closed-form, got {flags.how!r}.{hint}")
    amounts = amounts_of(flags.reach, flags.frames)
    layers, seeds = layers_of(flags, model), numbers(flags.seeds)
    fit_to_keep(flags.save)
    found, effects = (from_labels if flags.how == "labels" else from_weights)(model, flags, layers)
    save(flags.save, found)
    show_directions(model, flags, found, seeds, amounts)
    print_effects(effects)
    print(flags.save, flags.out, sep="\n")
    told = [effect.model_dump(mode="json") for effect in effects]
    about = [direction.about.model_dump(mode="json") for direction in found]
    return {"directions": about, "effects": told, "save": str(flags.save), "out": str(flags.out)}


def from_labels(model: Any, flags: Any, layers: list[int] | None) -> tuple[list[Any], list[Any]]:
    """Directions of what is read in a model's pictures, and their effects."""
    from triptych.evaluation.evaluate import data_of
    from triptych.latent.attribute_samples import study
    from triptych.latent.attributes import reader_for
    from triptych.latent.supervised_directions import check_tried, find, known

    check_tried(flags.tried)
    controls, tell, labels = controls_of(flags, model), said_slowly(), labels_of(flags, model)
    apart = False if flags.together else None
    names = None if flags.attributes is None else flags.attributes.split(",")
    dataset = data_of(model)
    reader = reader_for(dataset, names)
    say(f"read by: {reader.name} ({'; '.join(f'{k} {v}' for k, v in reader.accuracy.items())})")
    known(reader.name, reader.attributes, names or ())  # before thousands of pictures are drawn
    studied = study(model, reader, flags.samples, flags.space, labels, apart, progress=tell, **controls)
    if studied.codes.space == "style":
        say("each layer moves its own way" if studied.blocks > 1 else "all layers move alike")
    found = find(model, reader, studied, names, layers, flags.tried, progress=tell)
    return measured(model, flags, found, reader, dataset)


def from_weights(model: Any, flags: Any, layers: list[int] | None) -> tuple[list[Any], list[Any]]:
    """Directions read off the weights, and their effects where pictures can be read."""
    from triptych.latent.directions import closed_form_directions

    found = closed_form_directions(model, flags.count, flags.space, layers, **controls_of(flags, model))
    return measured_if_read(model, flags, found)


def measured_if_read(model: Any, flags: Any, found: list[Any]) -> tuple[list[Any], list[Any]]:
    """As `measured`; where the source's pictures are not to be had or cannot be read, that is said."""
    if not flags.measured:
        return found, []
    from triptych.evaluation.evaluate import data_of
    from triptych.latent.attributes import read_by_factor, reader_for

    try:
        dataset = data_of(model)
        factors = read_by_factor(dataset)
        reader = reader_for(dataset, [d.name for d in found if d.name in factors])
    except (ValueError, OSError) as error:
        say(f"not measured: {error}")
        return found, []
    return measured(model, flags, found, reader, dataset)


def measured(
    model: Any, flags: Any, found: list[Any], reader: Any, dataset: Any
) -> tuple[list[Any], list[Any]]:
    """The directions with their effects noted, and the effects."""
    if not flags.measured:
        return found, []
    from triptych.evaluation.classifier import extractor_for
    from triptych.latent.codes import codes_at
    from triptych.latent.edits import measure, with_effects
    from triptych.latent.supervised_directions import MEASURED_SEED

    controls, tell = controls_of(flags, model), said_slowly()
    seeds = range(MEASURED_SEED, MEASURED_SEED + flags.measured)
    codes = codes_at(model, seeds, found[0].about.space, labels_of(flags, model), **controls)
    judge = extractor_for(dataset, "auto", tell, model.device)
    effects = measure(model, codes, found, 1.0, reader, judge, tell, **controls)
    return with_effects(found, effects), effects


def show_directions(model: Any, flags: Any, found: list[Any], seeds: list[int], amounts: list[float]) -> None:
    """A row a direction and seed, from -reach to reach."""
    from triptych.latent.codes import codes_at
    from triptych.latent.edits import traverse as move
    from triptych.viz.sheets import write_sheet

    controls = controls_of(flags, model)
    codes = codes_at(model, seeds, found[0].about.space, labels_of(flags, model), **controls)
    shown = move(model, codes, found, amounts, **controls)
    names = [f"{d.name}" + (f", {seed}" if len(seeds) > 1 else "") for seed in seeds for d in found]
    write_sheet(
        flags.out, shown.reshape(-1, *shown.shape[2:]), names, [f"{a:+.3g}" for a in amounts], moves=True
    )


def print_effects(effects: list[Any]) -> None:
    """One line a direction: what it moved, in standard deviations a unit, and what else."""
    if any(effect.ratio is not None for effect in effects):
        print(
            "A unit moves each factor by so many standard deviations, on average from - to + and, in "
            "brackets, from no edit to +. Ratio: the target to the most moved other factor, each in the "
            "worse of the two; swing: from - to + alone."
        )
    for effect in effects:
        on, off = effect.target, effect.others[0] if effect.others else None
        line = f"{effect.direction}:"
        line += f" {on.mean:+.2f} +-{2 * on.error:.2f} ({on.forth:+.2f})," if on is not None else ""
        line += f" most else {off.factor} {off.mean:+.2f} ({off.forth:+.2f})" if off is not None else ""
        line += f", ratio {effect.ratio:.1f}" if effect.ratio is not None else ""
        line += f", swing {effect.swing:.1f}" if effect.swing is not None else ""
        print(line + (f"; picture drift {effect.identity:.2f}" if effect.identity is not None else ""))


@act("invert", "the codes of given pictures, and how far off what they draw is")
def invert(model: Any, path: str, words: list[str]) -> dict[str, Any]:
    """Invert pictures."""
    flags = flags_for(
        model, path, "invert", words,
        pictures=(tuple[Path, ...], (), "Picture files, made to fit where they do not, ..."),
        test=(str | None, None, "... or rows of the test split: 0-7."),
        space=(str, "noise", "noise, or style where the family has styles."),
    )  # fmt: skip
    one_of(flags, "pictures", "test")
    from triptych.core.images import is_points
    from triptych.viz.sheets import write_sheet

    found = inverted(model, flags)
    import numpy as np

    names = [f.picture for f in found.found]
    if is_points(found.given):  # both are drawn in one square
        names = [f"{name}:\ngiven faint,\nfound dark" for name in names]
    write_sheet(flags.out, np.stack([found.given, found.drawn], 1), names, ["given", "found"], faint=1)
    for one in found.found:
        near = (
            ""
            if one.features is None
            else f", distance[{one.judge}] {one.features:.2f} of an unrelated sample's"
        )
        print(f"{one.picture}: mean squared error {one.error:.4f} (unrelated {one.chance:.4f}), "
              f"PSNR {one.psnr:.1f} dB{near}")  # fmt: skip
    print(flags.out)
    return {"pictures": [f.model_dump(mode="json") for f in found.found], "out": str(flags.out)}


def inverted(model: Any, flags: Any) -> Any:
    """The inversion of the pictures that the flags name."""
    import numpy as np

    from triptych.core.errors import UsageError
    from triptych.evaluation.classifier import extractor_for
    from triptych.evaluation.evaluate import data_of
    from triptych.latent import inversion as inverting

    labels, controls = labels_of(flags, model), controls_of(flags, model)
    if flags.pictures:
        made = [inverting.prepared(model, file) for file in flags.pictures]
        for _, told in made:
            if told is not None:
                say(told)
        pixels, names = np.stack([one for one, _ in made]), [file.name for file in flags.pictures]
        dataset = None
    else:
        dataset = data_of(model)
        rows = numbers(flags.test) if flags.test else list(range(min(8, len(dataset.test))))
        if max(rows) >= len(dataset.test):
            raise UsageError(f"the test split has the rows 0-{len(dataset.test) - 1}, got {flags.test}")
        pixels, names = np.asarray(dataset.test.pixels[rows]), [f"test {row}" for row in rows]
        if labels is None and model.model.conditional and dataset.test.labels is not None:
            labels = [int(label) for label in dataset.test.labels[rows]]
    inverting.classes_of(model, len(pixels), flags.space, labels, **controls)  # before a judge is trained
    try:
        judge = extractor_for(dataset or data_of(model), "auto", said_slowly(), model.device)
    except ValueError as error:
        say(f"no distance in features: {error}")
        judge = None
    return inverting.invert(model, pixels, flags.space, labels, judge, names, **controls)


@act("edit", "move pictures along a direction kept in a file; measures what that did")
def edit(model: Any, path: str, words: list[str]) -> dict[str, Any]:
    """Edit pictures."""
    flags = flags_for(
        model, path, "edit", words,
        direction=(str, ..., "FILE or FILE:NAME, as triptych steer RUN directions wrote it."),
        reach=(float, 2.0, "How far both ways, in the direction's units."),
        frames=(int, 5, "Pictures in a row."),
        seeds=(str | None, None, "Whose pictures; if nothing is named, 0-5, ..."),
        pictures=(tuple[Path, ...], (), "... or picture files, ..."),
        test=(str | None, None, "... or rows of the test split: 0-7."),
        out=(Path, Path("edit.png"), MOVIE),
        measured=(int, 200, "Samples on which the edit is measured; 0: none."),
    )  # fmt: skip
    from triptych.core.errors import UsageError
    from triptych.latent.codes import codes_at
    from triptych.latent.edits import edit as move
    from triptych.viz.sheets import write_sheet

    one_of(flags, "seeds", "pictures", "test")
    amounts = amounts_of(flags.reach, flags.frames)
    found = directions_of(flags.direction)
    if len(found) > 1:
        names = ", ".join(d.name for d in found)
        raise UsageError(f"{flags.direction} holds several: add one's name, as in FILE:NAME ({names})")
    space, controls = found[0].about.space, controls_of(flags, model)
    flags.space = space
    if flags.pictures or flags.test is not None:
        inversion = inverted(model, flags)
        codes, names_ = inversion.codes, [f.picture for f in inversion.found]
    else:
        seeds = numbers(flags.seeds or "0-5")
        codes = codes_at(model, seeds, space, labels_of(flags, model), **controls)
        names_ = list(map(str, seeds))
    shown = move(model, codes, found[0], amounts, **controls)
    write_sheet(flags.out, shown, names_, [f"{a:+.3g}" for a in amounts], moves=True)
    _, effects = measured_if_read(model, flags, found)
    print_effects(effects)
    print(flags.out)
    told = [effect.model_dump(mode="json") for effect in effects]
    return {"direction": found[0].about.model_dump(mode="json"), "effects": told, "out": str(flags.out)}
