"""`triptych train`: train a model from scratch."""

from __future__ import annotations

import inspect
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.cli._afterwards import print_next_commands
from triptych.cli._flags import JsonFlag, first_word, parse_with_settings
from triptych.cli._registry import Result, say

if TYPE_CHECKING:
    from pydantic import BaseModel

    from triptych.models.registry import AnyModel
    from triptych.runs.run import Run

USAGE = "triptych train MODEL --data SOURCE [--minutes M]"


@dataclass(kw_only=True)
class TrainFlags(JsonFlag):
    """Train a model from scratch."""

    preset: str | None = None
    """Settings to start from."""
    runs: Path = Path("runs")
    """Directory in which the run is made."""
    name: str | None = None
    """Name of the run after its number; left out: model and data."""


def train(words: list[str]) -> Result:
    """Train a model. Takes the words after "train"; the first is the model, which adds its Config's flags."""
    name = first_word(words, "the model", USAGE)
    from triptych.cli.progress import progress_bar
    from triptych.models.configure import default_preset, describe_presets, preset_in_arguments, preset_values
    from triptych.models.registry import load_user_model_class, model_names
    from triptych.runs.options import Options
    from triptych.training.runner import train as start_training

    if name is None:
        print(f"usage: {USAGE}\nmodels: {', '.join(model_names())}, or the path of your own .py file")
        print("triptych train MODEL --help lists that model's presets and flags\n")
        print("for example: triptych train dcgan --data mnist --minutes 5")
        return {}
    model_class = load_user_model_class(name)
    default = default_preset(model_class)
    values = dict(preset_values(model_class, preset_in_arguments(words) or default))
    about = inspect.getdoc(model_class) or model_class.title
    if model_class.presets:
        about += f"\n\nPresets, which set the defaults shown below: {describe_presets(model_class)}."
    flags, settings = parse_with_settings(
        words[1:],
        TrainFlags,
        [Options, model_class.Config, *component_settings(model_class)],
        f"train {name}",
        about=about,
        defaults={**values, "preset": default},
        choices={"preset": list(model_class.presets)} if model_class.presets else {},
    )
    source = settings.pop("data")
    components = {part: path for part in model_class.components if (path := settings.pop(part)) is not None}
    if settings["track"]:
        say(f"follow the training live: tensorboard --logdir {shlex.quote(str(flags.runs))}")
    with progress_bar(model_class.title) as on_step:
        run = start_training(
            name, source, preset=flags.preset, runs=flags.runs, name=flags.name, on_step=on_step,
            announce=say, components=components,
            command=shlex.join(["triptych", "train", *words]), **settings,
        )  # fmt: skip
    return summarize(run, name)


def component_settings(model_class: type[AnyModel]) -> list[type[BaseModel]]:
    """The flags that name the runs a model is built on, as a pydantic model; none for most models."""
    from pydantic import Field, create_model

    if not model_class.components:
        return []
    fields: dict[str, Any] = {
        name: (
            Path | None,
            Field(None, description=f"Run of a trained {wanted}, which this model is built on."),
        )
        for name, wanted in model_class.components.items()
    }
    force = (bool, Field(False, description="Accept a first stage whose reconstructions are poor."))
    return [create_model("Components", **fields, force_first_stage=force)]


def summarize(run: Run, named: str | None = None) -> Result:
    """Print what every verb that trains ends with: findings, next commands and, last, the run's path.

    Args:
        run: The run, finished or stopped.
        named: The model as the user named it on this command line; None where they did not.

    Returns:
        The same for `--json`.
    """
    from triptych.models.registry import load_model_class, load_user_model_class
    from triptych.monitor.gan_monitor import diagnose_run, last_problem_step
    from triptych.monitor.postmortem import newest_post_mortem

    if repeat := run.card.plan.how_to_repeat(run.checkpoint_meta().step):
        say(repeat)
    comparison = run.checkpoint_meta().comparison
    if comparison is not None:
        say(comparison.sentence())
    result: Result = {
        "run": str(run.path),
        "weights": None if comparison is None else comparison.model_dump(mode="json"),
    }
    model = named or run.card.model
    model_class = load_user_model_class(named) if named else load_model_class(model)
    adversarial = model_class.adversarial
    if adversarial is not None:
        diagnosis = diagnose_run(run, adversarial)
        say(f"GAN monitor: {diagnosis.summary()}")
        page = newest_post_mortem(run)
        if page and diagnosis.is_problem:
            say(f"the evidence, and what may help: open {page} in a browser")
        elif page:
            say(f"{page} was written at step {last_problem_step(run):,}; the run has recovered since")
        result["monitor"] = {"verdict": diagnosis.verdict, "since": diagnosis.since}
    result |= print_next_commands(run, model if model.endswith(".py") else None)
    print(run.path)
    return result
