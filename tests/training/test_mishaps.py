"""Damaged checkpoints and paths that cannot be written: the messages, and what is not lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import triptych
from triptych import cli
from triptych.checklist.checklist import check
from triptych.core.errors import UsageError
from triptych.report import html
from triptych.report.html import write_report
from triptych.runs.run import open_run
from triptych.viz.grids import write_png

OPTIONS: dict[str, Any] = {"steps": 4, "batch": 8, "threads": 1, "precision": "fp32", "width": 4}
DAMAGED = "the checkpoint of step 4 is damaged (ema.safetensors does not match its checksum)"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return triptych.train("dcgan", runs=tmp_path_factory.mktemp("runs"), save_every=2, **OPTIONS).path


@pytest.fixture
def damaged(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "run")
    os.truncate(tmp_path / "run" / "checkpoints" / "step-00000004" / "ema.safetensors", 100)
    return tmp_path / "run"


def test_loading_warns_that_the_newest_checkpoint_is_damaged(
    damaged: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert triptych.load(damaged).step == 2
    assert caplog.messages == [f"{damaged}: {DAMAGED}: using that of step 2"]


def test_the_checklist_says_that_the_newest_checkpoint_is_damaged(damaged: Path, sound: Path) -> None:
    (answer,) = (a for a in check(damaged) if a.chapter == "checkpoint" and a.answer == "not ok")
    assert answer.evidence == f"{DAMAGED}: that of step 2 is checked"
    assert not [a for a in check(sound) if a.chapter == "checkpoint" and a.answer == "not ok"]


def test_a_report_says_it_once_and_counts_the_steps_that_it_shows(
    damaged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    page = write_report([damaged], tmp_path / "r.html").read_text()
    assert caplog.messages == [f"{damaged}: {DAMAGED}: using that of step 2"]
    assert f"DCGAN: {DAMAGED}: it is shown as it was at step 2." in page
    (facts,) = html.summarize([open_run(damaged)])
    assert facts.checkpoint is not None and facts.checkpoint.step == 2


def test_a_report_of_a_run_without_a_readable_checkpoint_says_why(damaged: Path, tmp_path: Path) -> None:
    for meta in (damaged / "checkpoints").glob("*/meta.json"):
        meta.write_text("{")
    page = write_report([damaged], tmp_path / "r.html").read_text()
    assert "no checkpoint that can be opened" in page


def test_a_resumed_run_says_from_which_step(damaged: Path) -> None:
    words = [sys.executable, "-m", "triptych", "resume", str(damaged)]
    messages = subprocess.run(words, check=True, capture_output=True, text=True).stderr.splitlines()
    assert messages[0] == f"{damaged}: {DAMAGED}: training goes on from step 2"
    assert messages[1].startswith(
        "from step 2 on, a few seconds: 2 steps of 8 images on cpu, 1 thread, fp32, "
    )
    assert any("DCGAN: step 4 of 4" in line for line in messages[2:])  # called as it was in train
    assert triptych.load(damaged).step == 4


def test_an_image_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((2, 2, 1), np.uint8)
    (tmp_path / "x.png").mkdir()
    with pytest.raises(OSError, match=rf"^could not write {tmp_path}/x\.png: Is a directory$"):
        write_png(tmp_path / "x.png", image)
    with pytest.raises(OSError, match=rf"^could not write {tmp_path}/no/x\.png: No such file or directory$"):
        write_png(tmp_path / "no" / "x.png", image)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["dcgan", "--data", "DATA", "--conditional"],
            "--conditional needs labels, and these images have none",
        ),
        (
            ["diffusion", "--data", "digits", "--size", "10"],
            "an image of 10 px cannot be cut into patches of 2 px",
        ),
    ],
)
def test_data_that_a_model_cannot_take_is_wrong_usage(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set").mkdir()
    for k in range(4):
        write_png(tmp_path / "set" / f"{k}.png", np.full((8, 8, 3), 40 * k, np.uint8))
    arguments = [word.replace("DATA", str(tmp_path / "set")) for word in words]
    size = [] if "--size" in words else ["--size", "8"]
    assert cli.main(["train", *arguments, *size, "--steps", "1", "--runs", str(tmp_path / "runs")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_an_unwritable_path_is_named(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    assert cli.main(["sample", str(sound), "--seeds", "0", "--out", str(file / "x.npy")]) == 2
    assert f"{file} is a file, and a folder is needed there" in capsys.readouterr().err
    (tmp_path / "x.npy").mkdir()
    assert cli.main(["sample", str(sound), "--seeds", "0", "--out", str(tmp_path / "x.npy")]) == 1
    assert f"{tmp_path}/x.npy: Is a directory" in capsys.readouterr().err


def test_the_path_of_a_report_is_tried_first(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "summarize", lambda *_: pytest.fail("began to work"))
    with pytest.raises(UsageError, match="is a folder: name a file in it"):
        write_report([sound], tmp_path)
    with pytest.raises(pytest.fail.Exception, match="began to work"):
        write_report([sound], tmp_path / "r.html")
    assert not list(tmp_path.iterdir())  # the trial leaves nothing


def test_scores_that_cannot_be_saved_are_printed(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(sound, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").mkdir()
    assert cli.main(["evaluate", str(tmp_path / "run"), "--samples", "30", "--quick", "--json"]) == 1
    output = capsys.readouterr()
    assert "FID[digits-cnn]" in output.out and '"scores"' in output.out.splitlines()[-1]
    assert "these scores were not saved: could not write a metrics.jsonl line" in output.err
    assert "triptych resume" not in output.err


def test_a_closed_pipe_is_no_error(sound: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "triptych", "check", str(sound)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0 and errors == b""
