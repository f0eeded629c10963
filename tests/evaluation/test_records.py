"""Reading metrics.jsonl: today's lines, lines of older versions, and lines that were edited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_evaluate import Copyist, a_run, discs, source

from triptych.core.checksummed import checksum
from triptych.core.errors import RunError
from triptych.evaluation.evaluate import evaluate_run
from triptych.evaluation.records import KEYS_BEFORE_FORMAT_1, Evaluation, evaluations
from triptych.inference.pipeline import Pipeline
from triptych.runs.run import Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    run = a_run(tmp_path, source())
    evaluate_run(Pipeline(Copyist(discs(400, 7)[0]), run), 60, data=source(), detailed=True)
    return run


def before_format_1(line: dict[str, Any]) -> dict[str, Any]:
    """The line as older versions wrote it, with its checksum."""
    old = {key: value for key, value in line.items() if key not in ("format", "checksum")}
    for place, names in reversed(KEYS_BEFORE_FORMAT_1.items()):
        *outer, last = ["", *place.split(".")] if place else [""]
        holder: Any = {"": old}
        for key in outer:
            holder = holder.get(key) or {}
        if holder.get(last):
            back = {new: key for key, new in names.items()}
            holder[last] = {back.get(key, key): value for key, value in holder[last].items()}
        if last == "":
            old = holder[""]
    return {**old, "checksum": checksum(old)}


def test_each_line_has_a_format_number_and_is_read_as_it_was_written(run: Run) -> None:
    (line,) = run.metrics()
    assert line["format"] == 1
    assert evaluations(run) == [Evaluation.model_validate(line)]


def test_a_line_of_before_the_format_number_is_read_under_todays_names(run: Run) -> None:
    (line,), (evaluation,) = run.metrics(), evaluations(run)
    old = before_format_1(line)
    assert {"judge", "made"} < set(old) and "sure" in old["classes"]
    assert "leap" in old["closer"]["traits"] and "authentic" in old["closer"]["copies"]
    (run.path / "metrics.jsonl").write_text(json.dumps(old) + "\n")
    assert evaluations(run) == [evaluation]


@pytest.mark.parametrize("older", [False, True])
def test_an_edited_line_is_refused_and_named(run: Run, older: bool) -> None:
    (line,) = run.metrics()
    line = before_format_1(line) if older else line
    line["sampling"]["seconds"] += 1
    (run.path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(RunError, match=r"cannot be read \(line 1, .*does not match its checksum"):
        evaluations(run)


def test_a_line_of_a_newer_version_is_refused(run: Run) -> None:
    (line,) = run.metrics()
    line = {**line, "format": 2}
    (run.path / "metrics.jsonl").write_text(json.dumps({**line, "checksum": checksum(line)}) + "\n")
    with pytest.raises(RunError, match=r"line 1, format: input should be 1"):
        evaluations(run)


def test_a_line_that_an_older_version_wrote_is_read(run: Run) -> None:
    """Written by the last version without a format number: DCGAN on shapes, two steps."""
    stored = Path(__file__).parent / "data" / "metrics_before_format_1.jsonl"
    (run.path / "metrics.jsonl").write_text(stored.read_text())
    (evaluation,), (line,) = evaluations(run), run.metrics()
    assert evaluation.extractor.name == line["judge"]["name"] == "shapes-cnn"
    assert evaluation.created == line["made"] and evaluation.classes is not None
    assert evaluation.classes.confident == line["classes"]["sure"]
    details, old = evaluation.detailed, line["closer"]
    assert details is not None and details.latent_geometry is not None and details.ground_truth is not None
    assert details.latent_geometry.path_ratio == old["traits"]["detour"]
    assert details.ground_truth.precision == old["truth"]["precision"]
    assert details.memorization is not None and details.memorization.summary == old["copies"]["words"]
    assert details.diversity is not None and details.diversity.confidence == 0
    values = {score["card"]["metric"]: score["value"] for score in line["scores"]}
    assert {score.card.metric: score.value for score in evaluation.scores} == values
    assert {score.card.labels for score in evaluation.scores} == {"none"}
