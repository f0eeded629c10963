"""Models built on others: an autoencoder as the first stage of latent diffusion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import triptych
from triptych import cli
from triptych.core.errors import RunError, UsageError
from triptych.data.load import load as load_data
from triptych.evaluation import reconstruction
from triptych.evaluation.evaluate import evaluate_run
from triptych.runs.run import Run
from triptych.training import preprocessing
from triptych.training.runner import resume

SMALL: dict[str, Any] = {
    "data": "digits", "size": 8, "batch": 8, "threads": 1, "precision": "fp32", "save_every": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def first_stage(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return triptych.train("autoencoder", down=2, steps=4, runs=tmp_path_factory.mktemp("first"), **SMALL)


def second_stage(first: Run, home: Path, **more: Any) -> Run:
    settings = {"components": {"first_stage": first.path}, "force_first_stage": True, "channels": (8, 8)}
    return triptych.train("latent_diffusion", runs=home, **{**SMALL, **settings, "steps": 6, **more})


def test_a_run_stands_alone_and_resumes_to_the_same_bits(first_stage: Run, tmp_path: Path) -> None:
    whole = second_stage(first_stage, tmp_path / "whole")
    card = whole.card.components["first_stage"]
    assert (card.model, card.run, card.step) == ("autoencoder", first_stage.path.name, 4)
    stopped = second_stage(first_stage, tmp_path / "stopped", steps=3)
    first_stage.path.rename(hidden := first_stage.path.with_name("hidden"))
    try:
        again = resume(stopped.path, steps=6)
        images = triptych.load(again.path).sample(range(4), labels=3)
    finally:
        hidden.rename(first_stage.path)
    assert images.shape == (4, 8, 8, 1)
    weights, other = (run.load_checkpoint().tensors["weights"] for run in (whole, again))
    assert weights.keys() == other.keys() and any(name.startswith("first_stage.") for name in weights)
    frozen = first_stage.load_checkpoint().tensors["weights"]
    kept = {n.removeprefix("first_stage."): t for n, t in weights.items() if n.startswith("first_stage.")}
    assert all(torch.equal(kept[name], other[f"first_stage.{name}"]) for name in kept)
    assert kept.keys() == frozen.keys()


def test_latents_are_computed_once_and_have_unit_scale(
    first_stage: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    calls: list[int] = []
    compute = preprocessing.preprocessed
    monkeypatch.setattr(preprocessing, "preprocessed", lambda m, p: calls.append(len(p)) or compute(m, p))
    second_stage(first_stage, tmp_path / "one", steps=1)
    second_stage(first_stage, tmp_path / "two", steps=1)
    (file,) = (tmp_path / "cache" / "latents").glob("*.npy")
    latents = np.load(file)
    assert calls == [len(latents)] and latents.dtype == np.float32
    assert np.abs(latents.mean((0, 1, 2))).max() < 0.05
    assert np.abs(latents.std((0, 1, 2)) - 1).max() < 0.05
    file.write_bytes(b"damaged")
    second_stage(first_stage, tmp_path / "three", steps=1)
    assert len(calls) == 2


def test_a_batch_of_images_has_the_loss_of_its_latents(first_stage: Run, tmp_path: Path) -> None:
    """Raw and EMA weights are compared on images, training sees cached latents."""
    from triptych.core.images import to_float
    from triptych.core.objectives import StepContext
    from triptych.core.types import Batch

    model = triptych.load(second_stage(first_stage, tmp_path).path).model
    images = to_float(load_data("digits", size=8).test.pixels[:6])
    rows = torch.arange(6)
    losses = []
    for values in (images, model.preprocess(images)):
        batch = Batch(values, torch.zeros(6, dtype=torch.int64), None, rows, 6)
        losses.append(model.objectives()[0].loss(batch, StepContext(0, 0, 0.5, frozenset(), batch))[0])
    torch.testing.assert_close(*losses)


def test_evaluation_of_an_autoencoder_is_of_reconstructions(first_stage: Run) -> None:
    evaluation = evaluate_run(first_stage.path, 60, "random-conv", save=False)
    assert evaluation.reconstruction is not None and evaluation.reconstruction.n == 60
    assert {score.card.labels for score in evaluation.scores} == {reconstruction.LABELS_RECONSTRUCTIONS}
    pipeline = triptych.load(first_stage.path)
    pixels = load_data("digits", size=8).test.pixels
    error = reconstruction.measure_reconstruction(pipeline, pixels, pixels, ())
    assert error.mean_error == 0 and error.psnr > 100 and error.code_share is None


def test_a_poor_first_stage_is_refused_with_its_figure(first_stage: Run, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"not good enough: .* of [\d.]+ times the floor, and at most 10 times is accepted"
    ):
        second_stage(first_stage, tmp_path, force_first_stage=False)
    assert not list(tmp_path.glob("0*"))


def test_what_is_no_first_stage_is_refused(first_stage: Run, tmp_path: Path) -> None:
    vae = triptych.train("vae", steps=1, runs=tmp_path / "vae", **SMALL)
    with pytest.raises(UsageError, match="is a run of vae, expected a run of autoencoder"):
        second_stage(vae, tmp_path / "a")
    with pytest.raises(UsageError, match="needs --first-stage RUN, the run of a trained autoencoder"):
        triptych.train("latent_diffusion", steps=1, runs=tmp_path / "b", **SMALL)
    with pytest.raises(UsageError, match="trained on images of 8 px"):
        second_stage(first_stage, tmp_path / "c", size=16)
    with pytest.raises(UsageError, match="VAE is not built on other runs: leave out --first-stage"):
        triptych.train("vae", steps=1, components={"first_stage": vae.path}, runs=tmp_path / "d", **SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "evil.py"}, "names 'evil.py' as a component"),
        ({"model": "nothing"}, "names 'nothing' as a component"),
        (None, "names the components none, and Latent diffusion is built on first_stage"),
    ],
)
def test_what_a_received_card_names_as_a_component_is_not_executed(
    first_stage: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str] | None,
    message: str,
) -> None:
    run = second_stage(first_stage, tmp_path / "runs", steps=1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('executed', 'w')")
    card = json.loads((run.path / "run.json").read_text())
    card["components"] = (
        {} if change is None else {"first_stage": {**card["components"]["first_stage"], **change}}
    )
    (run.path / "run.json").write_text(json.dumps(card))
    for attempt in (triptych.load, resume):
        with pytest.raises(RunError, match=message):
            attempt(run.path, **({"steps": 2} if attempt is resume else {}))
    assert not (tmp_path / "executed").exists()


def test_the_command_line(first_stage: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "digits", "--size", "8", "--batch", "8", "--threads", "1", "--precision", "fp32"]
    words += ["--steps", "1", "--channels", "8", "8"]
    start = ["train", "latent_diffusion", *words, "--runs", str(tmp_path)]
    assert cli.main([*start, "--first-stage", str(first_stage.path)]) == 2
    assert "--force-first-stage" in capsys.readouterr().err
    assert cli.main([*start, "--first-stage", str(first_stage.path), "--force-first-stage"]) == 0
    (run,) = tmp_path.glob("0*")
    assert (
        cli.main(["sample", str(run), "--seeds", "0-3", "--steps", "2", "--out", str(tmp_path / "a.png")])
        == 0
    )
    capsys.readouterr()
    assert cli.main(["sample", str(first_stage.path), "--out", str(tmp_path / "noise.png")]) == 0
    assert "has no prior" in capsys.readouterr().err
    assert cli.main(["evaluate", str(first_stage.path), "--samples", "40", "--features", "random-conv"]) == 0
    printed = capsys.readouterr().out
    assert "40 reconstructions against" in printed and "reconstruction of 40 test images" in printed
