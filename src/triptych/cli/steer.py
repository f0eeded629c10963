"""The verb that steers: one model, one act, one sheet of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.cli._flags import first_word, numbers, weights_in
from triptych.cli._registry import say, verb
from triptych.cli._steer_common import (
    ACTS,
    ALIASES,
    LAYERS,
    MOVIE,
    ONE_LABEL,
    ORDER,
    SHEET,
    SPACE,
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

USAGE = "triptych steer RUN ACT [flags]"


@verb("steer", "act on a run's noise or styles: interpolate, mix, find directions, edit, invert")
def steer(words: list[str]) -> dict[str, Any]:
    """Steer a model."""
    path = first_word(words, "the run", USAGE)
    if path is None:
        print(f"usage: {USAGE}\n" + "\n".join(f"  {name:<12} {ACTS[name][1]}" for name in ORDER))
        print("triptych steer RUN says what can be done with that run")
        return {}
    from triptych.core.errors import UsageError
    from triptych.inference.pipeline import load

    if ALIASES.get(path, path) in ACTS and not Path(path).exists():  # "steer mix RUN" is as plain
        if len(words) < 2 or words[1].startswith("-"):
            raise UsageError(f"of which run? triptych steer RUN {path}, with --help for the flags")
        path, words = words[1], [words[1], path, *words[2:]]
    elif not Path(path).exists() and len(words) > 1 and Path(words[1]).exists():
        raise UsageError(f"nothing called {path!r} can be done with a model.{did_you_mean(path)}")
    own_family = words[words.index("--family") + 1] if "--family" in words[:-1] else None
    rest = words[1:]
    name = ALIASES.get(rest[0], rest[0]) if rest and not rest[0].startswith("-") else None
    if name is not None and name not in ACTS:
        raise UsageError(f"nothing called {name!r} can be done with a model.{did_you_mean(name)}")
    model = load(path, model_file=own_family, weights=weights_in(words))
    return what_can_be_done(model, path) if name is None else ACTS[name][0](model, path, rest[1:])


def did_you_mean(name: str) -> str:
    """The act that a mistyped name is nearest to, and all there are."""
    from triptych.core.nearest import did_you_mean as hint

    return f"{hint(name, ORDER)} There are: {', '.join(ORDER)}"


def what_can_be_done(model: Any, path: str) -> dict[str, Any]:
    """Say which acts a model allows, and why others are closed to it."""
    from triptych.latent.codes import code_shape, spaces_of

    spaces = {space: list(code_shape(model, space)) for space in spaces_of(model)}
    controls = list(model.model.Controls.model_fields)
    closed: dict[str, str] = {}
    if "style" not in spaces:
        closed["mix"] = "no styles between noise and picture"
    if spaces["noise"] != [2]:
        closed["map"] = "needs a noise of two numbers, or two chosen: --dimensions 0,1"
    if not controls:
        closed["sweep"] = "no controls"
    told = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in spaces.items())
    print(f"{model.model.title}, {path}. Spaces: {told}. Controls: {', '.join(controls) or 'none'}.")
    for name in ORDER:
        print(f"  {name:<12} {'not here: ' + closed[name] if name in closed else ACTS[name][1]}")
    print(f"triptych steer {path} ACT --help lists the flags of one")
    return {"spaces": spaces, "controls": controls, "acts": [name for name in ORDER if name not in closed]}


@act("interpolate", "pictures on the way from seed to seed")
def interpolate(model: Any, path: str, words: list[str]) -> dict[str, Any]:
    """Walk between seeds."""
    flags = flags_for(
        model, path, "interpolate", words,
        seeds=(str, "0-7", "Where the ways lead through: 0-7 or 1,5,9."),
        stops=(int, 2, "Seeds on one way: with --seeds 0-7, two make four rows and eight one row."),
        frames=(int, 9, "Pictures from one stop to the next, both counted."),
        out=(Path, Path("interpolate.png"), MOVIE),
        how=(str | None, None, "slerp (an arc) or lerp (a line); left out: slerp in noise, lerp in styles."),
        space=SPACE,
    )  # fmt: skip
    from triptych.latent import interpolation
    from triptych.viz.sheets import write_sheet

    seeds, labels = numbers(flags.seeds), labels_of(flags, model)
    whole_rows(len(seeds), flags.stops)
    rows = [seeds[k : k + flags.stops] for k in range(0, len(seeds), flags.stops)]
    told: Any = labels
    if labels is not None and len(labels) == len(seeds):
        told = [labels[k : k + flags.stops] for k in range(0, len(seeds), flags.stops)]
    shown = interpolation.interpolate(
        model, rows, flags.frames, flags.how, flags.space, told, **controls_of(flags, model)
    )
    write_sheet(flags.out, shown, ["-".join(map(str, row)) for row in rows], moves=True)
    print(flags.out)
    return {"out": str(flags.out), "shape": list(shown.shape), "rows": rows}


def whole_rows(count: int, stops: int) -> None:
    """Raises UsageError, with numbers that would do, where `count` seeds do not make rows of `stops`."""
    from triptych.core.errors import UsageError

    if stops < 2:
        raise UsageError(f"a way leads from seed to seed: give --stops 2 or more, got {stops}")
    if count % stops == 0:
        return
    near = sorted({count - count % stops, count + stops - count % stops} - {0})
    would_do = f"{' or '.join(map(str, near))} seeds"
    fit = [k for k in range(2, count + 1) if count % k == 0]
    if fit:
        nearest = map(str, sorted(sorted(fit, key=lambda k: abs(k - stops))[:3]))
        would_do = f"--stops {' or '.join(nearest)}, or {would_do}"
    seeds = "1 seed makes" if count == 1 else f"{count} seeds make"
    raise UsageError(f"{seeds} no whole rows of {stops} stops: give {would_do}")


@act("traverse", "single numbers of the code, or directions from a file, from -reach to reach")
def traverse(model: Any, path: str, words: list[str]) -> dict[str, Any]:
    """Move along coordinates or directions."""
    flags = flags_for(
        model, path, "traverse", words,
        seeds=(str, "0", "Where to start from."),
        numbers=(str | None, None, "Numbers of the code to move, left out: the first eight, ..."),
        direction=(str | None, None, "... or a file of directions, or FILE:NAME, one of them."),
        reach=(float, 3.0, "How far both ways, in standard deviations of the code."),
        frames=(int, 7, "Pictures in a row."),
        out=(Path, Path("traverse.png"), MOVIE),
        space=SPACE,
        layers=LAYERS,
    )  # fmt: skip
    one_of(flags, "numbers", "direction")
    from triptych.latent.codes import codes_at
    from triptych.latent.directions import coordinates
    from triptych.latent.edits import traverse as move
    from triptych.viz.sheets import write_sheet

    controls, seeds, layers = controls_of(flags, model), numbers(flags.seeds), layers_of(flags, model)
    if flags.direction is not None:
        directions = directions_of(flags.direction)
    else:
        moving = None if flags.numbers is None else numbers(flags.numbers)
        directions = coordinates(model, moving, flags.space, layers, **controls)
    codes = codes_at(model, seeds, directions[0].about.space, labels_of(flags, model), **controls)
    amounts = amounts_of(flags.reach, flags.frames)
    shown = move(model, codes, directions, amounts, **controls)  # (N, D, A, H, W, C)
    names = [f"{d.name}" + (f", {seed}" if len(seeds) > 1 else "") for seed in seeds for d in directions]
    write_sheet(
        flags.out, shown.reshape(-1, *shown.shape[2:]), names, [f"{a:+.3g}" for a in amounts], moves=True
    )
    print(flags.out)
    return {"out": str(flags.out), "directions": [d.name for d in directions], "amounts": amounts}


@act("map", "the whole of a two-number noise space with its axes, and where test images are encoded to")
def draw_map(model: Any, path: str, words: list[str]) -> dict[str, Any]:
    """Map a space of two numbers."""
    flags = flags_for(
        model, path, "map", words,
        across=(int, 15, "Images a side."),
        dimensions=(str | None, None, "Of a larger noise, the two numbers to map: 0,5; the others are 0."),
        test=(int, 2000, "Test images encoded and drawn beside the map, by an encoder; 0: none."),
        labels=ONE_LABEL,
    )  # fmt: skip
    from triptych.core.errors import UsageError
    from triptych.latent import mapping
    from triptych.latent.interpolation import latent_map

    chosen = None if flags.dimensions is None else numbers(flags.dimensions)
    if chosen is not None and len(chosen) != 2:
        raise UsageError(f"--dimensions are two numbers like 0,5, got {flags.dimensions!r}")
    pair = None if chosen is None else (chosen[0], chosen[1])
    controls = controls_of(flags, model)
    shown = latent_map(model, flags.across, labels_of(flags, model), pair, **controls)
    encoded = None
    if flags.test > 0:
        try:
            encoded = mapping.encode_test_images(model, flags.test, pair or (0, 1), **controls)
        except (ValueError, OSError) as error:
            say(f"no test images beside the map: {error}")
    mapping.write_map(flags.out, shown, pair or (0, 1), encoded)
    print(flags.out)
    return {
        "out": str(flags.out), "across": flags.across, "dimensions": list(pair or (0, 1)),
        "encoded": 0 if encoded is None else len(encoded.places),
    }  # fmt: skip


@act("mix", "some layers in one picture's style, the rest in another's")
def mix(model: Any, path: str, words: list[str]) -> dict[str, Any]:
    """Mix styles."""
    flags = flags_for(
        model, path, "mix", words,
        donors=(str, "0-3", "Seeds whose styles are put in: the rows."),
        bases=(str, "10-15", "Seeds into which they are put: the columns."),
        layers=(str, "coarse", "The donors' layers: coarse, middle, fine, all, or 0-2,5."),
        donor_run=(Path | None, None, "Another run of the same shape whose seeds the donors are."),
        labels=ONE_LABEL,
    )  # fmt: skip
    from triptych.inference.pipeline import load
    from triptych.latent import style_mixing
    from triptych.runs.run import open_run
    from triptych.viz.sheets import framed, write_sheet

    giver = None
    if flags.donor_run is not None:
        owned = open_run(flags.donor_run).card.model_file
        giver = load(flags.donor_run, model_file=flags.family if owned else None, weights=flags.weights)
    donors, bases = numbers(flags.donors), numbers(flags.bases)
    shown, left, top = style_mixing.mix(
        model, donors, bases, flags.layers, labels_of(flags, model), giver, **controls_of(flags, model)
    )
    heads = [f"{flags.layers} of {seed}" for seed in donors]
    write_sheet(flags.out, framed(shown, left, top), ["", *heads], ["", *map(str, bases)])
    if giver is not None:
        say("styles of another run mean the same only if one run was trained on from the other")
    print(flags.out)
    return {"out": str(flags.out), "donors": donors, "bases": bases, "layers": flags.layers}


@act("sweep", "one control over several values: pictures, quality, diversity (sweep.png and sweep.svg)")
def sweep(model: Any, path: str, words: list[str]) -> dict[str, Any]:
    """Sweep truncation, or another control."""
    flags = flags_for(
        model, path, "sweep", words,
        control=(str, "truncation", "The control that changes: truncation, guidance, ..."),
        values=(str, "0.25,0.5,0.7,0.85,1", "Its values."),
        seeds=(str, "0-7", "Whose pictures are shown at each value."),
        samples=(int, 1000, "Pictures scored at each value."),
        features=(str, "auto", "Who judges; see triptych evaluate."),
        labels=(str | None, None, "Classes of the images shown, by name or number: bag, or one a seed: 0-9; "
                "scored are all."),
        out=(Path, Path("sweep.png"), f"{SHEET} The scores "
             "are drawn beside it, in a file of the same name that ends in .svg."),
    )  # fmt: skip
    from triptych.core.errors import UsageError
    from triptych.latent import sweep as sweeping
    from triptych.viz.sheets import write_sheet

    try:
        values = [float(part) for part in flags.values.split(",")]
    except ValueError as error:
        raise UsageError(f"--values are numbers like 0.5,0.7,1, got {flags.values!r}") from error
    controls = {k: v for k, v in controls_of(flags, model).items() if k != flags.control}
    found = sweeping.sweep(
        model, values, flags.control, numbers(flags.seeds), flags.samples, flags.features,
        labels=labels_of(flags, model), progress=said_slowly(), **controls,
    )  # fmt: skip
    write_sheet(flags.out, found.pictures, sweeping.row_names(found.measured))
    print("\n".join(sweeping.lines(found.measured)))
    chart = flags.out.with_suffix(".svg")
    chart.write_text(sweeping.chart(found.measured), encoding="utf-8")
    print(chart, flags.out, sep="\n")
    return {**found.measured.model_dump(mode="json"), "chart": str(chart), "out": str(flags.out)}
