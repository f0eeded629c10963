"""The same command makes the same model: no clock decides, and a budget in minutes can be repeated."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from components import component_settings

import triptych
from triptych import cli
from triptych.comparison import duel
from triptych.core.time_left import throttled_progress
from triptych.models.registry import model_names
from triptych.runs.run import Run

SMALL: dict[str, Any] = {"batch": 16, "width": 4, "seed": 3}


class Clock:
    """A clock in the place of time's: each reading advances it."""

    def __init__(self, pace: Iterator[float]) -> None:
        self.now, self.pace = 0.0, pace

    def __call__(self) -> float:
        self.now += next(self.pace)
        return self.now


def weights(run: Run) -> dict[str, torch.Tensor]:
    files, *_ = run.load_checkpoint()
    return {f"{file}/{name}": tensor for file, tensors in files.items() for name, tensor in tensors.items()}


def same(one: Run, other: Run) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def slow_then_fast() -> Iterator[float]:
    """Every arithmetic but the last seems slow, ..."""
    return itertools.chain(itertools.repeat(5.0, 12), itertools.repeat(1e-3))


def fast_then_slow() -> Iterator[float]:
    """... or every one but the first."""
    return itertools.chain(itertools.repeat(1e-3, 12), itertools.repeat(5.0))


@pytest.mark.parametrize("name", model_names())
def test_no_clock_decides(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = dict(SMALL)
    if name in ("diffusion", "flow_matching", "latent_diffusion"):
        del small["width"]
        small["channels"] = (8, 8)
    if name == "autoencoder":
        small["width"] = 32
    if name == "hierarchical_vae":
        small["width"] = 8
    components = component_settings(name, tmp_path)
    runs = []
    for pace in (slow_then_fast(), fast_then_slow()):
        monkeypatch.setattr(time, "perf_counter", Clock(pace))
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
        runs.append(triptych.train(name, runs=tmp_path, steps=3, **small, **components))
    one, other = runs
    assert one.card.plan == other.card.plan and one.card.plan.threads == 1
    assert one.card.cost == other.card.cost and one.card.cost.flops_per_step > 0
    assert same(one, other)


def test_minutes_are_repeated_by_their_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", Clock(itertools.repeat(0.4)))
        timed = triptych.train("vae", runs=tmp_path, minutes=0.05, announce=messages.append, **SMALL)
    steps = timed.card.plan.steps
    assert 2 <= steps <= 9 and timed.checkpoint_meta().step == steps
    assert messages == [
        f"a few seconds: {steps} steps of 16 images on cpu, 1 thread, "
        f"{timed.card.plan.precision}, channels last ({timed.card.plan.precision_reason})"
    ]
    assert same(timed, triptych.train("vae", runs=tmp_path, steps=steps, **SMALL))


def test_the_command_line_says_how_to_repeat_minutes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--minutes", "0.01", "--batch", "16", "--width", "4", "--runs", str(tmp_path)]
    assert cli.main(["train", "vae", *words]) == 0
    output = capsys.readouterr().err
    (run,) = tmp_path.glob("0*")
    steps = triptych.load(run).run.card.plan.steps  # type: ignore[union-attr]
    assert f"{steps:,} steps of 16 images on cpu, " in output
    (repeat,) = (line for line in output.splitlines() if "0.01 minutes" in line)
    assert f"--steps {steps} " in repeat


def test_trainings_of_a_duel_share_one_arithmetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duel, "bf16_pays", lambda device: (True, "here"))
    created = duel.create_duel(["vae", "dcgan --precision fp32"], "digits", home=tmp_path, amount=1)
    monkeypatch.setattr(duel, "bf16_pays", lambda device: (False, "elsewhere"))
    commands = [duel._train_command(duel.open_duel(created.path), c, 0) for c in created.rules.contestants]
    for line in commands:
        assert line[line.index("--precision") + 1] == "bf16" and line[line.index("--threads") + 1] == "1"
    assert "fp32" in commands[1][commands[1].index("bf16") :]  # a contestant's own flag comes last and counts
    old = created.rules.model_dump(mode="json", exclude={"precision", "threads"})
    assert "--precision" not in duel._train_command(
        duel.Duel(created.path, duel.Rules.model_validate(old)), created.rules.contestants[0], 0
    )


def test_long_work_says_how_much_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    monkeypatch.setattr(time, "monotonic", Clock(itertools.repeat(1.0)))
    progress = throttled_progress(messages.append)
    for done in range(1, 201):
        progress("extractor", done, 200)
    assert messages[0] == "extractor: 3 of 200, about 3 minutes left"
    assert messages[1] == "extractor: 13 of 200, about 3 minutes left"
    assert messages[-1].endswith("of 200, a few seconds left")
    progress("samples", 1, 2)
    assert len(messages) < 25
