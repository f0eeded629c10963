"""A run.json whose fields bear the names of older versions opens, samples and resumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import triptych
from triptych.core.config import Settings, kinds
from triptych.models.registry import load_model_class, model_names, saved_config
from triptych.runs.options import Options
from triptych.runs.run import open_run
from triptych.training.runner import resume

SMALL: dict[str, Any] = {
    "data": "digits", "size": 8, "steps": 4, "save_every": 2, "batch": 4, "device": "cpu",
    "precision": "fp32", "threads": 1,
}  # fmt: skip
ADAPTIVE = {"kind": "adaptive", "policy": ["color", "flip"], "interval": 2, "initial_p": 0.5, "max_p": 0.7}
MODELS: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 8, "lr": 3e-4, "critic_lr": 1e-4, "augment": ADAPTIVE},
    "wgan": {"width": 8, "lipschitz": "clipping", "clip_value": 0.05, "generator_interval": 2},
    "stylegan": {"width": 4, "max_channels": 8, "latent": 8, "style": 8, "mapping_layers": 1},
    "vae": {"width": 8, "lr": 3e-4},
}


def old_names(settings: type[Settings], values: dict[str, Any]) -> dict[str, Any]:
    """Values as an older version would have saved them: `with_current_names` the other way round."""
    before = {new: old for old, new in settings.former_names.items()}
    words = {name: {new: old for old, new in known.items()} for name, known in settings.former_values.items()}
    renamed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            value = old_names(kinds(settings.model_fields[name])[value["kind"]], value)  # type: ignore[arg-type]
        elif isinstance(value, list):
            value = [words.get(name, {}).get(item, item) for item in value]
        elif isinstance(value, str):
            value = words.get(name, {}).get(value, value)
        renamed[before.get(name, name)] = value
    return renamed


@pytest.mark.parametrize("name", MODELS)
def test_a_run_with_former_field_names_samples_and_resumes_to_the_same_bits(
    name: str, tmp_path: Path
) -> None:
    run = triptych.train(name, runs=tmp_path / "runs", **SMALL, **MODELS[name])
    old = tmp_path / "old"
    shutil.copytree(run.path, old)
    card = json.loads((old / "run.json").read_text(encoding="utf-8"))
    model_class = load_model_class(name)
    del card["format"]
    card["family"], card["spec"] = card.pop("model"), card.pop("image_spec")
    card["config"] = old_names(model_class.Config, card["config"])
    if name == "wgan":  # one field held whichever number the constraint had
        del card["config"]["penalty_weight"]
        card["config"]["strength"] = card["config"].pop("clip_value")
    card["options"] = old_names(Options, card["options"])
    card["data"]["colour"] = card["data"].pop("color")
    card["data"]["colour_rule"] = card["data"].pop("color_rule")
    (old / "run.json").write_text(json.dumps(card), encoding="utf-8")
    assert "rate" in card["config"] and "average" in card["options"]

    now, then = triptych.load(run.path), triptych.load(old)
    assert np.array_equal(now.sample(range(4)), then.sample(range(4)))
    reread = saved_config(open_run(old).card)
    assert model_class.Config(**reread) == model_class.Config(**saved_config(run.card))
    newest = max((old / "checkpoints").iterdir(), key=lambda folder: folder.name)
    shutil.rmtree(newest)
    expected, again = open_run(run.path).load_checkpoint()[0], resume(old).load_checkpoint()[0]
    for file, tensors in expected.items():
        assert all(torch.equal(tensors[key], again[file][key]) for key in tensors), file


def test_no_former_name_is_a_field_of_today() -> None:
    for name in model_names():
        config = load_model_class(name).Config
        assert not set(config.former_names) & set(config.model_fields), name
        assert set(config.former_names.values()) <= set(config.model_fields), name


def test_gray_was_spelled_grey_and_unknown_fields_are_kept() -> None:
    saved = {"colour": "grey", "average": 0.2, "colr": 1}
    assert Options.with_current_names(saved) == {"color": "gray", "ema_std": 0.2, "colr": 1}
