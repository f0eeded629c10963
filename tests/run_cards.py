"""A run card for tests that need one and care about little in it."""

from __future__ import annotations

from typing import Any

from triptych.core.types import ImageSpec
from triptych.runs.card import Cost, DataCard, RunCard
from triptych.runs.options import Options, Plan


def a_card(**changes: Any) -> RunCard:
    """A complete card; `changes` replace its fields, dictionaries parts of its records."""
    whole: dict[str, Any] = {
        "model": "dcgan",
        "title": "DCGAN",
        "config": {},
        "data": DataCard(source="digits", name="digits", fingerprint="d", train=100, test=50),
        "image_spec": ImageSpec(1, 16, 10),
        "options": Options(batch=64),
        "plan": Plan(
            steps=10, budget="10 steps", limit_seconds=None, device="cpu", precision="fp32",
            channels_last=False, threads=1,
        ),
        "cost": Cost(parameters=1, sampling_parameters=1),
    }  # fmt: skip
    for name, value in changes.items():
        old = whole.get(name)
        merges = isinstance(value, dict) and hasattr(old, "model_copy")
        whole[name] = old.model_copy(update=value) if merges else value
    return RunCard(**whole)
