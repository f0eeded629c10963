"""The command line: one short function a verb. Sees everything, is seen by nothing.

Torch is imported by the verbs that need it, so that `triptych --help` answers at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from triptych import __version__

if TYPE_CHECKING:
    from pydantic import BaseModel

VERBS: dict[str, tuple[Callable[[list[str]], dict[str, Any]], str]] = {}


def verb(name: str, summary: str) -> Callable[[Callable[[list[str]], dict[str, Any]]], Any]:
    """Make a function a verb: it takes the words after its name and returns what --json prints."""

    def register(function: Callable[[list[str]], dict[str, Any]]) -> Any:
        VERBS[name] = (function, summary)
        return function

    return register


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] == "--version":
        print(f"triptych {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return complain(f"unknown verb {name!r}.{hint} There are: {', '.join(VERBS)}", 2)
    try:
        return run_verb(name, rest)
    except KeyboardInterrupt as stop:
        return complain(str(stop) or "stopped; nothing had been saved yet", 130)
    except BrokenPipeError:  # the reader of our output has gone: | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def run_verb(name: str, rest: list[str]) -> int:
    """Run a known verb and turn its errors into one sentence and an exit code."""
    from triptych.core.errors import UsageError

    as_json = "--json" in rest
    try:
        result = VERBS[name][0]([word for word in rest if word != "--json"])
    except UsageError as error:
        return complain(str(error), 2)
    except (ValueError, OSError) as error:
        if os.environ.get("TRIPTYCH_DEBUG"):
            raise
        return complain(str(error), 1)
    if as_json:
        print(json.dumps(result))
    return int(result.get("exit", 0))


def complain(message: str, code: int) -> int:
    """Say what is wrong on standard error."""
    print(f"triptych: {message}", file=sys.stderr)
    return code


def say(message: str) -> None:
    """Tell the person at the terminal; standard output is kept for results."""
    print(message, file=sys.stderr, flush=True)


def overview() -> str:
    """What `triptych --help` prints."""
    lines = [f"  {name:<10} {summary}" for name, (_, summary) in VERBS.items()]
    return "\n".join(
        [
            "triptych: GANs, VAEs and diffusion models under one protocol",
            "",
            "usage: triptych VERB ...       (triptych VERB --help says more)",
            "",
            *lines,
            "",
            "start with:  triptych demo",
            "exit codes:  0 done, 1 failed, 2 wrong usage, 130 interrupted with the state saved",
        ]
    )


# --- flags ---------------------------------------------------------------------------------


def flags_of(*models: type[BaseModel], **own: tuple[Any, Any, str]) -> type:
    """A dataclass of flags: `own` ones (type, default or `...`, help), then each model's fields."""
    import tyro

    from triptych.core.errors import UsageError

    def field(kind: Any, default: Any, text: str) -> tuple[Any, Any]:
        given = dataclasses.field() if default is ... else dataclasses.field(default=default)
        return Annotated[kind, tyro.conf.arg(help=text)], given

    fields = [(name, *field(*parts)) for name, parts in own.items()]
    for model in models:
        for name, info in model.model_fields.items():
            if name not in own:
                kind, text = model.__annotations__.get(name), info.description or ""
                fields.append((name, *field(info.rebuild_annotation() if kind else Any, info.default, text)))
    names = [name for name, *_ in fields]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"two settings are called {min(twice)!r}: the family must give its own another name")
    return dataclasses.make_dataclass("Flags", fields, kw_only=True)


def parse(words: list[str], flags: type, prog: str, about: str) -> Any:
    """Read words into flags; wrong ones end the program with a message and exit code 2."""
    import tyro

    return tyro.cli(
        flags, args=words, prog=f"triptych {prog}", description=about, config=(tyro.conf.AvoidSubcommands,)
    )


def first_word(words: list[str], what: str, usage: str) -> str | None:
    """The positional word that decides which flags there are; None when help is asked for without it."""
    from triptych.core.errors import UsageError

    if words and not words[0].startswith("-"):
        return words[0]
    if "-h" in words or "--help" in words:
        return None
    raise UsageError(f"{what} must come first: {usage}")


def numbers(text: str) -> list[int]:
    """'0-3,8' -> [0, 1, 2, 3, 8]."""
    from triptych.core.errors import UsageError

    chosen: list[int] = []
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        try:
            chosen += range(int(low), int(high or low) + 1)
        except ValueError as error:
            raise UsageError(f"expected numbers like 0-63 or 1,5,9, got {text!r}") from error
    if not chosen:
        raise UsageError(f"{text!r} names no number: ranges run upwards, as in 0-63")
    return chosen


