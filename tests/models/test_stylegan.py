"""StyleGAN: losses against their equations, and the effect of its controls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from triptych.core import rng as streams
from triptych.core.objectives import StepContext
from triptych.core.types import Batch, Condition, ImageSpec
from triptych.data.dataset import Split
from triptych.data.loader import batches
from triptych.inference.pipeline import Pipeline
from triptych.models.configure import model_spec
from triptych.models.stylegan import (
    Stylegan,
    StyleganConfig,
    StyleganControls,
    discriminator_loss,
    mean_probabilities,
    squared_gradient_norms,
)
from triptych.runs.options import Arithmetic, Options, Plan
from triptych.training.timing import timing_function
from triptych.training.trainer import Trainer

SPEC = ImageSpec(channels=1, size=16, classes=3)
SMALL: dict[str, Any] = {"width": 4, "max_channels": 8, "latent": 8, "style": 6, "noise_lr_scale": 1.0}


def split() -> Split:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 16, 1), dtype=np.uint8)
    return Split(pixels, rng.integers(0, 3, 16))


def new_stylegan(conditional: bool = False, **config: Any) -> Stylegan:
    torch.manual_seed(0)
    model = Stylegan(StyleganConfig(**{**SMALL, **config}), model_spec(SPEC, conditional))
    for conv in model.generator.convs:
        torch.nn.init.constant_(conv.strength, 0.3)  # as after some training
    return model


@pytest.fixture
def batch() -> Batch:
    return next(batches(split(), 8, 0))


def context(batch: Batch, step: int = 0, done: float = 0.0) -> StepContext:
    return StepContext(0, step, done, frozenset({"discriminator", "generator"}), batch)


def test_adversarial_losses_on_known_logits() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.0, 1.0])
    f = lambda t: np.log1p(np.exp(t))  # noqa: E731 - as the papers write it
    assert discriminator_loss("relativistic", real, fake).item() == pytest.approx((f(-2) + f(2)) / 2)
    logistic = discriminator_loss("logistic", real, fake).item()
    assert logistic == pytest.approx((f(-2) + f(1)) / 2 + (f(0) + f(1)) / 2)


def test_logged_probabilities_ignore_an_offset_that_the_relativistic_loss_ignores() -> None:
    real, fake = torch.tensor([2.0, 1.0]), torch.tensor([-1.0, -2.0])
    here, there = (mean_probabilities("relativistic", real + shift, fake + shift) for shift in (0.0, 9.0))
    assert all(torch.allclose(here[name], there[name]) for name in here)
    assert here["real"].item() == pytest.approx(1 - here["fake"].item())
    assert mean_probabilities("logistic", real + 9, fake)["real"] > 0.999


def test_gradient_penalties_equal_the_closed_form_on_known_discriminators() -> None:
    images = torch.randn(5, 1, 3, 3, requires_grad=True)
    weight = torch.randn(1, 3, 3)
    linear = (images * weight).flatten(1).sum(1)
    assert squared_gradient_norms(linear.sum(), images)[0].item() == pytest.approx(
        weight.square().sum().item(), rel=1e-5
    )
    scale = torch.tensor(0.7, requires_grad=True)
    quadratic = scale / 2 * images.square().flatten(1).sum(1)  # slope: scale * image
    (penalty,), size = (
        squared_gradient_norms(quadratic.sum(), images),
        images.square().flatten(1).sum(1).mean().item(),
    )
    assert penalty.item() == pytest.approx(0.49 * size, rel=1e-5)
    (again,) = torch.autograd.grad(penalty, scale)
    assert again.item() == pytest.approx(1.4 * size, rel=1e-5)


@pytest.mark.parametrize("penalties", ["r1", "r1+r2"])
def test_lazy_penalties_are_applied_at_intervals_with_a_larger_weight(batch: Batch, penalties: str) -> None:
    model = new_stylegan(gradient_penalty=penalties, gamma=0.8, penalty_interval=4, loss="logistic")
    bare = new_stylegan(gamma=0.0, loss="logistic")
    for step in range(9):
        loss, logged = model.critic_loss(batch, context(batch, step))
        plain, _ = bare.critic_loss(batch, context(batch, step))
        due = {"r1", "r2"} if penalties == "r1+r2" else {"r1"}
        assert {"r1", "r2"} & set(logged) == (due if step % 4 == 0 else set())
        extra = 0.4 * 4 * sum(logged[name].item() for name in due if name in logged)
        assert loss.item() == pytest.approx(plain.item() + extra, rel=1e-4)


def test_learning_rates_and_gamma_decay_along_half_a_cosine(batch: Batch) -> None:
    model = new_stylegan(gamma=0.8, penalty_interval=1, gamma_end=0.1, lr_end=0.25)
    bare = new_stylegan(gamma=0.0)
    for done, gamma, lr_scale in ((0.0, 0.8, 1.0), (0.5, 0.44, 0.625), (1.0, 0.08, 0.25)):
        loss, logged = model.critic_loss(batch, context(batch, done=done))
        plain, _ = bare.critic_loss(batch, context(batch, done=done))
        extra = gamma / 2 * (logged["r1"] + logged["r2"]).item()
        assert loss.item() == pytest.approx(plain.item() + extra, rel=1e-4)
        assert [objective.lr_schedule(done) for objective in model.objectives()] == pytest.approx(
            [lr_scale, lr_scale]
        )


def test_the_generators_loss_is_the_discriminators_with_sides_exchanged(batch: Batch) -> None:
    model = new_stylegan()
    now = context(batch)
    real, fake = model.logits(now, batch.images, model.fakes(now))
    assert model.generator_loss(batch, now)[0].item() == pytest.approx(
        discriminator_loss("relativistic", fake, real).item(), rel=1e-5
    )


@pytest.mark.parametrize("loss", ["relativistic", "logistic"])
def test_micro_batches_of_whole_groups_give_the_same_step(loss: str) -> None:
    def gradients(micro: int | None) -> dict[str, Tensor]:
        plan = Plan.trial(torch.device("cpu"), Arithmetic("fp32", False))
        trained = Trainer(
            new_stylegan(loss=loss, minibatch_std_group=4), split(), Options(batch=8, micro_batch=micro), plan
        )
        next(trained.steps())
        return {name: p.grad for name, p in trained.model.named_parameters() if p.grad is not None}

    whole, parts = gradients(None), gradients(4)
    for name, gradient in whole.items():
        assert torch.allclose(gradient, parts[name], atol=1e-5 + 1e-3 * gradient.abs().max().item()), name
    with pytest.raises(ValueError, match="--micro-batch that is a multiple of 4"):
        gradients(2)


def test_style_mixing_has_one_crossover(batch: Batch) -> None:
    always, never, half = (
        new_stylegan(mixing_probability=share).mixed_styles(context(batch)) for share in (1.0, 0.0, 0.5)
    )
    assert all(torch.equal(never[:, 0], never[:, layer]) for layer in range(5))
    changes = (always[:, 1:] != always[:, :-1]).any(-1).sum(1)
    assert changes.tolist() == [1] * 8  # every image changes its style at one place
    assert torch.equal(always[:, 0], never[:, 0])  # the coarsest is the first vector's
    changes = (half[:, 1:] != half[:, :-1]).any(-1).sum(1)
    assert 0 < changes.sum() < 8


def sampled(model: Stylegan, seeds: list[int], noise: Tensor, **controls: Any) -> Tensor:
    *_, last = model.generate(noise, Condition(), StyleganControls(**controls), seeds)
    return last.image()


def test_truncation_interpolates_between_the_mean_style_and_the_style() -> None:
    model = new_stylegan()
    model.generator.mapping.mean.normal_()
    noise = streams.noise(range(3), (8,))
    middle = sampled(model, [5, 5, 5], noise, truncation=0.0)
    assert torch.allclose(middle[0], middle[1], atol=1e-5) and torch.allclose(middle[0], middle[2], atol=1e-5)
    whole = sampled(model, [5, 5, 5], noise)
    assert not torch.allclose(whole[0], whole[1], atol=1e-3)
    styles = [model.styles(noise, Condition(), StyleganControls(truncation=psi)) for psi in (0, 0.5, 1)]
    assert torch.allclose(styles[1], (styles[0] + styles[2]) / 2, atol=1e-6)


def test_truncation_uses_the_mean_style_of_the_class() -> None:
    model = new_stylegan(conditional=True)
    model.generator.mapping.mean.normal_()
    labels = torch.tensor([2, 0])
    styles = model.styles(torch.randn(2, 8), Condition(labels=labels), StyleganControls(truncation=0))
    assert torch.equal(styles[:, 0], model.generator.mapping.mean[labels])


def test_noise_inputs_depend_on_seeds_and_can_be_switched_off() -> None:
    model = new_stylegan()
    noise = streams.noise([1], (8,)).expand(2, -1)
    images = sampled(model, [3, 4], noise)
    assert not torch.allclose(images[0], images[1], atol=1e-3)
    assert torch.allclose(images[1], sampled(model, [4], noise[:1])[0], atol=1e-6)
    bare = sampled(model, [3, 4], noise, detail=0.0)
    assert torch.allclose(bare[0], bare[1], atol=1e-6)


def test_detail_scales_the_noise_strength_of_every_layer() -> None:
    model, noise = new_stylegan(), streams.noise(range(2), (8,))
    twice = sampled(model, [3, 4], noise, detail=2.0)
    for conv in model.generator.convs:
        torch.nn.init.constant_(conv.strength, 0.6)
    assert torch.allclose(sampled(model, [3, 4], noise), twice, atol=1e-5)


def test_synthesizing_styles_equals_generating() -> None:
    model, noise = new_stylegan(), streams.noise(range(2), (8,))
    styles = model.styles(noise, Condition(), StyleganControls())
    assert styles.shape == (2, *model.style_shape)
    assert torch.equal(model.synthesize(styles, [0, 1]), sampled(model, [0, 1], noise))
    readers = model.style_affine_weights()
    assert len(readers) == model.style_shape[0] and all(r.shape[1] == model.style_shape[1] for r in readers)


def test_a_conditional_stylegan_trains_and_samples_by_label() -> None:
    plan = Plan.trial(torch.device("cpu"), Arithmetic("fp32", False))
    trained = Trainer(new_stylegan(conditional=True), split(), Options(batch=8), plan)
    steps = trained.steps()
    for _ in range(3):
        next(steps)
    pipeline = Pipeline(trained.model)
    one, other = (pipeline.sample([0], labels=[label]) for label in (0, 1))
    assert not np.array_equal(one, other)
    assert float(trained.model.generator.mapping.mean.abs().sum()) > 0


def test_timing_covers_whole_periods_of_lazy_penalties() -> None:
    def flops(every: int) -> int:
        measure = timing_function(
            new_stylegan(penalty_interval=every), split(), Options(batch=4, device="cpu")
        )
        return measure(Arithmetic("fp32", False), 0.0).flops_per_step

    always, half, quarter = flops(1), flops(2), flops(4)
    assert always - half == pytest.approx(2 * (half - quarter), abs=4) and half < always


def test_unsuitable_image_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="got 24; the nearest ones: --size 16 or 32"):
        Stylegan(StyleganConfig(), ImageSpec(1, 24))
