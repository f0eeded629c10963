"""Lines of monitor.jsonl: today's format, and lines that were written before there was a format number."""

from __future__ import annotations

from pathlib import Path

from triptych.monitor.records import FORMAT, append_observation, observations, upgraded
from triptych.runs.run import Run


def test_lines_without_a_format_number_get_the_present_names() -> None:
    line = {
        "step": 40, "modes": 0.5, "sparse": 0.9, "told": 0.1, "shapes": 0.4, "grain": 0.2,
        "weights": {"generator": [0.1]}, "verdict": "generator collapsed", "since": 20,
    }  # fmt: skip
    assert upgraded(line) == {
        "step": 40, "modes": 0.5, "nearest_sample_ratio": 0.9, "label_association": 0.1,
        "shape_density": 0.4, "grain": 0.2, "weight_probes": {"generator": [0.1]},
        "verdict": "mode collapse", "since": 20,
    }  # fmt: skip
    present = {"format": FORMAT, "step": 40, "label_association": 0.1, "verdict": "healthy"}
    assert upgraded(present) == present


def test_an_appended_observation_has_a_format_number(tmp_path: Path) -> None:
    run = Run.__new__(Run)
    run.path = tmp_path
    append_observation(run, {"step": 4, "modes": 1.0})
    assert observations(run) == [{"format": FORMAT, "step": 4, "modes": 1.0}]
