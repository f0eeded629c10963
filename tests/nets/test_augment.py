"""Augmentation: known transforms, and an adaptive probability that follows the overfitting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from triptych.core.objectives import StepContext
from triptych.core.types import ImageSpec
from triptych.data.dataset import Split
from triptych.data.loader import batches
from triptych.models.registry import load_model_class, model_names
from triptych.nets.augment import (
    Adaptive,
    Augment,
    DiffAugment,
    NoAugment,
    adaptive_augment,
    diff_augment,
    interpolation_matrix,
)
from triptych.runs.options import Arithmetic, Options, Plan
from triptych.training.trainer import Trainer, fresh_copy

SIZE = 16
RGB = ImageSpec(channels=3, size=SIZE)
ALL: tuple[Any, ...] = ("flip", "rotation", "translation", "scaling", "color")
POLICIES = [DiffAugment(), Adaptive(policy=ALL, initial_p=0.7)]


def some(count: int = 8, channels: int = 3) -> Tensor:
    pixels = np.random.default_rng(0).uniform(-1, 1, (count, channels, SIZE, SIZE))
    return torch.from_numpy(pixels).float()


def context_of(count: int = 8, step: int = 0, parts: int = 1) -> list[StepContext]:
    pixels = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    whole = next(batches(Split(pixels), count, 0))
    share = count // parts
    cuts = [whole.cut(start, start + share) for start in range(0, count, share)]
    return [StepContext(0, step, 0.0, frozenset(), batch) for batch in cuts]


class FixedDraws:
    """A context whose draws are context: the same numbers for each image."""

    def __init__(self, images: Tensor, *draws: Sequence[float]) -> None:
        self.draws = [torch.tensor([draw] * len(images)) for draw in draws]

    def rand(self, count: int) -> Tensor:
        drawn = self.draws.pop(0)
        assert drawn.shape[1] == count
        return drawn

    randn = rand


def adapted(policy: str, even: Sequence[float], normal: Sequence[float] = (0.0,) * 4) -> Tensor:
    """The eight images with one change, for certain."""
    context: Any = FixedDraws(some(), [0.5] * 7, even, normal)
    return adaptive_augment(some(), (policy,), torch.tensor(1.0), context)


def diffed(policy: str, *draws: float, images: Tensor | None = None) -> Tensor:
    images = some() if images is None else images
    context: Any = FixedDraws(images, draws)
    return diff_augment(images, (policy,), context)


# --- the transforms --------------------------------------------------------------------------


@pytest.mark.parametrize("quarters", range(4))
def test_a_quarter_turn_is_exact(quarters: int) -> None:
    augmented = adapted("rotation", [0, (quarters + 0.5) / 4, 0, 0])
    assert torch.equal(augmented, torch.rot90(some(), quarters, (2, 3)))


def test_a_flip_changes_sides() -> None:
    assert torch.equal(adapted("flip", [0.4, 0, 0, 0]), some().flip(3))
    assert torch.equal(adapted("flip", [0.6, 0, 0, 0]), some())


def test_an_adaptive_shift_is_an_integer_with_reflection_at_the_border() -> None:
    augmented = adapted("translation", [0, 0, 0.99, 0.3])  # of -2..2: two down, one to the left
    padded = np.pad(some().numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="symmetric")
    assert np.array_equal(augmented.numpy(), padded[:, :, 0:SIZE, 3 : 3 + SIZE])


@pytest.mark.parametrize("n", [-3.0, -1.0, 1.0, 3.0])
def test_scaling_is_two_to_the_power_of_a_fifth_of_a_normal(n: float) -> None:
    ramp = torch.arange(SIZE) - (SIZE - 1) / 2
    context: Any = FixedDraws(some(1), [0.0] * 7, [0.0] * 4, [n, 0, 0, 0])
    images = ramp.expand(1, 1, SIZE, SIZE)
    augmented = adaptive_augment(images, ("scaling",), torch.tensor(1.0), context)
    inner, slack = slice(5, 11), 1e-5 if n > 0 else 0.1  # a wider kernel keeps a slope only nearly
    assert torch.allclose(augmented[..., inner], (images / 2 ** (0.2 * n))[..., inner], atol=slack)


def test_shrinking_is_antialiased_and_keeps_constant_images() -> None:
    board = (torch.arange(SIZE) % 2 * 2.0 - 1).expand(1, 1, SIZE, SIZE)
    plain = torch.full((1, 1, SIZE, SIZE), 0.3)
    for images, least, most in ((board, 0.0, 0.15), (plain, 0.3 - 1e-6, 0.3 + 1e-6)):
        context: Any = FixedDraws(images, [0.0] * 7, [0.0] * 4, [-3.0, 0, 0, 0])
        augmented = adaptive_augment(images, ("scaling",), torch.tensor(1.0), context)[..., 4:12].abs()
        assert least <= augmented.min() and augmented.max() <= most


def test_adaptive_colors() -> None:
    x = some()
    shaded = adapted("color", [0] * 4, [0, 0.5, 0, 0])
    assert torch.allclose(shaded, x + 0.1)
    contrasted = adapted("color", [0] * 4, [0, 0, 2.0, 0])
    assert torch.allclose(contrasted, 2 * x)
    gray = x.mean(1, keepdim=True)
    assert torch.allclose(adapted("color", [0] * 4, [0, 0, 0, 1.0]), gray + 2 * (x - gray), atol=1e-6)


def test_diff_colors() -> None:
    x = some()
    assert torch.allclose(diffed("color", 0.9, 0.5, 0.5, 0, 0, 0, 0), x + 0.4, atol=1e-6)
    gray, middle = x.mean(1, keepdim=True), x.mean((1, 2, 3), keepdim=True)
    assert torch.allclose(diffed("color", 0.5, 0, 0.5, 0, 0, 0, 0), gray.expand_as(x), atol=1e-6)
    assert torch.allclose(diffed("color", 0.5, 0.5, 1.0, 0, 0, 0, 0), middle + 1.5 * (x - middle), atol=1e-6)


def test_saturation_leaves_gray_images_unchanged() -> None:
    x = some(channels=1)
    assert torch.equal(diffed("color", 0.5, 0.9, 0.5, 0, 0, 0, 0, images=x), x)


def test_a_diffaugment_shift_fills_with_zeros() -> None:
    augmented = diffed("translation", 0, 0, 0, 0.0, 0.7, 0, 0)  # two up, one to the right
    wanted = torch.zeros_like(some())
    wanted[:, :, : SIZE - 2, 1:] = some()[:, :, 2:, : SIZE - 1]
    assert torch.equal(augmented, wanted)


def test_cutout_removes_a_square_of_half_the_side() -> None:
    ones, half = torch.ones(1, 1, SIZE, SIZE), SIZE // 2
    cut = 1 - diffed("cutout", 0, 0, 0, 0, 0, 0.5, 0.5, images=ones)
    assert cut.sum() == half**2 and bool((cut[..., 4:12, 4:12] == 1).all())
    corner = 1 - diffed("cutout", 0, 0, 0, 0, 0, 0.0, 0.999, images=ones)
    assert corner.sum() == (half // 2) * (half // 2) and corner[0, 0, 0, -1] == 1


def test_rows_of_a_reflecting_matrix_sum_to_one() -> None:
    sources = torch.linspace(-9, SIZE + 8, SIZE).expand(2, SIZE)
    augmented = interpolation_matrix(sources, torch.tensor([1.0, 1.7]), reflect=True)
    assert bool((augmented >= 0).all()) and torch.allclose(augmented.sum(2), torch.ones(2, SIZE))


def test_each_transform_acts_on_a_share_p_of_the_images() -> None:
    count, deviations = 2000, []
    images = some(1).expand(count, -1, -1, -1)
    for policy, chance in (("translation", 24 / 25), ("rotation", 3 / 4), ("flip", 1 / 2), ("scaling", 1.0)):
        augmented = adaptive_augment(images, (policy,), torch.tensor(0.3), context_of(count)[0])
        share = float((augmented != images).flatten(1).any(1).float().mean())
        deviations.append(abs(share - 0.3 * chance))
    assert max(deviations) < 4 * np.sqrt(0.3 * 0.7 / count)


# --- the contract ----------------------------------------------------------------------------


def test_no_augmentation_is_the_identity_without_state() -> None:
    module, (context,) = Augment(NoAugment(), RGB), context_of()
    x = some()
    module.observe(x)
    assert module(x, context) is x and module.log_values() == {} and not module.state_dict()
    assert torch.equal(context.rand(3), context_of()[0].rand(3))  # no draw was spent


def test_probability_0_is_the_exact_identity() -> None:
    assert torch.equal(Augment(Adaptive(policy=ALL), RGB)(some(), context_of()[0]), some())


@pytest.mark.parametrize("config", POLICIES, ids=lambda c: c.kind)
@pytest.mark.parametrize("channels", [1, 3])
def test_random_draws_are_per_image(config: Any, channels: int) -> None:
    module, x = Augment(config, RGB), some(channels=channels)
    whole = module(x, context_of()[0])
    assert whole.shape == x.shape and whole.dtype == torch.float32 and not torch.equal(whole, x)
    halves = [module(x[4 * k : 4 * k + 4], context) for k, context in enumerate(context_of(parts=2))]
    assert torch.equal(torch.cat(halves), whole)
    context = context_of()[0]
    assert not torch.equal(module(x, context), module(x, context))  # real images and fakes: two draws
    assert not torch.equal(module(x, context_of(step=1)[0]), whole)


@pytest.mark.parametrize("config", POLICIES, ids=lambda c: c.kind)
def test_augmentation_can_be_differentiated_twice(config: Any) -> None:
    """With D(x) = w |T(x)|^2 the penalty |dD/dx|^2 is w^2 times a number, and its slope in w 2 w times it."""
    module, weight = Augment(config, RGB), torch.tensor(1.5, requires_grad=True)
    x = some().requires_grad_()
    output = weight * module(x, context_of()[0]).square().sum()
    (slope,) = torch.autograd.grad(output, x, create_graph=True)
    penalty = slope.square().sum()
    (of_weight, of_pixels) = torch.autograd.grad(penalty, (weight, x))
    assert of_weight.item() == pytest.approx(2 * penalty.item() / 1.5, rel=1e-4)
    assert bool(of_pixels.isfinite().all()) and float(of_pixels.abs().sum()) > 0


def test_autocast_does_not_round_pixels() -> None:
    module, x = Augment(DiffAugment(), RGB), some()
    with torch.autocast("cpu", torch.bfloat16):
        augmented = module(x, context_of()[0])
    assert torch.equal(augmented, module(x, context_of()[0]))


@pytest.mark.parametrize("config", POLICIES, ids=lambda c: c.kind)
def test_too_small_images_are_refused(config: Any) -> None:
    with pytest.raises(ValueError, match="8 pixels or more, got 1: leave out --augment"):
        Augment(config, ImageSpec(channels=2, size=1))


# --- the adaptive chance ---------------------------------------------------------------------


def probabilities(module: Augment, logits: Sequence[float], steps: int, parts: int = 1) -> list[float]:
    """The probability in each step, when all steps have the same eight logits of real images."""
    met = []
    for step in range(steps):
        now = set()
        for context in context_of(step=step, parts=parts):
            module(some(8 // parts), context)
            now.add(module.log_values()["augment"].item())
            module.observe(torch.tensor(logits)[context.batch.rows])
        module(some(), context_of(step=step)[0])  # the generator's context
        now.add(module.log_values()["augment"].item())
        assert len(now) == 1
        met.append(now.pop())
    return met


def test_the_probability_rises_from_0_to_1_over_ramp_images() -> None:
    module = Augment(Adaptive(ramp_images=800, max_p=1.0, interval=4), RGB)
    met = probabilities(module, [1.0] * 8, 105)
    assert met[:5] == [0, 0, 0, 0, pytest.approx(0.04)] and met[4:8] == [met[4]] * 4
    assert met[96] == pytest.approx(0.96, abs=1e-5) and met[100] == pytest.approx(1.0, abs=1e-5)
    assert met[104] == 1.0
    assert module.log_values()["overfit"].item() == 1.0


def test_below_the_target_the_probability_falls_and_is_clipped() -> None:
    wary = Adaptive(ramp_images=100, initial_p=0.5, interval=1, target=0.6)
    met = probabilities(Augment(wary, RGB), [1, 1, 1, 1, 1, 1, -1, -1], 9)  # r = 0.5
    assert met == pytest.approx([max(0.0, 0.5 - 0.08 * k) for k in range(9)], abs=1e-6)
    met = probabilities(Augment(wary, RGB), [1.0] * 7 + [-0.1], 9)  # r = 0.75
    assert met == pytest.approx([min(0.8, 0.5 + 0.08 * k) for k in range(9)], abs=1e-6)
    assert Augment(Adaptive(initial_p=1.0), RGB).log_values()["augment"].item() == pytest.approx(0.8)


def test_micro_batches_share_one_probability_and_adjust_it_once() -> None:
    config = Adaptive(ramp_images=100, interval=2, target=0.6)
    logits = [1, 1, 1, 1, 1, 1, 1, -1]
    whole, parts = (Augment(config, RGB) for _ in range(2))
    assert probabilities(whole, logits, 9) == probabilities(parts, logits, 9, parts=4)
    for name, kept in whole.state_dict().items():
        assert torch.equal(kept, parts.state_dict()[name]), name


def test_scores_without_a_zero_are_centered() -> None:
    module = Augment(Adaptive(interval=1), RGB)
    module.observe(torch.tensor([9.0, 11.0, 7.0, 13.0]), fake=torch.tensor([6.0, 10.0]))  # middle: 9
    assert module.signs.item() == 0 + 1 - 1 + 1 and module.judged.item() == 4


def test_evaluation_mode_adjusts_nothing() -> None:
    module = Augment(Adaptive(interval=1), RGB)
    before = {name: kept.clone() for name, kept in module.state_dict().items()}
    module.eval()
    module.observe(torch.ones(8))
    module(some(), context_of(step=3)[0])
    assert all(torch.equal(kept, before[name]) for name, kept in module.state_dict().items())


# --- in the models -------------------------------------------------------------------------

SMALL: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 8, "lr": 2e-3},
    "wgan": {"width": 8, "lr": 2e-3, "generator_interval": 2},
    "stylegan": {"width": 4, "max_channels": 8, "latent": 8, "style": 8, "penalty_interval": 2},
}


@pytest.fixture(params=[name for name in model_names() if load_model_class(name).adversarial])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def new_model(name: str, config: Any, channels: int = 1) -> Any:
    torch.manual_seed(0)
    model_class = load_model_class(name)
    return model_class(
        model_class.Config(augment=config, **SMALL[name]), ImageSpec(channels=channels, size=SIZE)
    )


def begin(name: str) -> Trainer:
    pixels = np.random.default_rng(0).integers(0, 256, (12, SIZE, SIZE, 1), dtype=np.uint8)
    model = new_model(name, Adaptive(ramp_images=200, interval=2, target=0.1, initial_p=0.4))
    plan = Plan.trial(torch.device("cpu"), Arithmetic("fp32", False)).model_copy(update={"steps": 20})
    return Trainer(model, Split(pixels), Options(batch=8), plan)


def tensors_of(training: Trainer) -> dict[str, Tensor]:
    files = training.state_tensors()
    return {f"{f}/{key}": kept.clone() for f, tensors in files.items() for key, kept in tensors.items()}


def test_an_adaptive_run_resumes_to_the_same_bits(name: str) -> None:
    def walk(training: Trainer, steps: int) -> list[dict[str, Tensor]]:
        stream = training.steps()
        return [next(stream).values for _ in range(steps)]

    straight, half = begin(name), begin(name)
    chances = walk(straight, 15)
    (key,) = [key for key in chances[0] if key.endswith("/augment")]
    assert len({float(values[key]) for values in chances}) > 2  # the chance moved
    assert all(bool(value.isfinite().all()) for values in chances for value in values.values())
    walk(half, 9)  # between two moves: signs are under way
    again = Trainer(fresh_copy(half.model), half.split, half.options, half.plan)
    again.restore(
        9, {f: {k: t.clone() for k, t in tensors.items()} for f, tensors in half.state_tensors().items()}
    )
    walk(again, 6)
    resumed = tensors_of(again)
    for label, kept in tensors_of(straight).items():
        assert torch.equal(kept, resumed[label]), label
    assert {"weights/augment.p", "weights/augment.signs"} <= resumed.keys()


def test_both_objectives_see_augmented_images(name: str) -> None:
    """Whatever the models' losses, the discriminator is shown the module's images and none besides."""
    model = new_model(name, DiffAugment(), channels=3)
    critic = getattr(model, type(model).adversarial.critic)
    (context,) = context_of()
    context.active = frozenset({type(model).adversarial.critic, "generator"})
    inputs: list[Tensor] = []
    given: list[Tensor] = []
    model.augment.register_forward_hook(lambda *context: given.append(context[-1].detach()))
    critic.register_forward_hook(lambda module, context, result: inputs.append(context[0].detach()))
    for objective in model.objectives():
        objective.loss(context.batch, context)
        whole = [x for k, x in enumerate(inputs) if name != "wgan" or k != 2]  # its penalty looks between
        sides = [side for x in whole for side in x.split(len(context.batch.images))]  # StyleGAN shows both
        assert len(given) >= 1 and all(any(torch.equal(x, y) for y in given) for x in sides)
        assert not any(torch.equal(x, context.batch.images) for x in sides)


def test_the_generators_gradient_passes_through_the_augmentation(name: str) -> None:
    model = new_model(name, DiffAugment(policy=("cutout",)), channels=3)
    (context,) = context_of()
    context.active = frozenset({type(model).adversarial.critic, "generator"})
    loss, _ = model.objectives()[1].loss(context.batch, context)
    (slope,) = torch.autograd.grad(loss, model.fakes(context))
    assert bool((slope == 0).all(1).flatten(1).any(1).all()) and float(slope.abs().sum()) > 0  # holes


def test_gradients_at_real_images_pass_through_the_augmentation() -> None:
    """R1 is the slope at the image itself, so cutting out half of one leaves a slope of 0 there."""
    model = new_model("stylegan", DiffAugment(policy=("cutout",)), channels=3)
    (context,) = context_of()
    model.augment.eval()
    images = some().requires_grad_()
    (slope,) = torch.autograd.grad(model.logits(context, images)[0].sum(), images)
    assert bool((slope == 0).all(1).flatten(1).any(1).all()) and float(slope.abs().sum()) > 0
