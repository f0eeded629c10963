"""Run directories as earlier versions wrote them, read in the present form.

Files and folders keep their former names until somebody writes to the run (`rename_to_present`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from triptych._version import __version__
from triptych.core.errors import RunError
from triptych.runs.card import FORMAT, RunCard
from triptych.runs.options import Options

if TYPE_CHECKING:
    from torch import Tensor

FORMER_PATHS = {
    "checkpoints": "states",
    "ema": "averages",
    "monitor": "watch",
    "monitor.jsonl": "watch.jsonl",
}
FORMER_TENSOR_FILES = {"average": "ema"}
FORMER_META_KEYS = {"rates": "learning_rates", "planned": "total_steps", "ease": "lr_scale"}
FORMER_LOG_KEYS = {"rate_factor": "lr_scale"}
FORMER_COMPARISON_KEYS = {"shown": "selected"}
FORMER_FLAGS = {
    "--rate": "--lr",
    "--critic-rate": "--critic-lr",
    "--rate-end": "--lr-end",
    "--colour": "--color",
}
REQUIRED = ("model", "config", "data", "image_spec", "options", "plan")
FORMER_KEYS = {"family": "model", "spec": "image_spec"}
FORMER_DATA_KEYS = {"colour": "color", "colour_rule": "color_rule"}
FORMER_PLAN_KEYS = {"why": "precision_reason"}
FORMER_COST_KEYS = {"shown_parameters": "sampling_parameters"}
FORMER_ROLLBACK_KEYS = {"at": "at_step", "to": "to_step", "why": "reason", "rate_factor": "lr_scale"}


def checked_card(card: Any, path: Path) -> RunCard:
    """Read a run card of any version.

    Args:
        card: The content of run.json.
        path: The run directory, for messages.

    Returns:
        The card as a record.

    Raises:
        RunError: For what is no card, or was written by a later version.
    """
    if not isinstance(card, dict):
        raise RunError(
            f"{path}/run.json holds {type(card).__name__}, not an object: the run's options are lost."
        )
    if card.get("format", FORMAT) != FORMAT:
        raise RunError(
            f"{path}/run.json has format {card['format']}, made by Triptych {card.get('triptych', '?')}, and "
            f"this version ({__version__}) reads formats up to {FORMAT}: open the run with that version."
        )
    card = to_present_form(card)
    if missing := sorted(set(REQUIRED) - set(card)):
        raise RunError(f"{path}/run.json lacks {', '.join(missing)}: not written by triptych train?")
    try:
        return RunCard.model_validate(card)
    except ValidationError as error:
        first = error.errors()[0]
        raise RunError(
            f"{path}/run.json, made by Triptych {card.get('triptych', '?')}, cannot be read "
            f"({'.'.join(map(str, first['loc']))}: {first['msg'].lower()})."
            " Mend that entry, or train the run again."
        ) from error


def to_present_form(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card of any version as the present `RunCard` has it.

    Cards with `format` are left as they are. What is not well-formed is left for the card's validation.
    """
    if "format" in card:
        return with_current_options(card)
    new = renamed(card, FORMER_KEYS)
    if not all(isinstance(new.get(key), dict) for key in REQUIRED if key != "model"):
        return new
    new["title"] = new.get("title") or new.get("model")
    new["data"] = renamed(new["data"], FORMER_DATA_KEYS)
    if new["data"].get("color") == "grey":
        new["data"]["color"] = "gray"
    new["plan"] = renamed(new["plan"], FORMER_PLAN_KEYS)
    for gone in ("timed", "world"):  # seconds a step of other precisions; the number of machines, always 1
        new["plan"].pop(gone, None)
    new["cost"] = renamed(new.get("cost") or {}, FORMER_COST_KEYS)
    new["cost"] = {"parameters": 0, "sampling_parameters": 0, **new["cost"]}
    new["rollbacks"] = rollbacks_in_present_form(new.get("rollbacks", ()))
    return _flow_matching_apart(_labels_as_option(with_current_options(new)))


def with_current_options(card: Mapping[str, Any]) -> dict[str, Any]:
    """The same card with its options under today's names; the config is left to its model's class."""
    options = card.get("options")
    return {**card, "options": Options.with_current_names(options) if isinstance(options, dict) else options}