def given(flags: Any, model: type[BaseModel]) -> dict[str, Any]:
    """The values of the flags that are a model's fields."""
    return {name: getattr(flags, name) for name in model.model_fields if hasattr(flags, name)}


# --- verbs ---------------------------------------------------------------------------------


@verb("demo", "train a GAN, a VAE and a diffusion model side by side and write one report")
def demo(words: list[str]) -> dict[str, Any]:
    """The main job."""
    from triptych import demo as job

    flags = parse(words, job.DemoFlags, "demo", job.ABOUT)
    return job.demo(flags, say)


@verb("train", "train one family: triptych train dcgan --data mnist --minutes 5")
def train(words: list[str]) -> dict[str, Any]:
    """Train a family from scratch."""
    usage = "triptych train FAMILY --data SOURCE [--minutes M]"
    name = first_word(words, "the family", usage)
    from triptych.driver import train as begin
    from triptych.model import family_names, load_family
    from triptych.plan import Options
    from triptych.progress import progress_bar

    if name is None:
        print(f"usage: {usage}\nfamilies: {', '.join(family_names())}, or a path to a .py file of your own")
        print("triptych train FAMILY --help lists the flags of one")
        return {}
    kind = load_family(name)
    own = {
        "runs": (Path, Path("runs"), "Directory the new run is made in."),
        "name": (str | None, None, "Name of the run after its number; left out: family and data."),
    }
    flags = parse(
        words[1:], flags_of(Options, kind.Config, **own), f"train {name}", kind.__doc__ or kind.title
    )
    settings = {**given(flags, Options), **given(flags, kind.Config)}
    source = settings.pop("data")
    with progress_bar(kind.title) as watch:
        run = begin(
            name, source, runs=flags.runs, name=flags.name, watch=watch,
            command=shlex.join(["triptych", "train", *words]), **settings,
        )  # fmt: skip
    return finished(run)


@verb("resume", "go on with a stopped run, to the same bits")
def resume(words: list[str]) -> dict[str, Any]:
    """Go on with a run."""
    flags = parse(
        words,
        flags_of(
            run=(positional(Path), ..., "The run's directory."),
            steps=(int | None, None, "A new total number of steps."),
            family=(str | None, None, "Path to the family's .py file, if it was one of your own."),
        ),
        "resume",
        "Go on with a stopped run, to the same bits as if it had never stopped.",
    )
    from triptych.driver import resume as go_on
    from triptych.progress import progress_bar

    with progress_bar(flags.run.name) as watch:
        run = go_on(flags.run, flags.steps, watch=watch, family=flags.family)
    return finished(run)


@verb("sample", "draw pictures from a run: a grid, an array or a folder")
def sample(words: list[str]) -> dict[str, Any]:
    """Draw pictures."""
    path = first_word(words, "the run", "triptych sample RUN [--seeds 0-63] [--out grid.png]")
    if path is None:
        print("usage: triptych sample RUN [--seeds 0-63] [--labels 0-9] [--out grid.png] [controls]")
        print("triptych sample RUN --help lists the controls of a run's family")
        return {}
    from triptych.gallery import write_pictures
    from triptych.model import load

    own_family = words[words.index("--family") + 1] if "--family" in words[:-1] else None
    model = load(path, family=own_family)
    controls = model.family.Controls
    flags = parse(
        words[1:],
        flags_of(
            controls,
            seeds=(str, "0-63", "One picture each: 0-63 or 1,5,9."),
            labels=(str | None, None, "Classes by number: 3, or 0-9 in turn over the seeds."),
            out=(Path, Path("grid.png"), "A labelled grid (.png), an array (.npy), or a folder of PNGs."),
            family=(str | None, None, "Path to the family's .py file, if it was one of your own."),
        ),
        f"sample {path}",
        f"Draw pictures with {model.family.title}.",
    )
    seeds = numbers(flags.seeds)
    cycle = numbers(flags.labels) if flags.labels is not None else None
    labels = [cycle[k % len(cycle)] for k in range(len(seeds))] if cycle else None
    drawn = model.sample(seeds, labels, **given(flags, controls))
    shown = labels if labels is not None else model.labels_for(seeds)
    names = model.class_names
    write_pictures(flags.out, drawn, seeds, None if shown is None else [names[int(k)] for k in shown])
    print(flags.out)
    return {"out": str(flags.out), "pictures": len(drawn)}


