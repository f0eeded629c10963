"""From a model's name, or a file of the user's own, to its class."""

from __future__ import annotations

import importlib.util
import pkgutil
import shlex
from pathlib import Path
from textwrap import shorten
from typing import Any

from triptych import models
from triptych.core.config import read_settings
from triptych.core.errors import RunError, UsageError
from triptych.core.generative_model import GenerativeModel, model_class_in
from triptych.core.nearest import MODELS_ELSEWHERE, did_you_mean
from triptych.runs.card import RunCard

DRAWING_WORDS = {  # drawing's own arguments
    "noise", "seeds", "labels", "prompts", "pixels", "out", "film", "family", "model_file", "weights",
}  # fmt: skip

AnyModel = GenerativeModel[Any, Any]


NOT_MODELS = ("configure", "registry")  # files beside the models


def model_names() -> list[str]:
    """The families that come with Triptych: the file names in `models/`."""
    names = (module.name for module in pkgutil.iter_modules(models.__path__))
    return sorted(name for name in names if name not in NOT_MODELS and not name.startswith("_"))


def load_model_class(name: str) -> type[AnyModel]:
    """The family of a name that comes with Triptych; never a file, so a name read from a run is safe here.

    Raises RunError for a path to a .py file, UsageError for an unknown name, with the nearest known one.
    """
    if name.endswith(".py"):
        raise RunError(
            f"the model of this run lives in a file, {name}, and its code runs only when you name it: check "
            f"the file, then add --model-file {shlex.quote(name)}"
        )
    known = model_names()
    if name not in known:
        hint = did_you_mean(name, known, MODELS_ELSEWHERE)
        raise UsageError(f"unknown model {name!r}.{hint} There are: {', '.join(known)}")
    return model_class_in(importlib.import_module(f"triptych.models.{name}"))


def load_user_model_class(name: str) -> type[AnyModel]:
    """The family that the user named in this very call: a name, or a path to a .py file, which is executed.

    Never pass a name that was read from a run or a duel: use `load_model_class` for these. Raises UsageError
    as `load_model_class` does, and for a file that is not there.
    """
    return checked(_model_in_file(Path(name))) if name.endswith(".py") else load_model_class(name)


def checked(kind: type[AnyModel]) -> type[AnyModel]:
    """A family of the user's own, if its controls can be told. Raises UsageError where a name is taken."""
    if taken := sorted(DRAWING_WORDS & set(kind.Controls.model_fields)):
        raise UsageError(f"{kind.Controls.__name__} may not have a field {taken[0]!r}: the name is taken")
    return kind


def _model_in_file(path: Path) -> type[AnyModel]:
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
    """An untrained model as a run's card describes it. model_file: of the user's own.

    The card's spec is what the family is told: `classes` 0 if unconditional, whatever the source has.
    Raises RunError for a card that names a file while the user named none: it is not executed.
    """
    kind = load_user_model_class(model_file) if model_file else load_model_class(card.model)
    config = read_settings(kind.Config, kind.Config.with_current_names(card.config), f"{kind.title}'s config")
    return kind(config, card.image_spec)


def misfit(what: str, error: Exception) -> RunError:
    """The error for weights that are not this network's."""
    said = shorten(" ".join(str(error).split()), 240)  # PyTorch names every tensor, a line each
    return RunError(
        f"{what} do not fit the network ({said}): another version of Triptych, or of the model's file, made "
        "them. Open them with that one (run.json names it), or train anew"
    )
