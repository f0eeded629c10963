"""Labels are an option of the training, and every model obeys it."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from components import untrained_components

import triptych
from triptych import cli
from triptych.core.errors import UsageError
from triptych.core.images import to_float
from triptych.core.types import Condition, ImageSpec
from triptych.data.dataset import Split
from triptych.data.load import load
from triptych.inference.pipeline import Pipeline
from triptych.models.configure import model_spec
from triptych.models.registry import load_model_class, model_names
from triptych.models.vae import Vae, VaeConfig
from triptych.runs.older_runs import to_present_form
from triptych.runs.options import Arithmetic, Options, Plan
from triptych.runs.run import Run, open_run
from triptych.training.runner import resume
from triptych.training.trainer import Trainer

SMALL: dict[str, Any] = {"steps": 4, "size": 8, "batch": 4, "threads": 1, "precision": "fp32"}
NARROW: dict[str, dict[str, Any]] = {
    "autoencoder": {"down": 2},
    "latent_diffusion": {"channels": (8, 8)},
    "stylegan": {"width": 8, "max_channels": 8},
    "diffusion": {"channels": (8, 8)},
    "flow_matching": {"channels": (8, 8)},
}
LABELED = ImageSpec(1, 8, classes=2)


def narrow(name: str) -> dict[str, Any]:
    return NARROW.get(name, {"width": 8})


def gray(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)


def drawn(model: Pipeline, label: int) -> torch.Tensor:
    """Four images of a label before they are rounded to gray levels."""
    with torch.inference_mode():
        *_, last = model.frames(range(4), label)
        return last.image()


@pytest.mark.parametrize("name", [n for n in model_names() if not load_model_class(n).reconstructs])
def test_every_model_reads_labels_or_never_sees_them(name: str) -> None:
    model_class, split = load_model_class(name), Split(gray(16), np.arange(16) % 2)
    plan = Plan.trial(torch.device("cpu"), Arithmetic("fp32", False))
    for conditional in (True, False):
        image_spec = model_spec(LABELED, conditional)
        training = Trainer(
            model_class(
                model_class.Config(**narrow(name)), image_spec, untrained_components(model_class, image_spec)
            ),
            split,
            Options(batch=4),
            plan,
        )
        assert training.model.conditional is conditional
        assert (next(training.batches()).labels is not None) is conditional
        next(training.steps())
        model = Pipeline(training.model)
        if conditional:
            training.model.requires_grad_(True)
            taught = training.model
            for parameter in taught.parameters():  # layers that start at zero would hide the label
                torch.nn.init.normal_(parameter, 0.0, 0.1)
            zero, one = (drawn(model, label) for label in (0, 1))
            assert not torch.equal(zero, one)
        else:
            with pytest.raises(ValueError, match="was trained without labels: leave them out"):
                model.sample(range(4), 0)


def test_left_out_it_is_on_where_there_are_two_classes() -> None:
    assert model_spec(LABELED, None) == LABELED
    assert model_spec(LABELED, False) == ImageSpec(1, 8, classes=0)
    assert model_spec(ImageSpec(1, 8, classes=1), None).classes == 0
    assert model_spec(ImageSpec(1, 8, classes=1), True).classes == 1
    assert model_spec(ImageSpec(3, 8), None) == model_spec(ImageSpec(3, 8), False) == ImageSpec(3, 8)


def test_the_flags_say_yes_no_or_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
    cases: dict[str, tuple[list[str], bool]] = {
        "left-out": ([], True),
        "off": (["--no-conditional"], False),
        "paper": (["--preset", "paper"], False),
        "both": (["--preset", "paper", "--conditional"], True),
    }
    for name, (flags, expected) in cases.items():
        more = ["--width", "8", *flags, "--runs", str(tmp_path / name)]
        assert cli.main(["train", "dcgan", *words, *more]) == 0
        card = json.loads(next((tmp_path / name).glob("0*/run.json")).read_text())
        assert card["conditional"] is expected and (card["image_spec"]["classes"] > 0) is expected
        assert len(card["data"]["class_names"]) == 10  # scoring needs the source's own
    capsys.readouterr()
    assert cli.main(["train", "dcgan", "--conditional", "--no-conditional"]) == 2
    assert "give --conditional or --no-conditional, not both" in capsys.readouterr().err


def test_conditional_on_data_without_labels_is_refused(tmp_path: Path) -> None:
    for name in model_names():
        with pytest.raises(UsageError, match=r"^--conditional needs labels, and these images have none"):
            triptych.train(name, data=gray(30), conditional=True, runs=tmp_path, **SMALL)
    assert not list(tmp_path.iterdir())


def test_conditional_of_a_model_without_labels_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "deaf.py"
    own.write_text(
        "from triptych.models.dcgan import Dcgan, DcganConfig\n"
        "class Deaf(Dcgan):\n"
        '    """Deaf."""\n'
        '    title = "Deaf"\n'
        "    def __init__(self, config, spec, components=None):\n"
        "        from dataclasses import replace\n"
        "        super().__init__(config, replace(spec, classes=0), components)\n"
    )
    with pytest.raises(UsageError, match="--conditional was asked for, but Deaf does not read labels"):
        triptych.train(str(own), conditional=True, runs=tmp_path / "runs", width=8, **SMALL)


# --- run.json as it was ----------------------------------------------------------------------


def as_it_was(run: Run, where: Path) -> Path:
    """A copy of a run, its run.json as written when labels were a setting of three models."""
    shutil.copytree(run.path, where)
    card = json.loads((run.path / "run.json").read_text())
    for gone in ("format", "image_spec"):
        del card[gone]
    card["family"] = card.pop("model")
    if card["family"] in ("dcgan", "wgan", "stylegan"):
        card["config"] = {**card["config"], "conditional": card["conditional"]}
    card["spec"] = {**asdict(run.card.image_spec), "classes": 10}
    card["options"] = {k: v for k, v in card["options"].items() if k != "conditional"}
    del card["preset"]
    (where / "run.json").write_text(json.dumps(card))
    return where


@pytest.mark.parametrize(
    ("model", "conditional"),
    [("dcgan", True), ("dcgan", False), ("vae", False), ("diffusion", True)],
)
def test_old_runs_open_sample_and_go_on_to_the_same_bits(
    model: str, conditional: bool, tmp_path: Path
) -> None:
    own = {**narrow(model), **SMALL, "conditional": conditional, "save_every": 2}
    run = triptych.train(model, runs=tmp_path / "runs", **own)
    old = as_it_was(run, tmp_path / "old")
    assert (
        open_run(old).card.config == run.card.config and open_run(old).card.image_spec == run.card.image_spec
    )
    now, then = triptych.load(run.path), triptych.load(old)
    assert then.model.conditional is conditional
    assert np.array_equal(now.sample(range(6)), then.sample(range(6)))
    whole = open_run(run.path).load_checkpoint()[0]
    shutil.rmtree(old / "checkpoints" / "step-00000004")
    again, meta, _ = resume(old).load_checkpoint()
    assert meta.step == 4
    for file, tensors in whole.items():
        assert all(torch.equal(tensors[key], again[file][key]) for key in tensors), file


def test_old_cards_without_labels_and_of_user_models() -> None:
    spec = asdict(ImageSpec(1, 8, 10))
    card: dict[str, Any] = {"family": "diffusion", "config": {}, "spec": spec}
    card |= {"options": {}, "plan": {}, "data": {}}
    assert to_present_form(card)["image_spec"]["classes"] == 10  # it always read labels
    assert to_present_form({**card, "family": "vae"})["image_spec"]["classes"] == 0
    own = {**card, "family": "own.py", "config": {"conditional": True}}
    assert to_present_form(own)["config"] == own["config"]
    assert to_present_form(own)["image_spec"] == spec
    assert to_present_form({**card, "options": []})["options"] == []  # damaged: for others to say


# --- the conditional VAE ----------------------------------------------------------------------


@pytest.fixture(scope="module", params=["flow", "normal"])
def conditional_vae(request: pytest.FixtureRequest) -> Pipeline:
    """A VAE of two classes, dark squares and bright ones, trained for a moment."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    levels = np.where(labels, 200, 50)[:, None, None, None] + rng.integers(-20, 20, (400, 1, 1, 1))
    pixels = np.broadcast_to(levels, (400, 8, 8, 1)).astype(np.uint8)
    torch.manual_seed(0)
    model = Vae(VaeConfig(latent=2, width=8, prior=request.param, kl_warmup=0, lr=1e-2), LABELED)
    plan = Plan.trial(torch.device("cpu"), Arithmetic("fp32", False)).model_copy(update={"steps": 150})
    training = Trainer(model, Split(pixels, labels), Options(batch=32), plan)
    steps = training.steps()
    for _ in range(150):
        next(steps)
    return Pipeline(model)


