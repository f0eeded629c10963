"""The checklist on non-finite values: weights, EMA weights, moments, logs; and on equal samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import triptych
from triptych import cli
from triptych.checklist.answers import Answer
from triptych.checklist.checklist import check
from triptych.core.atomic import read_checkpoint_dir, write_checkpoint_dir
from triptych.runs.run import open_run

OPTIONS: dict[str, Any] = {"data": "digits", "steps": 2, "batch": 16, "threads": 1, "precision": "fp32"}
Files = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module", params=["dcgan", "vae"])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("runs")
    return triptych.train(request.param, runs=home, width=4, **OPTIONS).path


def corrupted(sound: Path, home: Path, change: Callable[[Files], None]) -> Path:
    """A copy of a run whose newest checkpoint is changed, with new checksums."""
    path = home / sound.name
    shutil.copytree(sound, path)
    checkpoint = open_run(path).checkpoint_path(OPTIONS["steps"])
    files, meta = read_checkpoint_dir(checkpoint, None)
    changed = {name: {n: t.clone() for n, t in tensors.items()} for name, tensors in files.items()}
    change(changed)
    shutil.rmtree(checkpoint)
    write_checkpoint_dir(checkpoint, changed, meta)
    return path


def answer_to(answers: list[Answer], question: str) -> Answer:
    (answer,) = (answer for answer in answers if answer.question == question)
    return answer


def poison(part: str, value: float) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        name = next(n for n, t in files[part].items() if t.is_floating_point() and t.ndim > 1)
        files[part][name].view(-1)[0] = value

    return change


@pytest.mark.parametrize(
    ("part", "question"),
    [
        ("weights", "are the raw weights finite"),
        ("ema", "are the EMA weights finite"),
        ("optimizers", "are the optimizers' moments finite"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_non_finite_value_is_found(
    sound: Path, tmp_path: Path, part: str, question: str, value: float
) -> None:
    assert answer_to(check(sound), question).answer == "ok"
    answers = check(corrupted(sound, tmp_path, poison(part, value)))
    answer = answer_to(answers, question)
    assert answer.answer == "not ok" and "1 of" in answer.evidence, answer
    if part != "optimizers":  # nothing else that is computed from them is taken for an answer
        unsaid = {a.question: a.answer for a in answers if a.chapter == "losses" or "differ" in a.question}
        assert set(unsaid.values()) == {"not known"}, unsaid


def test_all_values_nan_is_not_reported_as_sound(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def all_nan(files: Files) -> None:
        for part in ("weights", "ema"):
            for tensor in files[part].values():
                if tensor.is_floating_point():
                    tensor.fill_(float("nan"))

    path = corrupted(sound, tmp_path, all_nan)
    assert cli.main(["check", str(path), "--json"]) == 0
    output = capsys.readouterr().out
    assert "nothing wrong" not in output and json.loads(output.splitlines()[-1])["not_ok"] >= 2


def test_weights_of_zero_draw_one_image(sound: Path, tmp_path: Path) -> None:
    def nothing(files: Files) -> None:
        for part in ("weights", "ema"):
            for tensor in files[part].values():
                tensor.zero_()

    answers = check(corrupted(sound, tmp_path, nothing))
    assert answer_to(answers, "are the raw weights other than 0").answer == "not ok"
    assert answer_to(answers, "are the EMA weights other than 0").answer == "not ok"
    differ = answer_to(answers, "do the samples differ from each other")
    assert differ.answer == "not ok" and "1 different among 8 with the raw weights" in differ.evidence


def test_a_non_finite_log_value_is_named(sound: Path, tmp_path: Path) -> None:
    path = corrupted(sound, tmp_path, lambda files: None)
    assert answer_to(check(path), "are the logged values finite").answer == "ok"
    run = open_run(path)
    run.append_log({**run.log()[-1], "loss": float("nan")})
    answer = answer_to(check(path), "are the logged values finite")
    assert answer.answer == "not ok" and "loss became nan by step 2" in answer.evidence
