"""From a model's name, or a file of the user's own, to its class."""

from __future__ import annotations

import importlib.util
import pkgutil
import shlex
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from triptych import models
from triptych.core.config import Settings, read_settings
from triptych.core.errors import RunError, UsageError
from triptych.core.generative_model import GenerativeModel, model_class_in
from triptych.core.nearest import MODELS_ELSEWHERE, did_you_mean
from triptych.runs.card import ComponentCard, RunCard

RESERVED_NAMES = {  # arguments of sampling, which Controls may not have as fields
    "noise", "seeds", "labels", "prompts", "pixels", "out", "film", "family", "model_file", "weights",
}  # fmt: skip

AnyModel = GenerativeModel[Any, Any]

NOT_MODELS = ("configure", "registry")  # modules beside the models


def model_names() -> list[str]:
    """The models that come with Triptych: the module names in `models/`."""
    names = (module.name for module in pkgutil.iter_modules(models.__path__))
    return sorted(name for name in names if name not in NOT_MODELS and not name.startswith("_"))


def load_model_class(name: str) -> type[AnyModel]:
    """Import the class of a model that comes with Triptych.

    It never runs a file, so a name that was read from a run is safe here.

    Args:
        name: As `triptych train` takes it.

    Returns:
        The model's class.

    Raises:
        RunError: For the path of a .py file.
        UsageError: For an unknown name; the message has the nearest known one.
    """
    if name.endswith(".py"):
        raise RunError(
            f"the model of this run lives in a file, {name}, and its code runs only when you name it: check "
            f"the file, then add --model-file {shlex.quote(name)}"
        )
    known = model_names()
    if name not in known:
        hint = did_you_mean(name, known, MODELS_ELSEWHERE)
        raise UsageError(
            f"unknown model {name!r}.{hint} There are: {', '.join(known)}, or the path of your own .py file"
        )
    return model_class_in(importlib.import_module(f"triptych.models.{name}"))


def load_user_model_class(name: str) -> type[AnyModel]:
    """Import the class of a model that the user has just named; a file is executed.

    Never pass a name that was read from a run or a duel: `load_model_class` is for these.

    Args:
        name: A model's name, or the path of a .py file that defines one.

    Returns:
        The model's class.

    Raises:
        UsageError: For an unknown name, a missing file, or Controls with a reserved field name.
    """
    if not name.endswith(".py"):
        return load_model_class(name)
    model_class = _class_in_file(Path(name))
    if reserved := sorted(RESERVED_NAMES & set(model_class.Controls.model_fields)):
        raise UsageError(
            f"{model_class.Controls.__name__} may not have a field {reserved[0]!r}: the name is taken"
        )
    return model_class


def _class_in_file(path: Path) -> type[AnyModel]:
    if not path.is_file():
        raise UsageError(f"there is no file {path} to read a model from")
    spec = importlib.util.spec_from_file_location(f"own_model_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return model_class_in(module)


def saved_config(card: RunCard) -> dict[str, Any]:
    """A run's config under today's field names, as its model's class translates them.

    The config of a model from the user's own file, whose code is not executed here, and that of an unknown
    model are returned as they were saved.
    """
    known = card.model in model_names()
    return load_model_class(card.model).Config.with_current_names(card.config) if known else card.config


def build(card: RunCard, model_file: str | None = None) -> AnyModel:
    """Build the untrained model that a run's card describes.

    Args:
        card: Of the run. Its image_spec has 0 classes where the training was unconditional.
        model_file: Path of the user's own .py file, for a run of such a model.

    Returns:
        The model with random weights. A card that names a file where no model_file was given is a RunError
        (the file is not executed), a config that does not fit a UsageError.

    Raises:
        RunError: For a card whose components are not those of its model.
    """
    model_class = load_user_model_class(model_file) if model_file else load_model_class(card.model)
    if set(card.components) != set(model_class.components):
        wanted, found = ", ".join(model_class.components), ", ".join(card.components)
        raise RunError(
            f"run.json names the components {found or 'none'}, and {model_class.title} is built on "
            f"{wanted or 'none'}: not written by triptych train?"
        )
    components = {name: build_component(component) for name, component in card.components.items()}
    return model_class(current_config(model_class, card.config), card.image_spec, components)


def build_component(card: ComponentCard) -> AnyModel:
    """Build the untrained model that a run's model is built on, as the run's card describes it.

    Args:
        card: The component's entry in run.json.

    Returns:
        The model with random weights.

    Raises:
        RunError: For a model that does not come with Triptych: a component is never read from a file.
    """
    if card.model not in model_names():
        raise RunError(
            f"run.json names {card.model!r} as a component, and components are models that come with "
            "Triptych: not written by triptych train?"
        )
    model_class = load_model_class(card.model)
    return model_class(current_config(model_class, card.config), card.image_spec)


def current_config(model_class: type[AnyModel], saved: Mapping[str, Any]) -> Settings:
    """Read a saved config, under today's field names.

    Args:
        model_class: Whose config it is.
        saved: As in run.json.

    Returns:
        An instance of the class's Config.
    """
    today = model_class.Config.with_current_names(saved)
    config: Settings = read_settings(model_class.Config, today, f"{model_class.title}'s config")
    return config


def weights_mismatch(what: str, error: Exception) -> RunError:
    """Make the error for weights that do not fit a network.

    Args:
        what: Which weights, as the start of the sentence.
        error: From PyTorch.

    Returns:
        An error to raise, with a hint on what to do.
    """
    message = shorten(" ".join(str(error).split()), 240)  # PyTorch names every tensor, a line each
    return RunError(
        f"{what} do not fit the network ({message}): another version of Triptych, or of the model's file, "
        "made them. Open them with that one (run.json names it), or train anew"
    )
