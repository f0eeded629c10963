"""Presets: their values, how they are chosen, what overrides them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from components import untrained_components
from torch import nn

import triptych
from triptych import cli
from triptych.comparison.duel import create_duel
from triptych.core.errors import UsageError
from triptych.core.types import ImageSpec
from triptych.data.load import load
from triptych.models.configure import configure, describe_presets, preset_in_arguments, suggest_preset
from triptych.models.dcgan import Dcgan
from triptych.models.registry import load_model_class, model_names
from triptych.models.wgan import Wgan
from triptych.runs.options import Arithmetic, Options, Plan
from triptych.runs.run import open_run
from triptych.training.trainer import Trainer

SMALL: dict[str, Any] = {"steps": 2, "size": 8, "batch": 4, "threads": 1, "precision": "fp32"}
WORDS = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
EVERY = [(model, preset) for model in model_names() for preset in load_model_class(model).presets]

OWN = '''
from triptych.models.dcgan import Dcgan, DcganConfig

class OwnConfig(DcganConfig):
    """Its settings."""

class Own(Dcgan):
    """Another DCGAN."""
    Config, title = OwnConfig, "Own"
    presets = {PRESETS}
'''


@pytest.fixture
def own(tmp_path: Path) -> Any:
    def written(presets: dict[str, Any]) -> str:
        path = tmp_path / "own.py"
        path.write_text(OWN.replace("{PRESETS}", repr(presets)))
        return str(path)

    return written


def test_every_model_has_the_default_preset_and_each_gan_a_paper_preset() -> None:
    assert {model for model, preset in EVERY if preset == "fast"} == set(model_names())
    assert {("dcgan", "paper"), ("wgan", "paper"), ("stylegan", "paper")} <= set(EVERY)


@pytest.mark.parametrize(("model", "preset"), EVERY)
def test_every_preset_trains(model: str, preset: str) -> None:
    points = preset == "points"
    data, model_class = load("points:ring") if points else load("digits", size=8), load_model_class(model)
    chosen, config, options = configure(model_class, preset, {"batch": 4}, "digits")
    assert chosen == preset
    given = {**config.model_dump(), **options.model_dump(), "batch": model_class.presets[preset].get("batch")}
    for name, value in model_class.presets[preset].items():
        if isinstance(value, dict):
            assert value.items() <= given[name].items()
        else:
            assert given[name] == value or (value is None and name == "lr"), name
    plan = Plan.trial(torch.device("cpu"), Arithmetic("fp32", False))
    components = untrained_components(model_class, data.spec)
    training = Trainer(model_class(config, data.spec, components), data.train, options, plan)
    steps = training.steps()
    values = [next(steps).values for _ in range(2)]
    assert all(bool(value.isfinite()) for logged in values for value in logged.values())


def test_the_default_preset_is_fast_and_explicit_settings_override_it(tmp_path: Path) -> None:
    run = triptych.train("dcgan", runs=tmp_path, width=8, lr=5e-4, **SMALL)
    config, options = run.card.config, run.card.options
    assert run.card.preset == "fast" and config["instance_noise"] == 0.3
    assert config["lr"] == 5e-4 and options.batch == 4
    assert Dcgan.Config().lr == 2e-4 and Options().batch == 128  # a Config made directly is the class's own


def test_the_command_line_names_a_preset(tmp_path: Path) -> None:
    words = ["train", "wgan", "--preset=paper", "--width", "8", "--latent", "7", "--runs", str(tmp_path)]
    assert cli.main([*words, *WORDS]) == 0
    run = open_run(next(tmp_path.glob("0*")))
    config = run.card.config
    assert run.card.preset == "paper" and run.card.conditional is False
    assert (config["lr"], config["penalty_weight"], config["generator_interval"]) == (1e-4, 10.0, 5)
    assert (config["width"], config["latent"]) == (8, 7)


def test_help_shows_the_defaults_of_the_chosen_preset(capsys: pytest.CaptureFixture[str]) -> None:
    def help_text(*words: str) -> str:
        with pytest.raises(SystemExit):
            cli.main(["train", "dcgan", *words, "--help"])
        return " ".join(capsys.readouterr().out.replace("│", " ").split())

    fast, paper = help_text(), help_text("--preset", "paper")
    assert "{fast,few,points,paper}" in fast and "fast: batch 64, lr 0.001, instance-noise 0.3; few:" in fast
    assert "Images per training step. (default: 64)" in fast
    assert "Images per training step. (default: 128)" in paper
    assert "(default: fast)" in fast and "(default: fast)" in paper
    assert "This preset: off." in paper and "This preset" not in fast


def test_an_unknown_preset_is_refused_with_the_nearest_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "dcgan", "--preset", "papr", "--runs", str(tmp_path)]) == 2
    assert "DCGAN has no preset 'papr'. Did you mean paper? There are: fast, few, points, paper" in (
        capsys.readouterr().err
    )
    with pytest.raises(UsageError, match=r"VAE has no preset 'slow'\. There are: fast"):
        triptych.train("vae", preset="slow", runs=tmp_path, **SMALL)
    assert not list(tmp_path.iterdir())


def test_a_users_own_model_needs_no_presets(
    own: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, runs = own({}), tmp_path / "runs"
    assert cli.main(["train", model, "--preset", "fast", "--runs", str(runs)]) == 2
    assert "Own has no presets: leave out --preset fast" in capsys.readouterr().err
    assert cli.main(["train", model, "--width", "8", "--runs", str(runs), *WORDS]) == 0
    card = json.loads(next(runs.glob("0*/run.json")).read_text())
    assert card["preset"] is None and card["config"]["instance_noise"] == 0.0


def test_a_preset_may_set_a_tagged_union(own: Any, tmp_path: Path) -> None:
    model = own({"few": {"augment": {"kind": "adaptive", "target": 0.5}, "width": 8}})
    words = ["train", model, "--preset", "few", *WORDS]
    more: list[tuple[list[str], dict[str, Any]]] = [
        ([], {"kind": "adaptive", "target": 0.5}),
        (["--augment.target", "0.7"], {"kind": "adaptive", "target": 0.7}),
        (["--augment", "none"], {"kind": "none"}),
    ]
    for number, (flags, expected) in enumerate(more):
        assert cli.main([*words, *flags, "--runs", str(tmp_path / str(number))]) == 0
        card = json.loads(next((tmp_path / str(number)).glob("0*/run.json")).read_text())
        assert card["preset"] == "few" and expected.items() <= card["config"]["augment"].items()
    assert cli.main(["train", model, *WORDS, "--width", "8", "--runs", str(tmp_path / "none")]) == 0
    card = json.loads(next((tmp_path / "none").glob("0*/run.json")).read_text())
    assert card["preset"] is None and card["config"]["augment"]["kind"] == "none"  # no "fast": no preset


@pytest.mark.parametrize(
    ("line", "named"),
    [("--preset paper", "paper"), ("--lr 1 --preset=few", "few"), ("--steps 2", None), ("--preset", "")],
)
def test_the_preset_is_found_among_arguments(line: str, named: str | None) -> None:
    assert preset_in_arguments(shlex.split(line)) == named


def test_presets_are_described_in_help() -> None:
    description = describe_presets(load_model_class("stylegan"))
    assert (
        "mixing-probability 0;" in description
        and "style-dependent-input off" in description
        and "critic-lr automatic" in description
    )


def test_a_duel_takes_presets(tmp_path: Path) -> None:
    created = create_duel(["dcgan --preset paper", "dcgan"], "digits", home=tmp_path)
    paper, fast = created.rules.contestants
    assert paper.flags == ("--preset", "paper") and paper.label == "DCGAN --preset paper"
    assert fast.flags == () and fast.label == "DCGAN"
    with pytest.raises(UsageError, match="DCGAN has no preset 'pap'"):
        create_duel(["dcgan --preset pap", "vae"], "digits", home=tmp_path)


def test_a_preset_that_suits_the_source_better_is_suggested(tmp_path: Path) -> None:
    few = "90 images are few, and DCGAN may memorize them: --preset few may serve better"
    assert suggest_preset(Dcgan, "fast", ImageSpec(1, 8), 90) == few
    assert suggest_preset(Dcgan, "fast", ImageSpec(1, 8), 5000) is None
    assert suggest_preset(Dcgan, "paper", ImageSpec(1, 8), 90) is None
    assert suggest_preset(load_model_class("vae"), "fast", ImageSpec(1, 8), 90) is None
    points = suggest_preset(Wgan, "fast", ImageSpec(2, 1, 8), 20_000)
    assert points == "these are points, not images: --preset points may serve better"
    pixels = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 1), dtype=np.uint8)
    messages: list[str] = []
    triptych.train("dcgan", data=pixels, runs=tmp_path, width=8, announce=messages.append, **SMALL)
    assert messages[0] == few.replace("90", "95")  # of which 5 are held out


# --- as published ---------------------------------------------------------------------------


def shapes(network: nn.Sequential) -> list[tuple[Any, ...]]:
    """Each convolution's kind, channels, kernel, stride, padding and offsets; the kinds of other layers."""
    layers: list[tuple[Any, ...]] = []
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            numbers = (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0])
            layers.append((type(layer).__name__, *numbers, layer.padding[0], layer.bias is not None))
        else:
            layers.append((type(layer).__name__, *(getattr(layer, "negative_slope", None),)))
    return layers