def squares(*levels: int) -> np.ndarray:
    return np.stack([np.full((8, 8, 1), level, np.uint8) for level in levels])


def test_a_conditional_vae_samples_the_given_class(conditional_vae: Pipeline) -> None:
    dark, bright = (conditional_vae.sample(range(16), label).mean() for label in (0, 1))
    assert dark < 90 and bright > 160


def test_a_conditional_vae_inverts_and_bounds_with_the_label(conditional_vae: Pipeline) -> None:
    images, labels = squares(45, 60, 195, 210), [0, 0, 1, 1]
    again = conditional_vae.generate(conditional_vae.invert(images, labels), labels)
    assert np.abs(again.astype(int) - images).mean() < 15
    right, wrong = (
        conditional_vae.bits_per_dim(images, labels, "iwae"),
        conditional_vae.bits_per_dim(images, [1, 1, 0, 0], "iwae"),
    )
    assert (right < wrong).all()


def test_a_missing_label_is_marginalized(conditional_vae: Pipeline) -> None:
    images = squares(50, 200)
    each = (
        np.stack([conditional_vae.bits_per_dim(images, y, "iwae", draws=4) for y in (0, 1)]) * 64 * np.log(2)
    )  # nats
    expected = (np.log(2) - np.logaddexp(-each[0], -each[1])) / (64 * np.log(2))
    np.testing.assert_allclose(
        conditional_vae.bits_per_dim(images, None, "iwae", draws=4), expected, rtol=1e-6
    )


def test_a_conditional_vae_without_a_label_says_what_it_needs(conditional_vae: Pipeline) -> None:
    with pytest.raises(UsageError, match="was trained with labels"):
        conditional_vae.model.invert(
            to_float(squares(50)), Condition(), conditional_vae.model.Controls(), [0]
        )


def test_the_first_layer_of_a_conditional_vae_reads_noise_and_label_apart(conditional_vae: Pipeline) -> None:
    matrix = conditional_vae.model.first_layer_weight()
    assert (matrix is None) == (conditional_vae.model.config.prior == "flow")
    assert matrix is None or matrix.shape[1] == 2


def test_the_gan_monitor_knows_the_classes_that_an_unconditional_model_does_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triptych.monitor import gan_monitor

    class_counts: list[int] = []
    reference = gan_monitor.Reference

    def recorded(split: Split, classes: int = 0) -> Any:
        class_counts.append(classes)
        return reference(split, classes)

    monkeypatch.setattr(gan_monitor, "Reference", recorded)
    settings = {**SMALL, "steps": 60, "conditional": False}
    triptych.train("dcgan", data="digits", runs=tmp_path, width=8, **settings)
    assert class_counts == [len(load("digits").class_names)]
