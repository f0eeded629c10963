"""Components of models that are built on others: untrained, or small and trained for a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import triptych
from triptych.core.generative_model import GenerativeModel
from triptych.core.types import ImageSpec
from triptych.models.registry import load_model_class


def untrained_components(
    model_class: type[GenerativeModel[Any, Any]], spec: ImageSpec
) -> dict[str, GenerativeModel[Any, Any]]:
    """The components that a model class is built on, with their first weights."""
    classes = {name: load_model_class(wanted) for name, wanted in model_class.components.items()}
    return {name: component(component.Config(down=2), spec) for name, component in classes.items()}


def component_settings(model: str, home: Path, **settings: Any) -> dict[str, Any]:
    """What `triptych.train` must be given for a model: runs of its components, trained for a step."""
    wanted = load_model_class(model).components
    if not wanted:
        return {}
    common = {"steps": 1, "batch": 4, "threads": 1, "precision": "fp32", "down": 2}
    runs = {
        name: triptych.train(component, runs=home / "components", **{**common, **settings}).path
        for name, component in wanted.items()
    }
    return {"components": runs, "force_first_stage": True}