def test_the_paper_preset_of_dcgan_is_the_textbooks_dcgan() -> None:
    _, config, options = configure(Dcgan, "paper", {}, "mnist")
    torch.manual_seed(0)
    model = Dcgan(config, ImageSpec(1, 32))
    up, norm, relu = "ConvTranspose2d", ("BatchNorm2d", None), ("ReLU", None)
    assert shapes(model.generator) == [
        (up, 100, 256, 4, 1, 0, False), norm, relu,
        (up, 256, 128, 4, 2, 1, False), norm, relu,
        (up, 128, 64, 4, 2, 1, False), norm, relu,
        (up, 64, 1, 4, 2, 1, False), ("Tanh", None),
    ]  # fmt: skip
    leaky = ("LeakyReLU", 0.2)
    assert shapes(model.discriminator) == [
        ("Conv2d", 1, 64, 4, 2, 1, False), leaky,
        ("Conv2d", 64, 128, 4, 2, 1, False), norm, leaky,
        ("Conv2d", 128, 256, 4, 2, 1, False), norm, leaky,
        ("Conv2d", 256, 1, 4, 1, 0, False),
    ]  # the sigmoid is in the loss  # fmt: skip
    for objective in model.objectives():
        assert (
            isinstance(objective.optimizer, torch.optim.Adam)
            and objective.interval == 1
            and objective.max_grad_norm is None
        )
        (group,) = objective.optimizer.param_groups
        assert group["lr"] == 2e-4 and group["betas"] == (0.5, 0.999)
    assert options.batch == 128 and options.conditional is False
    assert config.instance_noise == 0 and config.augment.kind == "none" and config.loss == "non-saturating"


