"""Which weights are used for sampling: the better of raw and EMA, measured, recorded and obeyed."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import triptych
from triptych import cli
from triptych.comparison.ranking import compare, group, read
from triptych.core.errors import UsageError
from triptych.data.dataset import Dataset, Split
from triptych.data.load import load
from triptych.data.loader import batches
from triptych.evaluation.classifier import accuracy_of
from triptych.evaluation.evaluate import evaluate_run
from triptych.evaluation.records import newest_evaluation
from triptych.evaluation.selection import Selector, frechet_pair, held_out, quick_extractor
from triptych.inference.pipeline import Pipeline
from triptych.metrics.extractors.base import NetworkExtractor
from triptych.metrics.score import Card
from triptych.models.registry import load_model_class
from triptych.runs.checkpoint import CheckpointMeta
from triptych.runs.options import Arithmetic, Options, Plan
from triptych.runs.run import Run, open_run
from triptych.runs.weights import Comparison, choose
from triptych.training.clock import Progress
from triptych.training.ema import PowerFunctionEMA
from triptych.training.runner import resume
from triptych.training.session import Interrupted
from triptych.training.trainer import Trainer, fresh_copy

CPU = {"threads": 1, "precision": "fp32"}
VAE = {"steps": 12, "batch": 16, "width": 8, "conditional": False, **CPU}
SETTINGS: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 8, "lr": 1e-3},
    "vae": {"width": 8},
    "diffusion": {"channels": (8, 16)},
}
FEW = {"batch": 16, "steps": 8}


def training_of(name: str, dataset: Dataset, steps: int = 0, config: Any = None, **options: Any) -> Trainer:
    model_class = load_model_class(name)
    torch.manual_seed(0)
    model = model_class(model_class.Config(**(SETTINGS[name] if config is None else config)), dataset.spec)
    plan = Plan.trial(torch.device("cpu"), Arithmetic("fp32", False)).model_copy(update={"steps": 2000})
    training = Trainer(model, dataset.train, Options(**{**FEW, **options}), plan)
    training.model.fit_preprocessing(batches(dataset.train, 16, 0))
    course = training.steps()
    for _ in range(steps):
        next(course)
    return training


def selector_of(training: Trainer, dataset: Dataset) -> Selector:
    pipeline = Pipeline(fresh_copy(training.model), class_counts=dataset.class_counts)
    return Selector(training, pipeline, dataset)


def comparison_of(selector: Selector) -> Comparison:
    selector.last = None  # a step is compared once: here its weights are changed in between
    selector.compare()
    assert selector.last is not None
    return selector.last


def spoil(tensors: dict[str, torch.Tensor]) -> None:
    source = torch.Generator().manual_seed(0)
    for tensor in tensors.values():
        if tensor.is_floating_point() and tensor.numel() > 16:
            tensor.add_(torch.randn(tensor.shape, generator=source) * 0.3)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="module", params=list(SETTINGS))
def trained(request: pytest.FixtureRequest, digits: Dataset) -> Trainer:
    torch.set_num_threads(1)
    return training_of(request.param, digits, 100 if request.param == "dcgan" else 30)


def test_the_better_weights_are_chosen(trained: Trainer, digits: Dataset) -> None:
    selector, good = selector_of(trained, digits), trained.model.state_dict()
    for name, tensor in trained.ema.tensors.items():
        tensor.copy_(good[name])
    equal = comparison_of(selector)
    assert equal.difference == 0 and equal.selected == "ema"  # a tie goes to the EMA
    spoil(trained.ema.tensors)
    spoilt_ema = comparison_of(selector)
    assert spoilt_ema.selected == "raw" and spoilt_ema.high < 0 and spoilt_ema.raw == equal.raw
    before = {name: tensor.clone() for name, tensor in good.items()}
    with torch.no_grad():
        spoil(good)
    for name, tensor in trained.ema.tensors.items():
        tensor.copy_(before[name])
    spoilt_raw = comparison_of(selector)
    assert spoilt_raw.selected == "ema" and spoilt_raw.low > 0 and spoilt_raw.ema == equal.ema
    with torch.no_grad():
        for name, tensor in good.items():
            tensor.copy_(before[name])
    adversarial = trained.model.adversarial is not None
    assert equal.metric == ("FD" if adversarial else f"{trained.objectives[0].name}/loss")
    assert equal.features == ("quick-cnn-62" if adversarial else "")
    assert equal.split == "selection half of test" and equal.step == trained.step and equal.n >= 64


def test_comparing_leaves_no_trace(trained: Trainer, digits: Dataset) -> None:
    def tensors() -> list[torch.Tensor]:
        kept = [*trained.model.state_dict().values(), *trained.ema.tensors.values()]
        return [torch.get_rng_state(), *(tensor.clone() for tensor in kept)]

    selector = selector_of(trained, digits)
    before = tensors()
    first, second = comparison_of(selector), comparison_of(selector)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors(), strict=True))
    assert trained.model.training
    untimed = {"seconds": 0.0}
    assert first.model_copy(update=untimed) == second.model_copy(update=untimed)


def test_the_halves_share_no_image() -> None:
    one, other = held_out(101, "selection"), held_out(101, "report")
    assert len(one) == 50 and len(other) == 51
    assert sorted([*one, *other]) == list(held_out(101, "test")) == list(range(101))


def test_features_cost_little_beside_the_training(digits: Dataset) -> None:
    assert quick_extractor(digits, 1000).name == "random-conv"  # less than a second of training
    quick = quick_extractor(digits, 64 * 8 * 40)
    assert isinstance(quick, NetworkExtractor) and quick.name == "quick-cnn-40"
    assert accuracy_of(quick, digits) > 0.8
    assert quick.hash == quick_extractor(digits, 64 * 8 * 40).hash
    unlabelled = Dataset("plain", "plain", Split(digits.train.pixels), digits.test)
    assert quick_extractor(unlabelled, 10**6).name == "random-conv"


def test_too_few_test_images_are_replaced_by_training_images() -> None:
    rng = np.random.default_rng(0)
    few = Dataset(
        "few", "few",
        Split(rng.integers(0, 256, (40, 16, 16, 1), dtype=np.uint8)),
        Split(rng.integers(0, 256, (3, 16, 16, 1), dtype=np.uint8)),
    )  # fmt: skip
    for name in ("dcgan", "vae"):
        training = training_of(name, few, 1, {"width": 4}, batch=8)
        assert comparison_of(selector_of(training, few)).split == "train"


def test_a_handful_of_images_leaves_no_comparison(caplog: pytest.LogCaptureFixture) -> None:
    images = Split(np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1), dtype=np.uint8))
    handful = Dataset("few", "few", images, Split(images.pixels[:1]))
    selector = selector_of(training_of("dcgan", handful, 1, {"width": 4}, batch=4), handful)
    assert selector.compare() == "raw" and selector.last is None
    assert "5 training images, and at least 20 are needed" in caplog.text


def test_points_are_compared_by_their_coordinates() -> None:
    ring = load("points:ring")
    training = training_of("dcgan", ring, 1, {"width": 4})
    comparison = comparison_of(selector_of(training, ring))
    assert comparison.features == "coordinates" and comparison.split == "selection half of test"


def test_the_interval_is_paired() -> None:
    """What both share cancels: the interval of a small shift is far narrower than either score's interval."""
    rng = np.random.default_rng(0)
    real, raw = rng.normal(size=(500, 4)), rng.normal(size=(400, 4))
    (first, second), difference, reach = frechet_pair(real, raw, raw + 0.3)
    assert difference == first - second and first < second
    assert difference + reach < 0
    _, difference, reach = frechet_pair(real, raw, rng.normal(size=(400, 4)))
    assert abs(difference) < reach