def rollbacks_in_present_form(rollbacks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rollbacks noted in run.json and in a checkpoint's meta, with the present keys."""
    return [renamed(rollback, FORMER_ROLLBACK_KEYS) for rollback in rollbacks]


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Rename the keys of a mapping.

    Args:
        values: Any values.
        names: Former key -> present key.

    Returns:
        The same values; keys that are not in `names` are kept.
    """
    return {names.get(key, key): value for key, value in values.items()}


def _labels_as_option(card: dict[str, Any]) -> dict[str, Any]:
    """Labels were once a setting of single models, and the card's spec held the source's classes.

    Today `--conditional` is an option of every training, and an unconditional model's spec has 0 classes.
    A user's own model reads its config itself: its card is left as it is.
    """
    options, config, spec = card["options"], card["config"], card["image_spec"]
    if "conditional" in options or str(card["model"]).endswith(".py"):
        return card
    config = dict(config)
    was_set = config.pop("conditional", card["model"] == "diffusion")  # which took labels wherever it could
    conditional = bool(card.get("conditional", was_set)) and bool(spec.get("classes"))
    spec = spec if conditional else {**spec, "classes": 0}
    options = {**options, "conditional": conditional}
    return {**card, "config": config, "image_spec": spec, "options": options}


def _flow_matching_apart(card: dict[str, Any]) -> dict[str, Any]:
    """Flow matching was once the model "diffusion" with the schedule "straight", its default."""
    if card["model"] != "diffusion" or card["config"].get("schedule") != "straight":
        return card
    config = {name: value for name, value in card["config"].items() if name != "schedule"}
    return {**card, "model": "flow_matching", "title": "Flow matching", "config": config}


# --- files and folders -----------------------------------------------------------------------


def path_of(run: Path, name: str) -> Path:
    """Find a file or folder of a run, under its former name where only that exists.

    Args:
        run: The run directory.
        name: The present name.

    Returns:
        The path; it need not exist.
    """
    former = run / FORMER_PATHS.get(name, name)
    return former if former.exists() and not (run / name).exists() else run / name


def rename_to_present(run: Path) -> bool:
    """Give files and folders with former names their present ones; returns whether there were any."""
    former = [name for name in FORMER_PATHS if path_of(run, name) != run / name]
    for name in former:
        (run / FORMER_PATHS[name]).rename(run / name)
    return bool(former)


def former_files(only: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The names of tensor files to read, with those that they had before."""
    if only is None:
        return None
    return (*only, *(old for old, name in FORMER_TENSOR_FILES.items() if name in only))


def tensors_in_present_form(files: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Tensors by the present names of their files."""
    return renamed(files, FORMER_TENSOR_FILES)


# --- records ---------------------------------------------------------------------------------


def meta_in_present_form(meta: Mapping[str, Any], step: int | None = None) -> dict[str, Any]:
    """Give the meta.json of a checkpoint or snapshot the present keys.

    Args:
        meta: The content of meta.json, of any version.
        step: Of a checkpoint, where the meta does not say it; None: of a snapshot.

    Returns:
        The content with the present keys.
    """
    if "format" in meta:
        return dict(meta)
    new = renamed(meta, FORMER_META_KEYS)
    if step is not None:
        new.setdefault("step", step)
    if "sums" in new:
        new["log_accumulators"] = {"sums": new.pop("sums"), "counts": new.pop("counts", {})}
    if "logged" in new:
        logged_step, seconds = new.pop("logged")
        new["last_log"] = {"step": logged_step, "seconds": seconds}
    if "rollbacks" in new:
        new["rollbacks"] = rollbacks_in_present_form(new["rollbacks"])
    if isinstance(new.get("comparison"), dict):
        new["comparison"] = renamed(new["comparison"], FORMER_COMPARISON_KEYS)
    return new


def log_line_in_present_form(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of log.jsonl with the present keys."""
    return renamed(line, FORMER_LOG_KEYS)


def duel_in_present_form(rules: Any) -> Any:
    """The content of duel.json with the present keys, model and flags."""
    if not isinstance(rules, dict) or "format" in rules or not isinstance(rules.get("contestants"), list):
        return rules
    return {**rules, "contestants": [_present_contestant(contestant) for contestant in rules["contestants"]]}


def _present_contestant(contestant: Any) -> Any:
    if not isinstance(contestant, dict):
        return contestant
    new = renamed(contestant, {"family": "model"})
    flags = [FORMER_FLAGS.get(word, word) for word in new.get("flags", ())]
    if new.get("model") == "diffusion" and not {"--schedule", "--preset"} & set(flags):
        new["model"] = "flow_matching"  # the default schedule was straight
    return {**new, "flags": flags}