def test_the_paper_preset_of_dcgan_keeps_pytorchs_initialization() -> None:
    spec = ImageSpec(1, 32)
    torch.manual_seed(0)
    textbook = Dcgan(configure(Dcgan, "paper", {}, "mnist")[1], spec)
    torch.manual_seed(0)
    plain = nn.ConvTranspose2d(100, 256, 4, 1, 0, bias=False)  # the first layer that is made
    assert torch.equal(textbook.generator[0].weight, plain.weight)
    assert torch.equal(textbook.generator[1].weight, torch.ones(256))
    ours = Dcgan(Dcgan.Config(), spec)
    assert ours.generator[0].weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_the_paper_preset_of_wgan_suits_either_constraint() -> None:
    penalty = configure(Wgan, "paper", {}, "mnist")
    clipping = configure(Wgan, "paper", {"lipschitz": "clipping"}, "mnist")
    assert (penalty[1].lr, penalty[1].penalty_weight, penalty[1].generator_interval) == (1e-4, 10, 5)
    assert (clipping[1].lr, clipping[1].clip_value, clipping[1].generator_interval) == (5e-5, 0.01, 5)
    assert penalty[2].batch == clipping[2].batch == 64
    critic, _ = Wgan(penalty[1], ImageSpec(1, 16)).objectives()
    assert critic.optimizer.param_groups[0]["betas"] == (0.0, 0.9)
