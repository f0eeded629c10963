"""Trackers follow a training live, and one that falls over harms nothing."""

from __future__ import annotations

import builtins
import logging
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import triptych
from triptych import cli
from triptych.core.errors import UsageError
from triptych.training.runner import resume
from triptych.training.trackers import TrackerGroup, check_trackers

TINY: dict[str, Any] = {
    "data": "digits", "width": 4, "steps": 4, "batch": 8, "threads": 1, "precision": "fp32", "save_every": 2,
}  # fmt: skip


class Notes:
    """Records the calls of accelerate's interface; it draws random numbers and may raise."""

    name = "notes"

    def __init__(self, falls_at: str = "") -> None:
        self.calls: list[tuple[str, Any]] = []
        self.falls_at = falls_at

    def _note(self, what: str, *values: Any) -> None:
        random.random(), np.random.rand(), torch.rand(1)
        self.calls.append((what, values))
        if what == self.falls_at:
            raise ConnectionError("no network")

    def start(self) -> None:
        self._note("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._note("configuration", values)
        values.clear()

    def log(self, values: dict[str, Any], step: int | None) -> None:
        self._note("log", dict(values), step)
        values.clear()

    def log_images(self, values: dict[str, Any], step: int | None, **kwargs: Any) -> None:
        self._note("images", {k: np.asarray(v).shape for k, v in values.items()}, step, kwargs)

    def finish(self) -> None:
        self._note("finish")


class TwoMethods:
    """No more than it needs."""

    def log(self, values: dict[str, Any], step: int | None) -> None:
        raise SystemExit("quota")


def bits(run: triptych.Run) -> dict[str, torch.Tensor]:
    files, _, _ = run.load_checkpoint()
    return {f"{part}/{name}": value for part, tensors in files.items() for name, value in tensors.items()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> triptych.Run:
    return triptych.train("vae", runs=tmp_path_factory.mktemp("alone"), **TINY)


def same(one: triptych.Run, other: triptych.Run) -> bool:
    first, second = bits(one), bits(other)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_tracker_gets_the_log_and_changes_no_bit(alone: triptych.Run, tmp_path: Path) -> None:
    notes = Notes()
    before = random.getstate()
    run = triptych.train("vae", runs=tmp_path, trackers=[notes], **TINY)
    assert random.getstate() == before
    assert [what for what, _ in notes.calls[:2]] == ["start", "configuration"]
    logged = [values for what, values in notes.calls if what == "log"]
    assert [step for _, step in logged] == [1, 2, 3, 4]
    assert [values["autoencoder/loss"] for values, _ in logged] == [
        line["autoencoder/loss"] for line in run.log()
    ]
    drawn = [values for what, values in notes.calls if what == "images"]
    assert [(step, more) for _, step, more in drawn] == [(1, {}), (2, {}), (4, {})]
    assert drawn[0][0]["samples"][0] == 1 and drawn[0][0]["samples"][3] == 3
    assert notes.calls[-1][0] == "finish"
    assert same(run, alone)


@pytest.mark.parametrize("falls_at", ["start", "configuration", "log", "images", "finish"])
def test_one_that_falls_over_is_dropped_with_one_warning(
    falls_at: str, alone: triptych.Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    falls, stands = Notes(falls_at), Notes()
    with caplog.at_level(logging.WARNING, "triptych"):
        run = triptych.train("vae", runs=tmp_path, trackers=[falls, TwoMethods(), stands], **TINY)
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 2
    assert "the tracker notes failed and is left out from now on (ConnectionError: no network)" in str(warned)
    assert "the tracker TwoMethods failed" in str(warned)
    assert [what for what, _ in falls.calls].count(falls_at) == 1 and falls.calls[-1][0] == falls_at
    assert stands.calls[-1][0] == "finish" and len(stands.calls) == 2 + 4 + 3 + 1
    assert same(run, alone)


def test_accelerates_tensorboard_tracker_gets_the_order_of_the_axes(alone: triptych.Run) -> None:
    notes = Notes()
    notes.name = "tensorboard"
    TrackerGroup(alone, (), [notes], 0).log_samples(alone.path / "samples" / "step-00000004.png", 4)
    assert notes.calls[-1][1][2] == {"dataformats": "NHWC"}


def read(home: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(home))
    events.Reload()
    return events


def test_tensorboard_is_live_and_goes_on_with_a_resumed_run(alone: triptych.Run, tmp_path: Path) -> None:
    logged_steps: list[list[int]] = []

    def on_step(progress: Any) -> None:
        if progress.step == 3:
            logged_steps.append(
                [e.step for e in read(progress.run.path / "tensorboard").Scalars("autoencoder/loss")]
            )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what TensorBoard itself imports
        run = triptych.train("vae", runs=tmp_path, track=["tensorboard"], on_step=on_step, **TINY)
        assert logged_steps == [[1, 2, 3]]
        assert same(run, alone)
        notes = Notes()
        resume(run.path, 6, trackers=[notes])
        events = read(run.path / "tensorboard")
        losses = events.Scalars("autoencoder/loss")
        assert [event.step for event in losses] == [1, 2, 3, 4, 5, 6]
        assert [e.value for e in losses] == pytest.approx(
            [x["autoencoder/loss"] for x in run.log()], rel=1e-6
        )
        assert [event.step for event in events.Images("samples")] == [1, 2, 4, 6]
    assert [values[1] for what, values in notes.calls if what == "log"] == [5, 6]
    assert run.card.options.track == ("tensorboard",)


def test_what_cannot_track_is_said_before_anything_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (Notes, object(), "tensorboard"):
        with pytest.raises(UsageError, match="is no tracker: expected an object with accelerate's methods"):
            triptych.train("vae", runs=tmp_path, trackers=[wrong], **TINY)  # type: ignore[list-item]
    with pytest.raises(UsageError, match=r"unknown tracker 'tensorbord'\. Did you mean tensorboard\?"):
        check_trackers(["tensorbord"])
    original = builtins.__import__

    def without(name: str, *more: Any, **kwargs: Any) -> Any:
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return original(name, *more, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    words = ["train", "vae", "--track", "tensorboard", "--runs", str(tmp_path / "runs"), "--steps", "1"]
    assert cli.main(words) == 2
    assert "pip install 'triptych[tensorboard]'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