def test_a_loss_that_cannot_be_taken_does_not_end_the_training(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    training = training_of("vae", digits, 1)

    def broken(*_: Any) -> Any:
        raise RuntimeError("element 0 of tensors does not require grad")

    selector = selector_of(training, digits)
    monkeypatch.setattr(selector.pipeline.model, "loss", broken)
    assert selector.compare() == "raw" and selector.last is None
    assert "could not be compared" in caplog.text


# --- runs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose EMA is noise."""
    torch.set_num_threads(1)
    update = PowerFunctionEMA.update

    def badly(ema: PowerFunctionEMA, step: int) -> None:
        update(ema, step)
        spoil(ema.tensors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PowerFunctionEMA, "update", badly)
        return triptych.train("vae", runs=tmp_path_factory.mktemp("runs"), **VAE)


def test_a_run_says_which_weights_are_used_for_sampling(spoilt: Run) -> None:
    for meta in (spoilt.checkpoint_meta(), spoilt.snapshot_meta(12)):
        comparison = meta.comparison
        assert comparison is not None and comparison.selected == "raw" and comparison.step == 12
        assert "raw weights are used for sampling: autoencoder/loss raw" in comparison.sentence()
    assert {spoilt.snapshot_meta(k).comparison is not None for k in spoilt.snapshots()} == {True}


@pytest.mark.parametrize("step", [None, 6])
def test_loading_obeys(spoilt: Run, step: int | None) -> None:
    model = triptych.load(spoilt.path, step=step)
    assert (model.weights, model.requested_weights) == ("raw", "auto")
    drawn = {w: triptych.load(spoilt.path, weights=w, step=step).sample(range(3)) for w in ("raw", "ema")}
    assert np.array_equal(model.sample(range(3)), drawn["raw"])
    assert not np.array_equal(drawn["raw"], drawn["ema"])


def test_grids_are_drawn_from_the_selected_weights(spoilt: Run) -> None:
    from PIL import Image

    from triptych.viz.grids import grid

    drawn = triptych.load(spoilt.path, weights="raw").sample(range(36))
    sheet = np.asarray(Image.open(spoilt.path / "samples" / "step-00000012.png"))
    assert np.array_equal(sheet, grid(drawn, scale=4).squeeze())


def test_every_verb_obeys(spoilt: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(spoilt.path)

    def json_output(*words: str) -> Any:
        assert cli.main([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out.strip().splitlines()[-1])

    def array(weights: str, *words: str) -> np.ndarray:
        out = tmp_path / f"{weights}.npy"
        json_output(*words, "--weights", weights, "--out", str(out))
        return np.asarray(np.load(out))

    for words in (("sample", path, "--seeds", "0-3"), ("steer", path, "interpolate", "--seeds", "0-1")):
        auto, raw, ema = (array(weights, *words) for weights in ("auto", "raw", "ema"))
        assert np.array_equal(auto, raw) and not np.array_equal(raw, ema)
    assert json_output("sample", path, "--weights=ema", "--out", str(tmp_path / "x.npy"))["weights"] == "ema"

    scored = ("evaluate", path, "--samples", "40", "--features", "random-conv", "--quick")
    raw, ema, auto = (
        json_output(*scored, "--weights", weights)["scores"][0] for weights in ("raw", "ema", "auto")
    )
    assert raw["value"] == auto["value"] < ema["value"]
    cards = [score["card"] for score in (raw, ema, auto)]
    assert [c["weights"] for c in cards] == ["raw", "ema", "raw"]
    assert [c["weights_requested"] for c in cards] == ["raw", "ema", "auto"]

    def better_weights(*more: str) -> str:
        answers = json_output("check", path, *more)["answers"]
        return next(a["evidence"] for a in answers if "of an evaluation: FID" in a["question"])

    assert better_weights() == better_weights("--weights", "raw") != better_weights("--weights", "ema")
    pages = {}
    for weights in ("auto", "raw", "ema"):
        json_output("report", path, "--weights", weights, "--out", str(tmp_path / "r.html"))
        pages[weights] = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "raw (autoencoder/loss: raw" in pages["auto"]
    assert "raw (requested)" in pages["raw"] and "EMA (requested)" in pages["ema"]
    images = {w: re.findall('"data:image/png[^"]*"', page) for w, page in pages.items()}
    assert images["auto"] == images["raw"] != images["ema"]


def test_wrong_weights_are_named(spoilt: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"auto, raw or ema, got 'averaged'\. Did you mean ema\?"):
        triptych.load(spoilt.path, weights="averaged")
    assert cli.main(["sample", str(spoilt.path), "--weights", "emma"]) == 2
    assert "ema" in capsys.readouterr().err


def test_weights_that_were_not_kept_are_said_to_be_missing(spoilt: Run, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(spoilt.path, tmp_path / "old")
    old = open_run(tmp_path / "old")
    tensors, meta, _ = old.load_checkpoint()
    old.save_checkpoint(12, {k: v for k, v in tensors.items() if k != "ema"}, meta)
    with pytest.raises(UsageError, match="kept no EMA weights: leave --weights out, or give --weights raw"):
        triptych.load(old.path, weights="ema")
    assert triptych.load(old.path).weights == "raw"
    ema_weights, read_meta = old.load_snapshot(6)
    old.save_snapshot(6, ema_weights["ema"], read_meta)  # as older versions did
    with pytest.raises(UsageError, match="snapshot of step 6 kept no raw weights"):
        triptych.load(old.path, weights="raw", step=6)
    assert triptych.load(old.path, step=6).weights == "ema"


def test_without_a_comparison_the_raw_weights_are_used(spoilt: Run, tmp_path: Path) -> None:
    assert choose("auto", None, ["raw", "ema"], "it") == "raw"
    first = spoilt.load_checkpoint(0)
    assert first.meta.comparison is None
    meta = spoilt.checkpoint_meta().model_dump(mode="json")
    future = {**meta, "comparison": {**meta["comparison"], "unknown": 1}}
    assert CheckpointMeta.model_validate(meta).comparison is not None
    assert CheckpointMeta.model_validate(future).comparison is None


def stopping_at(step: int) -> Callable[[Progress], None]:
    def on_step(progress: Progress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return on_step


def test_stopped_it_is_compared_and_resumed_it_ends_with_the_same_choice(tmp_path: Path) -> None:
    whole = triptych.train("vae", runs=tmp_path, **VAE)
    with pytest.raises(Interrupted):
        triptych.train("vae", runs=tmp_path, on_step=stopping_at(4), **VAE)
    stopped = open_run(tmp_path / "0002-vae-digits")
    comparison = stopped.checkpoint_meta().comparison
    assert (
        comparison is not None and comparison.step == stopped.checkpoints()[-1] == 5
    )  # a wish is granted after the next step
    ended = [run.checkpoint_meta().comparison for run in (whole, resume(stopped.path))]
    first, second = (c.model_copy(update={"seconds": 0.0}) for c in ended if c is not None)
    assert first == second and first.step == 12
    newest = open_run(stopped.path).snapshot_meta(6).comparison
    assert newest is not None and newest.step == 6


# --- scores --------------------------------------------------------------------------------


def test_cards_call_the_weights_by_todays_names() -> None:
    card: dict[str, Any] = {
        "metric": "FID", "parameters": {}, "data": "x", "split": "test", "n_real": 1, "n_fake": 1,
        "extractor": "a", "extractor_hash": "b", "resize": "none", "version": 1,
    }  # fmt: skip
    assert Card(**card, weights="averaged").weights == "ema"
    assert Card(**card, weights="raw").weights == "raw"


def evaluation_of(step: int, weights: str, requested: str) -> Any:
    """What is read of an evaluation."""
    score = SimpleNamespace(card=SimpleNamespace(weights_requested=requested))
    return SimpleNamespace(step=step, weights=weights, scores=(score,))


def test_an_evaluation_made_with_weights_does_not_stand_for_the_run() -> None:
    auto, forced = evaluation_of(9, "raw", "auto"), evaluation_of(9, "ema", "ema")
    assert newest_evaluation([]) is None
    assert newest_evaluation([auto, forced]) is auto
    assert newest_evaluation([auto, forced], "ema") is forced
    assert newest_evaluation([forced]) is forced
    later = evaluation_of(12, "ema", "ema")
    assert newest_evaluation([auto, later]) is later  # of newer weights


def test_seeds_that_show_different_weights_stand_together(tmp_path: Path, digits: Dataset) -> None:
    """Both were opened by one rule; evaluations of named weights are others."""
    options = {**VAE, "steps": 4}
    runs = [triptych.train("vae", runs=tmp_path, seed=seed, **options) for seed in (0, 1)]
    opened = [(runs[0], "auto", "raw"), (runs[1], "auto", "ema")]
    for run, requested, used in opened:
        model = triptych.load(run.path, weights=used)
        model.requested_weights = requested  # type: ignore[assignment]
        evaluate_run(model, 40, "random-conv", data=digits)
    assert len(group([read(run.path) for run in runs])) == 1
    files = []
    for weights in ("raw", "ema"):
        model = triptych.load(runs[0].path, weights=weights)
        files.append(tmp_path / f"{weights}.json")
        evaluation = evaluate_run(model, 40, "random-conv", data=digits, save=False)
        files[-1].write_text(json.dumps(evaluation.model_dump(mode="json")))
    notes = compare(files).notes
    assert any(note.startswith("different weights: ") and "raw" in note and "ema" in note for note in notes)
