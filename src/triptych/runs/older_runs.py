"""run.json as earlier versions wrote it, read in the present form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from triptych.runs.options import Options

REQUIRED = ("model", "config", "data", "image_spec", "options", "plan")
FORMER_KEYS = {"family": "model", "spec": "image_spec"}
FORMER_DATA_KEYS = {"colour": "color", "colour_rule": "color_rule"}
FORMER_PLAN_KEYS = {"why": "precision_reason"}
FORMER_COST_KEYS = {"shown_parameters": "sampling_parameters"}
FORMER_ROLLBACK_KEYS = {"at": "at_step", "to": "to_step", "why": "reason", "rate_factor": "lr_scale"}


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
    for gone in (
        "timed",
        "world",
    ):  # the seconds a step of other arithmetics; the number of machines, always 1
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
    """The same values with the keys in `names` renamed."""
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
    was_set = config.pop(
        "conditional", card["model"] == "diffusion"
    )  # which took labels where there were any
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
