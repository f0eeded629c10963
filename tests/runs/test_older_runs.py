"""Run directories of earlier versions: read as they are, renamed when somebody writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import triptych
from triptych import cli
from triptych.comparison.duel import open_duel
from triptych.core.errors import RunError
from triptych.evaluation.records import evaluations
from triptych.runs.run import open_run
from triptych.training.runner import resume

RING = Path(__file__).parent / "old_runs" / "dcgan-ring-56b9d2c"  # made by that commit of version 0.1.0


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RING, tmp_path / "0001-old"))


def test_it_is_read_under_the_present_names(old: Path) -> None:
    run = open_run(old)
    assert run.card.model == "dcgan" and run.card.image_spec.size == 1 and run.card.image_spec.classes == 8
    assert run.card.options.ema_std == 0.1 and run.card.cost.sampling_parameters > 0
    assert run.checkpoints() == [24, 36] and run.snapshots() == [18, 36]
    meta = run.checkpoint_meta()
    assert meta.step == 36 and meta.total_steps == 36 and "generator" in meta.learning_rates
    assert meta.comparison is not None and meta.comparison.selected in ("raw", "ema")
    assert meta.last_log.step == 36 and run.checkpoint_meta(24).last_log.step == 24
    assert set(run.load_checkpoint().tensors) == {"weights", "ema", "optimizers"}
    assert set(run.load_snapshot(18).tensors) == {"raw", "ema"}
    (evaluation,) = evaluations(run)
    assert evaluation.step == 36 and evaluation.scores[0].name == "FID[coordinates]"
    assert sorted(p.name for p in old.iterdir()) == sorted(
        p.name for p in RING.iterdir()
    )  # nothing was written


@pytest.mark.parametrize(
    "words",
    [
        ["sample", "RUN", "--seeds", "0-3", "--out", "x.npy"],
        ["evaluate", "RUN", "--samples", "40", "--quick"],
        ["report", "RUN", "--out", "r.html"],
        ["check", "RUN"],
    ],
    ids=lambda words: words[0],
)
def test_every_verb_takes_it(words: list[str], old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(old.parent)
    assert cli.main([str(old) if word == "RUN" else word for word in words]) == 0


def test_ema_and_raw_weights_are_sampled(old: Path) -> None:
    raw, ema = (triptych.load(old, weights=weights).sample(range(4)) for weights in ("raw", "ema"))
    assert not np.array_equal(raw, ema)
    assert not np.array_equal(triptych.load(old, step=18, weights="ema").sample(range(4)), ema)


def test_it_is_resumed_and_then_has_the_present_names(old: Path) -> None:
    shutil.rmtree(old / "states" / "step-00000036")
    (old / "watch").mkdir()
    (old / "watch.jsonl").write_text("")
    run = resume(old)
    names = {path.name for path in old.iterdir()}
    assert {"checkpoints", "ema", "monitor", "monitor.jsonl"} <= names
    assert not names & {"states", "averages", "watch", "watch.jsonl"}
    assert json.loads((old / "run.json").read_text())["format"] == 1
    assert (run.checkpoint_path(36) / "ema.safetensors").is_file()
    then, now = open_run(RING).load_checkpoint(36).tensors, run.load_checkpoint(36).tensors
    for name, tensor in then["weights"].items():  # the same course, as far as processors add alike
        assert torch.allclose(tensor.float(), now["weights"][name].float(), atol=1e-3), name


def test_a_run_of_a_later_version_is_refused(old: Path) -> None:
    card = json.loads((old / "run.json").read_text())
    (old / "run.json").write_text(json.dumps({**card, "format": 2, "triptych": "9.9"}))
    with pytest.raises(RunError, match=r"has format 2, made by Triptych 9\.9, and this version"):
        open_run(old)


def test_a_card_that_cannot_be_read_names_its_version_and_the_entry(old: Path) -> None:
    card = json.loads((old / "run.json").read_text())
    (old / "run.json").write_text(json.dumps({**card, "plan": {**card["plan"], "steps": "many"}}))
    with pytest.raises(RunError, match=r"made by Triptych 0\.1\.0, cannot be read \(plan\.steps: "):
        open_run(old)


def test_a_duel_of_before_is_read(tmp_path: Path) -> None:
    rules = {
        "triptych": "0.1.0", "created": "2026-01-01", "data": "digits", "size": None, "budget": "images",
        "amount": 64, "seeds": [0], "samples": 40,
        "contestants": [
            {"label": "DCGAN --rate 1e-4", "family": "dcgan", "flags": ["--rate", "1e-4"]},
            {"label": "Diffusion", "family": "diffusion", "flags": []},
        ],
    }  # fmt: skip
    (tmp_path / "duel.json").write_text(json.dumps(rules))
    first, second = open_duel(tmp_path).rules.contestants
    assert (first.model, first.flags) == ("dcgan", ("--lr", "1e-4"))
    assert second.model == "flow_matching"  # what the former default of diffusion was
    (tmp_path / "duel.json").write_text(json.dumps({**rules, "format": 2}))
    with pytest.raises(RunError, match="has format 2"):
        open_duel(tmp_path)
