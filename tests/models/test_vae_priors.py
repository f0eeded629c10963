"""The VAE's vamp prior, the mixture fitted after training, and older checkpoints without one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import triptych
from triptych.core.errors import UsageError
from triptych.core.objectives import StepContext
from triptych.core.types import Batch, Condition, ImageSpec
from triptych.data.dataset import Split
from triptych.data.loader import batches
from triptych.inference.pipeline import Pipeline
from triptych.models.vae import Vae, VaeConfig, VaeControls
from triptych.runs.options import Arithmetic, Options, Plan
from triptych.training.trainer import Trainer

CLASSES = (0, 3)  # unconditional, conditional


def split(classes: int) -> Split:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    return Split(pixels, np.arange(60) % classes if classes else None)


def vae(classes: int = 0, **config: Any) -> Vae:
    torch.manual_seed(0)
    spec = ImageSpec(channels=1, size=8, classes=classes)
    settings = {"latent": 3, "width": 4, "kl_warmup": 0, "pseudo_inputs": 6, **config}
    return Vae(VaeConfig(**settings), spec).eval()


def batch_of(classes: int) -> Batch:
    return next(batches(split(classes), 16, 0))


def context(batch: Batch) -> StepContext:
    return StepContext(0, 3, 0.5, frozenset({"autoencoder"}), batch)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("samples", [1, 5])
def test_the_vamp_loss_is_the_bound_under_the_mixture_of_posteriors(classes: int, samples: int) -> None:
    model, batch = vae(classes, prior="vamp", importance_samples=samples), batch_of(classes)
    loss, logged = model.loss(batch, context(batch))
    label = model.one_hot(batch.labels)
    noise = context(batch).randn(samples, 3)
    mean, log_std = model.posterior(batch.images, label)
    assert model.vamp is not None
    own = torch.arange(6).view(3, 2) if classes else torch.arange(6).expand(1, 6)  # components of each class
    groups = batch.labels if batch.labels is not None else torch.zeros(16, dtype=torch.int64)
    weights = []
    for j in range(samples):
        latent = mean + log_std.exp() * noise[:, j]
        rows = []
        for z, group in zip(latent, groups.tolist(), strict=True):
            pseudo = model.vamp.pseudo_inputs[own[group]]
            one_hot = torch.eye(3)[group].expand(len(pseudo), -1) if classes else None
            means, stds = model.posterior(pseudo, one_hot)
            densities = torch.distributions.Normal(means, stds.exp()).log_prob(z).sum(1)
            rows.append(densities.logsumexp(0) - math.log(len(pseudo)))
        q = torch.distributions.Normal(mean, log_std.exp()).log_prob(latent).sum(1)
        p = -model.reconstruction_nats(batch.images, model.decoder_outputs(latent, label))
        weights.append(torch.stack(rows) - q + p)
    if samples > 1:
        expected = math.log(samples) - torch.stack(weights).logsumexp(0)
        assert loss.item() == pytest.approx(expected.mean().item(), rel=1e-4)
    else:  # the entropy of q in closed form: another draw of the same expectation
        assert loss.item() == pytest.approx(-weights[0].mean().item(), abs=3)
    assert (logged["distortion"] + logged["rate"]).item() >= loss.item() - 1e-3


@pytest.mark.parametrize("classes", CLASSES)
def test_a_vamp_vae_trains_and_its_bounds_are_finite(classes: int) -> None:
    model, batch = vae(classes, prior="vamp").train(), batch_of(classes)
    assert model.vamp is not None
    model.fit_preprocessing(iter([batch] * 20))
    known = {tuple(image.flatten().tolist()) for image in batch.images}
    assert all(tuple(image.flatten().tolist()) in known for image in model.vamp.pseudo_inputs)
    (objective,) = model.objectives()
    losses = []
    for _ in range(30):
        loss, _ = model.loss(batch, context(batch))
        objective.optimizer.zero_grad()
        loss.backward()
        assert model.vamp.pseudo_inputs.grad is not None
        objective.optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    pixels, labels = split(classes).pixels[:4], split(classes).labels
    found = [
        Pipeline(model.eval()).bits_per_dim(
            pixels, None if labels is None else labels[:4], bound, 8, range(4)
        )
        for bound in ("elbo", "iwae")
    ]
    assert np.isfinite(found).all() and (found[1] <= found[0]).all()


def test_too_few_pseudo_inputs_for_the_classes_are_refused() -> None:
    with pytest.raises(UsageError, match="--pseudo-inputs 2 are too few for 3 classes"):
        vae(3, prior="vamp", pseudo_inputs=2)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(
    ("prior", "sampler"), [("vamp", "prior"), ("normal", "mixture"), ("flow", "mixture")]
)
def test_an_inverted_image_is_decoded_from_its_posterior_mean(classes: int, prior: str, sampler: str) -> None:
    model, batch = vae(classes, prior=prior), batch_of(classes)
    model.fit_after_training(iter([batch_of(classes)]))
    controls, condition = VaeControls(sampler=sampler), Condition(labels=batch.labels)  # type: ignore[arg-type]
    with torch.no_grad():
        noise = model.invert(batch.images, condition, controls, range(16))
        assert noise.shape == (16, 3)
        (step,) = model.generate(noise, condition, controls, range(16))
        label = model.one_hot(batch.labels)
        expected = model.decode(model.posterior(batch.images, label)[0], label)
        assert torch.allclose(step.image(), expected, atol=1e-3)


def test_the_fitted_mixture_is_of_the_encoded_images() -> None:
    model = vae(prior="normal")
    model.encoder[-1].bias.data += torch.tensor([9.0, -9.0, 0.0, -3.0, -3.0, -3.0])  # type: ignore[union-attr, operator]
    with pytest.raises(UsageError, match="--sampler mixture needs a mixture"):
        Pipeline(model).sample([0], sampler="mixture")
    model.fit_after_training(iter([batch_of(0)] * 4))
    drawn = model.mixture.fitted().from_noise(torch.randn(400, 3))
    mean = model.posterior(batch_of(0).images, None)[0].mean(0)
    assert torch.allclose(drawn.mean(0), mean, atol=0.3)
    assert not np.array_equal(Pipeline(model).sample([0], sampler="mixture"), Pipeline(model).sample([0]))


def trainer() -> Trainer:
    plan = Plan.trial(torch.device("cpu"), Arithmetic("fp32", False)).model_copy(update={"steps": 20})
    return Trainer(vae(), split(0), Options(batch=8), plan)


def test_a_checkpoint_without_a_mixture_resumes() -> None:
    whole = trainer()
    steps = whole.steps()
    next(steps)
    saved = {
        file: {name: tensor.clone() for name, tensor in tensors.items() if not name.startswith("mixture.")}
        for file, tensors in whole.state_tensors().items()
    }
    assert len(saved["ema"]) == len(whole.ema.tensors) - 3
    again = trainer()
    again.restore(1, saved)
    next(again.steps())
    next(steps)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    with pytest.raises(RuntimeError, match="encoder"):
        again.model.load_state_dict({k: v for k, v in saved["weights"].items() if "encoder" not in k})


def test_a_training_fits_the_mixture_and_keeps_it(tmp_path: Path) -> None:
    run = triptych.train("vae", data="digits", steps=3, batch=16, width=4, runs=tmp_path, device="cpu")
    model = triptych.load(run.path)
    assert len(model.sample(range(2), sampler="mixture")) == 2
    weights = model.model.state_dict()["mixture.weights"]
    assert torch.allclose(weights.sum(1), torch.ones(10), atol=1e-4)
