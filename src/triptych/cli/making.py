"""The verbs that train."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from triptych.cli.afterwards import say_what_next
from triptych.cli.flags import first_word, flags_of, given, parse, positional
from triptych.cli.verbs import say, verb


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
    from triptych.configure import default_preset, describe_presets, named_in, preset_values
    from triptych.driver import train as begin
    from triptych.model import family_names, load_user_family
    from triptych.plan import Options
    from triptych.progress import progress_bar

    if name is None:
        print(f"usage: {usage}\nfamilies: {', '.join(family_names())}, or a path to a .py file of your own")
        print("triptych train FAMILY --help lists the presets and the flags of one")
        return {}
    kind = load_user_family(name)
    preset, usual = named_in(words) or default_preset(kind), default_preset(kind)
    suited = dict(preset_values(kind, preset))
    presets: Any = Literal[tuple(kind.presets)] if usual else Literal[tuple(kind.presets)] | None
    about = f"Settings to start from, shown below as defaults. {describe_presets(kind)}."
    own = {
        **({"preset": (presets, usual, about)} if kind.presets else {}),
        "runs": (Path, Path("runs"), "Directory the new run is made in."),
        "name": (str | None, None, "Name of the run after its number; left out: family and data."),
    }
    shape = flags_of(Options, kind.Config, suited=suited, **own)
    flags = parse(words[1:], shape, f"train {name}", kind.__doc__ or kind.title)
    settings = {**given(flags, Options, suited), **given(flags, kind.Config, suited)}
    source = settings.pop("data")
    if flags.track:
        say(f"follow it live: tensorboard --logdir {shlex.quote(str(flags.runs))}")
    with progress_bar(kind.title) as watch:
        run = begin(
            name, source, preset=preset, runs=flags.runs, name=flags.name, watch=watch, announce=say,
            command=shlex.join(["triptych", "train", *words]), **settings,
        )  # fmt: skip
    return finished(run, name)


@verb("resume", "go on with a stopped run, to the same bits")
def resume(words: list[str]) -> dict[str, Any]:
    """Go on with a run."""
    flags = parse(
        words,
        flags_of(
            run=(positional(Path), ..., "The run's directory, or a duel's."),
            steps=(int | None, None, "A new total number of steps."),
            family=(
                str | None,
                None,
                "Path to the family's .py file, if it was one of your own; several of a duel with commas.",
            ),
        ),
        "resume",
        "Go on with a stopped run, to the same bits as if it had never stopped.",
    )
    from triptych.duel import is_duel, open_duel

    if is_duel(flags.run):
        return fought(open_duel(flags.run), None, flags.family.split(",") if flags.family else ())
    from triptych.driver import resume as go_on
    from triptych.progress import progress_bar
    from triptych.run import open_run

    with progress_bar(open_run(flags.run).card.get("title") or flags.run.name) as watch:
        run = go_on(flags.run, flags.steps, watch=watch, announce=say, family=flags.family)
    return finished(run, flags.family)


@verb("duel", "families against each other: equal budgets, several seeds, one judge, one report")
def duel(words: list[str]) -> dict[str, Any]:
    """A contest under one protocol."""
    from triptych import duel as contest
    from triptych.core.errors import UsageError

    flags = parse(
        words,
        flags_of(
            families=(
                positional(tuple[str, ...]),
                ...,
                'Each alone, or with flags: "dcgan --preset paper".',
            ),
            data=(str, "digits", "Where the pictures come from: digits, mnist, folder:PATH, ..."),
            size=(int | None, None, "Side of the pictures in pixels; left out: what suits the source."),
            minutes=(float | None, None, "Budget of each training in minutes (5 if none is given), ..."),
            images=(int | None, None, "... or in pictures seen, ..."),
            flops=(float | None, None, "... or in floating-point operations."),
            repeats=(
                int,
                1,
                "Trainings of each family, from seeds of their own; from 3 on families are judged.",
            ),
            seed=(int, 0, "The first of these seeds."),
            samples=(int, 1000, "Pictures drawn at each look."),
            features=(str, "auto", "Who judges; see triptych evaluate."),
            runs=(Path, Path("runs"), "Directory the duel is made in."),
            name=(str | None, None, "Name of the duel after its number."),
            out=(Path | None, None, "The report; left out: report.html in the duel's directory."),
        ),
        "duel",
        "Train families on the same pictures with equal budgets and judge them alike.",
    )
    budgets = {kind: getattr(flags, kind) for kind in contest.BUDGETS if getattr(flags, kind) is not None}
    if len(budgets) > 1:
        raise UsageError(f"give one budget, not {' and '.join('--' + kind for kind in budgets)}")
    if flags.repeats < 1:
        raise UsageError(f"--repeats must be at least 1, got {flags.repeats}")
    budget, amount = next(iter(budgets.items()), ("minutes", 5.0))
    made = contest.begin(
        flags.families, flags.data, budget=budget, amount=amount, size=flags.size,
        seeds=range(flags.seed, flags.seed + flags.repeats), samples=flags.samples,
        features=flags.features, home=flags.runs, name=flags.name,
    )  # fmt: skip
    return fought(made, flags.out, made.files())


def fought(made: Any, out: Path | None, files: Sequence[str]) -> dict[str, Any]:
    """Do what a duel has not done yet, and write its report. files: the .py files that the user named."""
    from triptych import duel as contest
    from triptych.report import write_duel

    if code := contest.fight(made, say, files):
        return {"exit": code, **contest.as_dict(made)}
    report = write_duel(made, out or made.path / "report.html")
    say(f"open {report} in a browser")
    print(made.path)
    return {**contest.as_dict(made), "report": str(report)}


def finished(run: Any, family: str | None = None) -> dict[str, Any]:
    """The last line of every verb that makes a run: its path; before it, what the watch says of a game.

    family: as the user named it on this command line, None where they did not.
    """
    from triptych.lookout import diagnosis_of, last_sick
    from triptych.model import load_family, load_user_family
    from triptych.plan import Plan
    from triptych.postmortem import newest_post_mortem
    from triptych.weights import recorded

    if repeat := Plan.model_validate(run.card["plan"]).how_to_repeat(run.state_meta()["step"]):
        say(repeat)
    compared = recorded(run.state_meta())
    if compared is not None:
        say(compared.sentence())
    told = {"run": str(run.path), "weights": None if compared is None else compared.model_dump(mode="json")}
    named = family or run.card["family"]
    own = named if named.endswith(".py") else None
    game = (load_user_family(family) if family else load_family(run.card["family"])).game
    if game is None:
        after = say_what_next(run, own)
        print(run.path)
        return {**told, **after}
    found = diagnosis_of(run, game)
    say(f"the watch: {found.line()}")
    page = newest_post_mortem(run)
    if page and found.sick:
        say(f"what it shows, and what may help: open {page} in a browser")
    elif page:
        say(f"{page} was written at step {last_sick(run):,}; the run has recovered since")
    after = say_what_next(run, own)
    print(run.path)
    return {**told, "watch": {"verdict": found.verdict, "since": found.since}, **after}
