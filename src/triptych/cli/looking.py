"""The verbs that look: at pictures, runs and data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from triptych.cli.acts import classes_called
from triptych.cli.flags import WEIGHTS, first_word, flags_of, given, numbers, parse, positional, weights_in
from triptych.cli.verbs import verb

USAGE_OF_DATA = "expected: triptych data inspect SOURCE"


@verb("sample", "draw pictures from a run: a grid, an array or a folder")
def sample(words: list[str]) -> dict[str, Any]:
    """Draw pictures."""
    path = first_word(words, "the run", "triptych sample RUN [--seeds 0-63] [--out grid.png]")
    if path is None:
        print("usage: triptych sample RUN [--seeds 0-63] [--labels bag] [--out grid.png] [controls]")
        print("triptych sample RUN --help lists the controls of a run's family")
        return {}
    from triptych.gallery import film_of, fit_for_pictures, write_film, write_pictures
    from triptych.model import load

    own_family = words[words.index("--family") + 1] if "--family" in words[:-1] else None
    model = load(path, family=own_family, weights=weights_in(words))
    controls = model.family.Controls
    flags = parse(
        words[1:],
        flags_of(
            controls,
            seeds=(str, "0-63", "One picture each: 0-63 or 1,5,9."),
            labels=(str | None, None, "Classes by name or number: bag, or 0-9 in turn over the seeds."),
            out=(
                Path | None,
                None,
                "A grid with names (.png, .jpg, .webp, .gif; left out: grid.png), the "
                "images' array (.npy), arrays of images, seeds and labels (.npz), or a folder of PNGs.",
            ),
            film=(
                Literal["noisy", "predicted"] | None,
                None,
                "Show how a diffusion model's images come into "
                "being (--out film.gif, .webp or .npz): noisy, or as predicted at each step.",
            ),
            family=(str | None, None, "Path to the family's .py file, if it was one of your own."),
            weights=WEIGHTS,
        ),
        f"sample {path}",
        f"Draw pictures with {model.family.title}.",
    )
    flags.out = flags.out or Path("grid.png" if flags.film is None else "film.gif")
    fit_for_pictures(flags.out, film=flags.film is not None)  # said before the work
    seeds = numbers(flags.seeds)
    cycle = classes_called(flags.labels, model) if flags.labels is not None else None
    labels = [cycle[k % len(cycle)] for k in range(len(seeds))] if cycle else None
    shown = labels if labels is not None else model.labels_for(seeds)
    chosen = None if shown is None else [int(label) for label in shown]
    names = None if chosen is None else [model.class_names[label] for label in chosen]
    if flags.film is None:
        write_pictures(flags.out, model.sample(seeds, labels, **given(flags, controls)), seeds, names, chosen)
    else:
        film = film_of(model, seeds, labels, flags.film, **given(flags, controls))
        write_film(flags.out, film, seeds, names, chosen)
    print(flags.out)
    return {"out": str(flags.out), "pictures": len(seeds), "weights": model.weights}


@verb("report", "write one HTML file about one run or several, or about a duel")
def report(words: list[str]) -> dict[str, Any]:
    """Write a report."""
    flags = parse(
        words,
        flags_of(
            run_dirs=(positional(tuple[Path, ...]), ..., "The runs' directories, or a duel's."),
            out=(Path, Path("report.html"), "The file to write."),
            weights=WEIGHTS,
            tables=(Path | None, None, "Write the scores too: PATH.csv, and PATH.tex for LaTeX."),
            tensorboard=(Path | None, None, "Write TensorBoard event files into this folder too."),
        ),
        "report",
        "Write one self-contained HTML file about one run or several, side by side.",
    )
    from triptych.core.errors import UsageError
    from triptych.duel import is_duel, open_duel
    from triptych.report import write_duel, write_events, write_report, write_score_tables
    from triptych.run import open_run

    if flags.out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            f"--out {flags.out}: a report is one HTML file: {flags.out.with_suffix('.html').name}; scores as "
            "CSV and LaTeX: --tables PATH, event files: --tensorboard FOLDER"
        )
    if not flags.run_dirs:
        raise UsageError("name at least one run: triptych report RUN... [--out report.html]")
    if any(map(is_duel, flags.run_dirs)):
        if len(flags.run_dirs) > 1 or flags.tables or flags.tensorboard:
            raise UsageError(
                "a duel's report is about that duel alone, and its tables stand beside it: "
                "triptych report DUEL [--out report.html]"
            )
        out = write_duel(open_duel(flags.run_dirs[0]), flags.out)
        print(out)
        return {"out": str(out), "also": []}
    runs = [open_run(path) for path in flags.run_dirs]
    extra = [] if flags.tables is None else write_score_tables(runs, flags.tables)
    extra += [] if flags.tensorboard is None else write_events(runs, flags.tensorboard)
    out = write_report(runs, flags.out, commands=[run.card["command"] for run in runs], weights=flags.weights)
    print("\n".join(map(str, [*extra, out])))
    return {"out": str(out), "also": list(map(str, extra))}


@verb("data", "data inspect SOURCE: what is in it, what is broken, what will be done")
def data(words: list[str]) -> dict[str, Any]:
    """Look at a source."""
    from triptych.core.errors import UsageError
    from triptych.core.nearest import did_you_mean

    if not words or words[0] != "inspect":
        hint = did_you_mean(words[0], ("inspect",)) if words else ""
        raise UsageError(f"expected: triptych data inspect SOURCE.{hint}" if hint else USAGE_OF_DATA)
    flags = parse(
        words[1:],
        flags_of(
            source=(positional(str), ..., "digits, mnist, folder:PATH, ..."),
            size=(int | None, None, "Side of the images in pixels; left out: what suits the source."),
            colour=(Literal["auto", "grey", "rgb"], "auto", "Color mode, as triptych train takes it."),
        ),
        "data inspect",
        "Say what a source holds, what is broken in it and what will be done with it.",
    )
    from triptych.data import inspect

    found = inspect(flags.source, size=flags.size, colour=flags.colour)
    print("\n".join(found.rows()))
    return {**found.content(), "exit": 1 if found.plan[0].startswith("refused") else 0}
