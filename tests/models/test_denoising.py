"""Diffusion and flow matching: losses, guidance, bounds, settings, the paper's network, old runs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import triptych
from triptych.core.errors import UsageError
from triptych.core.lr_schedules import warmup_constant, warmup_cosine
from triptych.core.objectives import StepContext
from triptych.core.types import Condition, ImageSpec, LikelihoodQuery
from triptych.data.dataset import Split
from triptych.data.load import load
from triptych.data.loader import batches
from triptych.diffusion.samplers import SOLVERS
from triptych.inference.pipeline import Pipeline
from triptych.models._denoising import DenoisingModel
from triptych.models.configure import configure
from triptych.models.diffusion import Diffusion, DiffusionConfig
from triptych.models.flow_matching import FlowMatching, FlowMatchingConfig
from triptych.nets.unet import PointNet
from triptych.training.runner import resume

SPEC = ImageSpec(channels=1, size=32, classes=10)
SMALL = ImageSpec(channels=1, size=8)
MODELS = (Diffusion, FlowMatching)
AnyDenoising = DenoisingModel[Any]


@pytest.fixture
def batch() -> Any:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 1), dtype=np.uint8)
    return next(batches(Split(pixels, np.arange(8)), 8, 0))


def context(batch: Any) -> StepContext:
    return StepContext(0, 3, 0.5, frozenset({"denoiser"}), batch)


def perturbed(model_class: type[AnyDenoising], spec: ImageSpec, **config: Any) -> AnyDenoising:
    """A model whose output is not 0."""
    torch.manual_seed(0)
    model = model_class(model_class.Config(**{"channels": (8, 16), **config}), spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


# --- what is learned --------------------------------------------------------------------------


@pytest.mark.parametrize("model_class", MODELS)
def test_the_first_loss_is_the_mean_square_of_the_target(model_class: Any, batch: Any) -> None:
    """The network's output starts at zero."""
    for target in ("noise", "image"):
        loss, _ = model_class(model_class.Config(target=target), SPEC).loss(batch, context(batch))
        expected = 1.0 if target == "noise" else batch.images.square().mean().item()
        assert loss.item() == pytest.approx(expected, rel=0.05)


def test_flow_matching_minimizes_the_distance_to_noise_minus_image(batch: Any) -> None:
    model = FlowMatching(FlowMatchingConfig(), SPEC)
    draws = context(batch)
    draws.rand()
    noise = draws.randn(1, 32, 32)
    expected = (noise - batch.images).square().mean().item()
    assert model.loss(batch, context(batch))[0].item() == pytest.approx(expected, rel=2e-3)  # the last bias
    assert torch.equal(model.schedule.alpha, 1 - torch.linspace(0, 1, 1001, dtype=torch.float64))


def test_diffusion_is_variance_preserving_and_predicts_the_noise_by_default() -> None:
    for name in ("linear", "cosine"):
        schedule = Diffusion(DiffusionConfig(schedule=name), SPEC).schedule  # type: ignore[arg-type]
        assert torch.allclose(schedule.alpha**2 + schedule.sigma**2, torch.ones(1001, dtype=torch.float64))
    config = DiffusionConfig()
    assert (config.schedule, config.target, config.timesteps) == ("linear", "noise", 1000)
    with pytest.raises(ValueError, match="schedule"):
        DiffusionConfig(schedule="rectified")  # type: ignore[arg-type]


