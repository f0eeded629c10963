"""Lines of monitor.jsonl, read with today's names whatever version wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.runs.run import Run

FORMAT = 1
# names of lines without a format number, written before version 1
OLD_KEYS = {
    "hit": "occupied_modes",
    "spread": "pairwise_distance",
    "gap": "nearest_sample_distance",
    "sparse": "nearest_sample_ratio",
    "dimension": "intrinsic_dimension",
    "distance": "data_distance",
    "covered": "coverage",
    "energy": "energy_distance",
    "cells": "mode_shares",
    "sketch": "projections",
    "moved": "projection_shift",
    "shifted": "mode_shift",
    "classes": "class_shares",
    "kinds": "class_diversity_ratio",
    "told": "label_association",
    "told_real": "label_association_real",
    "unread": "labels_not_measured",
    "turns": "updates",
    "weights": "weight_probes",
    "scales": "weight_scales",
    "saturated": "saturation",
    "saturated_real": "saturation_real",
    "shapes": "shape_density",
    "shapes_halves": "shape_density_halves",
}
OLD_VERDICTS = {
    "poor images": "poor image quality",
    "not judged": "not assessed",
    "not finite": "non-finite values",
    "diverged": "divergence",
    "critic overpowering": "critic too strong",
    "generator collapsed": "mode collapse",
    "labels carry nothing": "labels have no effect",
    "oscillating": "oscillation",
}


def upgraded(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line with today's names; one that has a format number as it is."""
    if "format" in line:
        return dict(line)
    record = {OLD_KEYS.get(key, key): value for key, value in line.items()}
    if "verdict" in record:
        record["verdict"] = OLD_VERDICTS.get(record["verdict"], record["verdict"])
    return record


def observations(run: Run) -> list[dict[str, Any]]:
    """The monitor's observations of a run, in order; empty for a model without an adversarial loss."""
    return [upgraded(line) for line in run.monitor_lines()]


def append_observation(run: Run, record: Mapping[str, Any]) -> None:
    """Add one line to the run's monitor.jsonl.

    Args:
        run: The run.
        record: The line, without its format number.
    """
    run.append_monitor_line({"format": FORMAT, **record})
