"""run.json as earlier versions wrote it, read in today's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.runs.options import Options

DATA_FIELDS = {"colour": "color", "colour_rule": "color_rule"}  # of the card's data: old name -> today's


def in_todays_form(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card of any version under today's names; fields of a model's config are left to its class."""
    card = dict(card)
    if isinstance(card["options"], dict):
        card["options"] = Options.with_current_names(card["options"])
    if isinstance(card.get("data"), dict):
        data = {DATA_FIELDS.get(name, name): value for name, value in card["data"].items()}
        card["data"] = {**data, "color": "gray"} if data.get("color") == "grey" else data
    return _labels_in_todays_form(card)


def _labels_in_todays_form(card: Mapping[str, Any]) -> dict[str, Any]:
    """Labels were a setting of single families once, and the card's spec held the source's classes.

    Today `--conditional` is an option of every training, and an unconditional family's spec has 0 classes.
    A family of the user's own reads its config itself: its card is left as it is.
    """
    options, config, spec = card["options"], card["config"], card["spec"]
    well_formed = all(isinstance(part, dict) for part in (options, config, spec))
    if not well_formed or "conditional" in options or str(card["family"]).endswith(".py"):
        return dict(card)
    config = dict(config)
    asked = config.pop("conditional", card["family"] == "diffusion")  # which was told wherever it could be
    told = bool(card.get("conditional", asked)) and bool(spec.get("classes"))
    spec = spec if told else {**spec, "classes": 0}
    return {**card, "config": config, "spec": spec, "options": {**options, "conditional": told}}
