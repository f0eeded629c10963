"""`triptych train`: train a model from scratch."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal

from triptych.cli._afterwards import say_what_next
from triptych.cli._flags import first_word, flags_of, given, parse
from triptych.cli._registry import say, verb


@verb("train", "train one family: triptych train dcgan --data mnist --minutes 5")
def train(words: list[str]) -> dict[str, Any]:
    """Train a family from scratch."""
    usage = "triptych train FAMILY --data SOURCE [--minutes M]"
    name = first_word(words, "the family", usage)
    from triptych.cli.progress import progress_bar
    from triptych.models.configure import default_preset, describe_presets, named_in, preset_values
    from triptych.models.registry import load_user_model_class, model_names
    from triptych.runs.options import Options
    from triptych.training.runner import train as begin

    if name is None:
        print(f"usage: {usage}\nfamilies: {', '.join(model_names())}, or a path to a .py file of your own")
        print("triptych train FAMILY --help lists the presets and the flags of one")
        return {}
    kind = load_user_model_class(name)
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


def finished(run: Any, family: str | None = None) -> dict[str, Any]:
    """The last line of every verb that makes a run: its path; before it, what the watch says of a game.

    family: as the user named it on this command line, None where they did not.
    """
    from triptych.models.registry import load_model_class, load_user_model_class
    from triptych.monitor.gan_monitor import diagnose_run, last_problem_step
    from triptych.monitor.postmortem import newest_post_mortem
    from triptych.runs.weights import recorded

    if repeat := run.card.plan.how_to_repeat(run.state_meta()["step"]):
        say(repeat)
    compared = recorded(run.state_meta())
    if compared is not None:
        say(compared.sentence())
    told = {"run": str(run.path), "weights": None if compared is None else compared.model_dump(mode="json")}
    named = family or run.card.model
    own = named if named.endswith(".py") else None
    game = (load_user_model_class(family) if family else load_model_class(run.card.model)).adversarial
    if game is None:
        after = say_what_next(run, own)
        print(run.path)
        return {**told, **after}
    found = diagnose_run(run, game)
    say(f"the watch: {found.summary()}")
    page = newest_post_mortem(run)
    if page and found.is_problem:
        say(f"what it shows, and what may help: open {page} in a browser")
    elif page:
        say(f"{page} was written at step {last_problem_step(run):,}; the run has recovered since")
    after = say_what_next(run, own)
    print(run.path)
    return {**told, "watch": {"verdict": found.verdict, "since": found.since}, **after}
