"""The contract: these tests run over every model in models/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from components import untrained_components

from triptych.core import rng as streams
from triptych.core.errors import UsageError
from triptych.core.generative_model import GenerativeModel
from triptych.core.objectives import StepContext
from triptych.core.types import Batch, ImageSpec
from triptych.data.dataset import Split
from triptych.data.loader import batches
from triptych.inference.pipeline import Pipeline
from triptych.models.registry import load_model_class, model_names
from triptych.runs.options import Arithmetic, Options, Plan
from triptych.training.trainer import Trainer, fresh_copy, parameter_names

GRAY = ImageSpec(channels=1, size=16, classes=3)
RGB = ImageSpec(channels=3, size=32)
AnyModel = GenerativeModel[Any, Any]


def images(spec: ImageSpec, count: int = 24) -> Split:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, spec.size, spec.size, spec.channels), dtype=np.uint8)
    labels = rng.integers(0, spec.classes, count) if spec.classes else None
    return Split(pixels, labels)


def new_model(
    name: str, spec: ImageSpec = GRAY, settings: Mapping[str, Any] = MappingProxyType({})
) -> AnyModel:
    torch.manual_seed(0)
    model_class = load_model_class(name)
    return model_class(model_class.Config(**settings), spec, untrained_components(model_class, spec))


def training(
    name: str, spec: ImageSpec = GRAY, settings: Mapping[str, Any] = MappingProxyType({}), **options: Any
) -> Trainer:
    plan = Plan.trial(torch.device("cpu"), Arithmetic("fp32", False)).model_copy(update={"steps": 20})
    return Trainer(new_model(name, spec, settings), images(spec), Options(batch=8, **options), plan)


def run_for(steps: int, trained: Trainer) -> Trainer:
    stream = trained.steps()
    for _ in range(steps):
        next(stream)
    return trained


def one_context(model: AnyModel, batch: Batch) -> StepContext:
    return StepContext(0, 0, 0.5, frozenset(p.name for p in model.objectives()), batch)


@pytest.fixture(params=model_names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("spec", [GRAY, RGB], ids=["gray", "rgb"])
def test_images_have_the_shape_and_range_of_the_data(name: str, spec: ImageSpec) -> None:
    pipeline = Pipeline(run_for(1, training(name, spec)).model)
    drawn = pipeline.sample(range(3))
    assert drawn.shape == (3, spec.size, spec.size, spec.channels) and drawn.dtype == np.uint8
    frames = list(pipeline.frames([0, 1]))
    assert frames[-1].step == frames[-1].steps
    assert all(frame.noisy.shape == (2, *pipeline.model.noise_shape) for frame in frames)
    assert all(frame.image().shape == (2, spec.channels, spec.size, spec.size) for frame in frames)


def test_each_objective_updates_exactly_its_own_parameters(name: str) -> None:
    trained = run_for(5, training(name))  # layers that start at zero hold back those before them
    for objective in trained.objectives:
        trained.model.zero_grad(set_to_none=True)
        batch = next(batches(trained.split, 8, 0))
        loss, _ = objective.loss(batch, one_context(trained.model, batch))
        loss.backward(inputs=objective.parameters())
        mine = {id(p) for p in objective.parameters()}
        assert torch.isfinite(loss)
        for label, parameter in trained.model.named_parameters():
            if id(parameter) in mine:
                assert parameter.grad is not None and parameter.grad.abs().sum() > 0, label
            else:
                assert parameter.grad is None, label


def test_every_parameter_belongs_to_exactly_one_objective(name: str) -> None:
    model = new_model(name)
    owned = [id(p) for objective in model.objectives() for p in objective.parameters()]
    assert sorted(owned) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def bits(trained: Trainer) -> dict[str, torch.Tensor]:
    return {
        f"{file}/{key}": tensor.clone()
        for file, tensors in trained.state_tensors().items()
        for key, tensor in tensors.items()
    }


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels-last"])
def test_20_steps_equal_10_steps_save_load_10_steps(name: str, last: bool) -> None:
    def begin() -> Trainer:
        trained = training(name)
        plan = trained.plan.model_copy(update={"channels_last": last})
        return Trainer(fresh_seeded(name), trained.split, trained.options, plan)

    whole = bits(run_for(20, begin()))
    half = run_for(10, begin())
    torch.manual_seed(99)  # a resumed process starts from other weights
    again = Trainer(fresh_copy(half.model), half.split, half.options, half.plan)
    again.restore(10, {file: contiguous(tensors) for file, tensors in half.state_tensors().items()})
    resumed = bits(run_for(10, again))
    assert whole.keys() == resumed.keys()
    for key in whole:
        assert torch.equal(whole[key], resumed[key]), key


def test_old_checkpoints_with_numbered_optimizer_state_resume_to_the_same_bits(name: str) -> None:
    half = run_for(3, training(name))
    saved = {file: contiguous(tensors) for file, tensors in half.state_tensors().items()}
    numbers = {
        f"{objective.name}/{half.parameter_names[parameter]}": f"{objective.name}/{number}"
        for objective in half.objectives
        for number, parameter in enumerate(p for g in objective.optimizer.param_groups for p in g["params"])
    }
    saved["optimizers"] = {
        f"{numbers[path.rpartition('/')[0]]}/{path.rpartition('/')[2]}": tensor
        for path, tensor in saved["optimizers"].items()
    }
    again = Trainer(fresh_copy(half.model), half.split, half.options, half.plan)
    again.restore(3, saved)
    whole, resumed = bits(run_for(3, half)), bits(run_for(3, again))
    assert whole.keys() == resumed.keys() and any(key.startswith("optimizers/") for key in whole)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_an_optimizer_may_only_hold_parameters_of_its_model(name: str) -> None:
    trained = training(name)
    trained.objectives[0].optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
    with pytest.raises(UsageError, match="holds a parameter that is not in the model"):
        parameter_names(trained.model, trained.objectives)


def fresh_seeded(name: str) -> AnyModel:
    return new_model(name)


def contiguous(tensors: Any) -> dict[str, torch.Tensor]:
    """As safetensors gives them back."""
    return {
        key: tensor.detach().clone(memory_format=torch.contiguous_format) for key, tensor in tensors.items()
    }


def test_images_do_not_depend_on_the_sampling_batch(name: str) -> None:
    pipeline = Pipeline(run_for(3, training(name)).model)
    whole = pipeline.sample(range(5)).astype(int)
    single = np.concatenate([pipeline.sample([seed]) for seed in range(5)]).astype(int)
    assert np.abs(whole - single).max() <= 1


def test_an_image_depends_on_its_seed_and_not_on_its_row(name: str) -> None:
    pipeline = Pipeline(run_for(3, training(name)).model)
    assert np.array_equal(pipeline.sample(range(70))[::-1][:8], pipeline.sample(range(69, -1, -1))[:8])
    assert not np.array_equal(pipeline.sample([0]), pipeline.sample([1]))


def test_config_survives_json(name: str) -> None:
    model_class = load_model_class(name)
    assert (
        model_class.Config.model_validate_json(model_class.Config().model_dump_json()) == model_class.Config()
    )
    assert (
        model_class.Controls.model_validate_json(model_class.Controls().model_dump_json())
        == model_class.Controls()
    )


def test_flags_do_not_collide(name: str) -> None:
    model_class = load_model_class(name)
    assert not set(model_class.Config.model_fields) & set(Options.model_fields)
    reserved = {"seeds", "labels", "prompts", "out", "family"}
    assert not set(model_class.Controls.model_fields) & reserved


VARIANTS: dict[str, list[dict[str, Any]]] = {  # settings that log values of their own
    "autoencoder": [{"latent": {"kind": "fsq"}}, {"adversarial": 0.1, "adversarial_start": 0.0}],
    "vae": [{"prior": "vamp"}, {"likelihood": {"kind": "mixture"}}],
}


def test_every_logged_value_has_help_and_help_is_of_logged_values(name: str) -> None:
    logged: set[str] = set()
    for settings in [{}, *VARIANTS.get(name, [])]:
        trained = training(name, settings=settings)
        logged |= set(next(trained.steps()).values)
    explained = {key for key in type(trained.model).log_help if not key.endswith(("/augment", "/overfit"))}
    assert explained <= logged
    assert {key for key in logged if key.endswith("/loss")} <= explained


def test_inversion_is_closer_than_random_noise(name: str) -> None:
    pipeline = Pipeline(run_for(20, training(name)).model)
    own = pipeline.sample(range(4))
    inverted = pipeline.generate(pipeline.invert(own), labels=[0] * 4 if pipeline.model.conditional else None)
    if pipeline.model.conditional:
        own = pipeline.sample(range(4), labels=[0] * 4)
        inverted = pipeline.generate(pipeline.invert(own, labels=[0] * 4), labels=[0] * 4)
        chance = pipeline.sample(range(100, 104), labels=[0] * 4)
    else:
        chance = pipeline.sample(range(100, 104))
    error = np.square(inverted.astype(float) - own).mean()
    assert error < np.square(chance.astype(float) - own).mean()


def test_the_loss_on_one_batch_falls(name: str) -> None:
    trained = training(name)
    batch = next(batches(trained.split, 8, 0))
    for objective in trained.objectives[:1]:  # a second objective's loss depends on the first's moves
        losses = []
        for _ in range(30):
            objective.optimizer.zero_grad(set_to_none=True)
            loss, _ = objective.loss(batch, one_context(trained.model, batch))
            loss.backward(inputs=objective.parameters())
            objective.optimizer.step()
            losses.append(loss.item())
        assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_ema_modules_are_all_that_sampling_uses(name: str) -> None:
    """What is averaged and exported is enough: the rest (a critic) may be anything."""
    model = run_for(3, training(name)).model
    before = Pipeline(model).sample(range(2))
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.split(".")[0] not in model.ema_modules and tensor.is_floating_point():
                tensor.normal_()
    assert np.array_equal(before, Pipeline(model).sample(range(2)))


def test_a_likelihood_bound_depends_on_image_and_seed_alone(name: str) -> None:
    model = run_for(20, training(name)).model
    pipeline, examples = Pipeline(model), images(GRAY, 5)
    labels = examples.labels if model.conditional else None
    if not model.likelihood_bounds:
        with pytest.raises(ValueError, match="is implicit: it can draw but not say how likely an image is"):
            pipeline.bits_per_dim(examples.pixels, labels)
        return
    for bound in model.likelihood_bounds:
        whole = pipeline.bits_per_dim(examples.pixels, labels, bound, draws=3, seeds=range(5))
        assert whole.shape == (5,) and np.isfinite(whole).all()
        assert (whole > 5).all()  # even noise has 8 bits and nothing can be learned about it
        assert np.array_equal(whole, pipeline.bits_per_dim(examples.pixels, labels, bound, 3, range(5)))
        single = [
            pipeline.bits_per_dim(
                examples.pixels[i, None], None if labels is None else labels[i], bound, 3, [i]
            )
            for i in range(5)
        ]
        np.testing.assert_allclose(np.concatenate(single), whole, rtol=1e-3)
        assert not np.allclose(
            whole, pipeline.bits_per_dim(examples.pixels, labels, bound, 3, range(5, 10)), 1e-6
        )
        box = (2, 2, 14, 14)
        inner = pipeline.bits_per_dim(examples.pixels, labels, bound, draws=3, seeds=range(5), box=box)
        assert np.isfinite(inner).all() and not np.allclose(inner, whole, rtol=1e-6)


def test_the_expectation_of_a_bound_does_not_depend_on_the_number_of_draws(name: str) -> None:
    pipeline = Pipeline(run_for(5, training(name)).model)
    examples = images(GRAY, 2)
    assert examples.labels is not None
    labels = examples.labels[[0] * 60] if pipeline.model.conditional else None
    for bound in set(pipeline.model.likelihood_bounds) - {
        "iwae"
    }:  # which is another bound for each number of draws
        pixels = examples.pixels[[0] * 60]
        few, many = (pipeline.bits_per_dim(pixels, labels, bound, draws) for draws in (2, 8))
        error = np.sqrt((few.var(ddof=1) + many.var(ddof=1)) / 60)
        assert abs(few.mean() - many.mean()) < 4 * error


# --- the contract's own parts ---------------------------------------------------------------


def test_random_draws_do_not_depend_on_micro_batches_or_workers() -> None:
    split = images(GRAY)
    batch = next(batches(split, 8, 0))
    whole = StepContext(3, 5, 0.0, frozenset(), batch).randn(4)
    halves = [StepContext(3, 5, 0.0, frozenset(), batch.cut(a, a + 4)).randn(4) for a in (0, 4)]
    assert torch.equal(whole, torch.cat(halves))
    ranks = [next(batches(split, 8, 0, rank=r, world=2)) for r in (0, 1)]
    assert torch.equal(batch.images, torch.cat([b.images for b in ranks]))
    assert torch.equal(whole, torch.cat([StepContext(3, 5, 0.0, frozenset(), b).randn(4) for b in ranks]))


def test_successive_draws_of_a_step_differ() -> None:
    batch = next(batches(images(GRAY), 8, 0))
    context = StepContext(3, 5, 0.0, frozenset(), batch)
    first, second = context.randn(4), context.randn(4)
    assert not torch.equal(first, second)
    assert not torch.equal(first, StepContext(3, 6, 0.0, frozenset(), batch).randn(4))
    assert not torch.equal(first, StepContext(4, 5, 0.0, frozenset(), batch).randn(4))


def test_noise_equals_that_of_one_generator_per_seed() -> None:
    expected = torch.randn(2, 3, generator=torch.Generator("cpu").manual_seed(7))
    assert torch.equal(streams.noise([7], (2, 3))[0], expected)


def test_gradients_of_micro_batches_add_up_to_the_batchs() -> None:
    """Without batch norm, gradients in parts are the gradient of the whole, up to rounding."""
    whole = bits(run_for(1, training("diffusion")))
    parts = bits(run_for(1, training("diffusion", micro_batch=2)))
    for key, tensor in whole.items():
        if key.endswith("exp_avg"):
            assert torch.allclose(tensor, parts[key], atol=1e-6), key


def test_a_condition_is_cut_by_rows() -> None:
    from triptych.core.types import Condition

    condition = Condition(labels=torch.tensor([5, 6, 7]), captions=("a", "b", "c"))
    cut = condition.cut([2, 0, 0])
    assert cut.labels is not None and cut.labels.tolist() == [7, 5, 5]
    assert cut.captions == ("c", "a", "a") and cut.image is None
    assert replace(cut, captions=None).captions is None