def test_times_are_stratified_over_the_batch(batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[torch.Tensor] = []
    monkeypatch.setattr(
        "triptych.models._denoising.add_noise", lambda schedule, x0, eps, t: times.append(t) or x0
    )
    Diffusion(DiffusionConfig(), SPEC).loss(batch, context(batch))
    (t,) = times
    assert sorted(((t - 1) * 8 // 1000).tolist()) == list(range(8))
    assert t.min() >= 1 and t.max() <= 1000


@pytest.mark.parametrize("model_class", MODELS)
def test_labels_change_the_prediction_and_guidance_uses_the_unlabeled_one(model_class: Any) -> None:
    model = perturbed(model_class, SPEC)
    controls = model.Controls(clip=False)
    x, t = torch.randn(2, 1, 32, 32), torch.tensor([500, 500])

    def predict(label: int, guidance: float) -> torch.Tensor:
        guided = controls.model_copy(update={"guidance": guidance})
        return model.denoiser(torch.full((2,), label), guided)(x, t).x0

    with torch.no_grad():
        assert not torch.allclose(predict(1, 1.0), predict(2, 1.0))
        assert torch.allclose(predict(1, 0.0), predict(10, 1.0), atol=1e-5)


def test_dropout_is_a_function_of_the_step(batch: Any) -> None:
    model = perturbed(Diffusion, SPEC, network="ddpm", channels=(8, 8), dropout=0.5).train()
    rng_state = torch.get_rng_state()
    first = model.loss(batch, context(batch))[0].item()
    assert torch.equal(torch.get_rng_state(), rng_state)
    torch.rand(5)  # a resumed process stands elsewhere in the global stream
    assert model.loss(batch, context(batch))[0].item() == first
    whole = model.eval().loss(batch, context(batch))[0].item()
    assert whole != first


def test_learning_rate_schedules() -> None:
    assert warmup_constant(0.01) == pytest.approx(0.505) and warmup_constant(0.5) == 1
    assert warmup_cosine(0.5) == pytest.approx(0.5) and warmup_cosine(1.0) == pytest.approx(0, abs=1e-12)
    for name, expected in (("cosine", warmup_cosine), ("constant", warmup_constant)):
        config = DiffusionConfig(lr_schedule=name, beta2=0.9, lr=5e-4)  # type: ignore[arg-type]
        (objective,) = Diffusion(config, SMALL).objectives()
        group = objective.optimizer.param_groups[0]
        assert objective.lr_schedule is expected and (group["lr"], group["betas"]) == (5e-4, (0.9, 0.9))


# --- bounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["linear", "cosine", "rectified"])
@pytest.mark.parametrize("target", ["noise", "velocity", "image"])
def test_every_path_and_target_has_a_bound(path: str, target: str) -> None:
    config = {"target": target, "timesteps": 50}
    if path == "rectified":
        model = perturbed(FlowMatching, SMALL, **config)
    else:
        model = perturbed(Diffusion, SMALL, schedule=path, **config)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    bits = Pipeline(model).bits_per_dim(pixels, draws=49)
    assert np.isfinite(bits).all() and (bits > 7).all()


@pytest.mark.parametrize("model_class", MODELS)
def test_labels_reach_the_bound(model_class: Any) -> None:
    model = perturbed(model_class, replace(SMALL, classes=3))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)
    zeros, ones, unlabeled = (Pipeline(model).bits_per_dim(pixels, labels) for labels in (0, 1, None))
    assert not np.allclose(zeros, ones, rtol=1e-5) and not np.allclose(zeros, unlabeled, rtol=1e-5)
    no_label = Condition(labels=torch.tensor([3, 3]))
    expected = model.bits_per_dim(LikelihoodQuery(torch.from_numpy(pixels), no_label, "vlb", 16, [0, 1]))
    np.testing.assert_allclose(unlabeled, expected.detach().numpy(), rtol=1e-6)


# --- settings ---------------------------------------------------------------------------------


def test_the_paper_diffusion_is_ho_et_als() -> None:
    _, config, options = configure(Diffusion, "paper", {}, "cifar10")
    assert (config.schedule, config.target, config.timesteps) == ("linear", "noise", 1000)
    assert (config.lr, config.beta2, config.lr_schedule, options.batch) == (2e-4, 0.999, "constant", 128)
    model = Diffusion(config, ImageSpec(channels=3, size=32))
    assert sum(p.numel() for p in model.parameters()) == 35_746_307  # 35.7 million in the paper
    assert max(p.numel() for p in model.unet.down[1].attention[0].parameters()) == 256**2  # type: ignore[index, union-attr]
    assert [len(stage.attention) for stage in model.unet.down] == [0, 2, 0, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize("model_class", MODELS)
def test_points_are_denoised_by_a_fully_connected_network(model_class: Any) -> None:
    spec = load("points:ring").spec
    model = perturbed(model_class, spec)
    assert isinstance(model.unet, PointNet)
    x, t = torch.randn(5, *model.noise_shape), torch.full((5,), 0.5)
    assert model.unet(x, t, torch.zeros(5, dtype=torch.int64)).shape == x.shape


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"network": "ddpm", "patch_size": 2}, "--network ddpm works on single pixels"),
        ({"attention": (4,)}, "need --network ddpm"),
        ({"dropout": 0.1}, "need --network ddpm"),
        ({"channels": (8, 12)}, "multiples of 8, got 8 12"),
        ({"channels": ()}, "multiples of 8, got none"),
        ({"channels": (8, 8, 8, 8)}, "an image of 8 px cannot be cut into patches of 2 px and then halved 3"),
    ],
)
def test_settings_that_do_not_suit_each_other_are_refused(config: dict[str, Any], message: str) -> None:
    for model_class in MODELS:
        with pytest.raises(UsageError, match=message):
            model_class(model_class.Config(**config), SMALL)


@pytest.mark.parametrize("model_class", MODELS)
def test_every_sampler_is_a_solver_of_every_model(model_class: Any) -> None:
    model = Pipeline(perturbed(model_class, SMALL))
    for name in SOLVERS:
        assert model.sample([0], solver=name, steps=3).shape == (1, 8, 8, 1)
    with pytest.raises(UsageError, match=r"unknown solver\. Did you mean heun\? There are: ddpm"):
        model.sample([0], solver="heum")


# --- runs of older versions -------------------------------------------------------------------

OLD_RUN = Path(__file__).parent / "old_runs" / "diffusion-straight-56b9d2c"


def test_an_old_diffusion_on_the_straight_path_is_read_as_flow_matching(tmp_path: Path) -> None:
    """Commit 56b9d2c trained it for 4 steps and drew samples.npy; what is stored of it is its step 2."""
    path = tmp_path / "0001-diffusion-digits"
    shutil.copytree(OLD_RUN, path)
    (path / "samples").mkdir()
    model = triptych.load(path).model
    assert isinstance(model, FlowMatching)
    config = model.config
    assert (config.patch_size, config.label_dropout, config.lr, config.blocks_per_level) == (2, 0.1, 1e-3, 1)
    assert triptych.evaluate(triptych.load(path), samples=20, features="random-conv")
    assert resume(path).log()[-1]["step"] == 4
    samples = triptych.load(path).sample(range(4), labels=[0, 1, 2, 3]).astype(int)
    assert np.abs(samples - np.load(OLD_RUN / "samples.npy")).max() <= 1