@verb("evaluate", "score a run (or a folder of pictures against another)")
def evaluate(words: list[str]) -> dict[str, Any]:
    """Score pictures."""
    flags = parse(
        words,
        flags_of(
            model=(positional(Path | None), None, "The run's directory."),
            samples=(int, 2000, "Pictures to draw."),
            features=(str, "auto", "Who judges: auto, domain-cnn or random-conv."),
            real=(str | None, None, "Instead of a run: a source of real pictures, ..."),
            fake=(str | None, None, "... and one of made pictures to score against them."),
            size=(int | None, None, "Side in pixels at which --real and --fake are compared."),
            family=(str | None, None, "Path to the family's .py file, if it was one of your own."),
        ),
        "evaluate",
        "Score a run against its own test pictures, or one folder of pictures against another.",
    )
    from triptych import scoreboard
    from triptych.core.errors import UsageError

    if flags.model is not None and (flags.real or flags.fake):
        raise UsageError("give a run, or --real and --fake, not both")
    if flags.model is None:
        if not (flags.real and flags.fake):
            raise UsageError("give a run's directory, or both --real and --fake")
        from triptych.evaluate import score_sources

        scores = score_sources(flags.real, flags.fake, flags.features, flags.size)
        scoreboard.print_scores(scores, f"{flags.fake} against {flags.real}")
        return {"scores": [score.model_dump(mode="json") for score in scores]}
    from triptych.evaluate import evaluation
    from triptych.model import load

    model = load(flags.model, family=flags.family)
    made = evaluation(model, flags.samples, flags.features, progress=said_slowly())
    scoreboard.print_scores(made.scores, f"{model.family.title}, {flags.model}")
    scoreboard.print_classes(made)
    return made.model_dump(mode="json")


@verb("compare", "rank runs by their scores, as far as the intervals allow")
def compare(words: list[str]) -> dict[str, Any]:
    """Rank runs."""
    flags = parse(
        words,
        flags_of(
            paths=(positional(tuple[Path, ...]), ..., "Runs, or files that evaluate --json wrote."),
            metric=(str | None, None, "One score: FID, recall, ...; left out: all that every run has."),
            each=(bool, False, "Rank each run by itself, also those that differ by the seed alone."),
        ),
        "compare",
        "Rank runs by their newest scores. Runs that differ by the seed alone stand together.",
    )
    from triptych import scoreboard
    from triptych.compare import compare as compare_paths

    found = compare_paths(flags.paths, flags.metric, flags.each)
    scoreboard.print_comparison(found)
    return found.as_dict()


@verb("report", "write one HTML file about one run or several")
def report(words: list[str]) -> dict[str, Any]:
    """Write a report."""
    flags = parse(
        words,
        flags_of(
            run_dirs=(positional(tuple[Path, ...]), ..., "The runs' directories."),
            out=(Path, Path("report.html"), "The file to write."),
        ),
        "report",
        "Write one self-contained HTML file about one run or several, side by side.",
    )
    from triptych.core.errors import UsageError
    from triptych.report import write_report
    from triptych.run import open_run

    if not flags.run_dirs:
        raise UsageError("name at least one run: triptych report RUN... [--out report.html]")
    runs = [open_run(path) for path in flags.run_dirs]
    out = write_report(runs, flags.out, commands=[run.card["command"] for run in runs])
    print(out)
    return {"out": str(out)}


@verb("data", "data inspect SOURCE: what is in it, what is broken, what will be done")
def data(words: list[str]) -> dict[str, Any]:
    """Look at a source."""
    from triptych.core.errors import UsageError

    if not words or words[0] != "inspect":
        raise UsageError("expected: triptych data inspect SOURCE")
    flags = parse(
        words[1:],
        flags_of(source=(positional(str), ..., "digits, mnist, folder:PATH, ...")),
        "data inspect",
        "Say what a source holds, what is broken in it and what will be done with it.",
    )
    from triptych.data import inspect

    found = inspect(flags.source)
    print("\n".join(found.rows()))
    return {**found.content(), "exit": 1 if found.plan[0].startswith("refused") else 0}


def said_slowly() -> Callable[[str, int, int], None]:
    """A progress callback that says something every ten seconds."""
    import time

    last = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 10:
            last = time.monotonic()
            say(f"{what}: {done} of {total}")

    return tell


def positional(kind: Any) -> Any:
    """A flag without its name."""
    import tyro

    return Annotated[kind, tyro.conf.Positional]


def finished(run: Any) -> dict[str, Any]:
    """The last line of every verb that makes a run: its path."""
    print(run.path)
    return {"run": str(run.path)}


if __name__ == "__main__":
    sys.exit(main())
