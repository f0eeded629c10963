"""The VAE's pixel likelihoods, its importance-weighted objective, free bits and what it logs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from triptych import cli
from triptych.core.errors import UsageError
from triptych.core.images import to_float
from triptych.core.objectives import StepContext
from triptych.core.types import Batch, ImageSpec
from triptych.data.dataset import Split
from triptych.data.loader import batches
from triptych.inference.pipeline import Pipeline
from triptych.models._vae_logs import kl_by_dimension, latent_use
from triptych.models.vae import Vae, VaeConfig
from triptych.nets.likelihoods import (
    BernoulliLikelihood,
    GaussianLikelihood,
    LogisticLikelihood,
    LogisticMixture,
    MixtureLikelihood,
    binarize,
    likelihood,
    logistic_log_mass,
)

SPEC = ImageSpec(channels=1, size=8)
LIKELIHOOD_NAMES = ("gaussian", "logistic", "bernoulli", "mixture")
LIKELIHOODS = {
    settings.kind: likelihood(settings, channels=1)
    for settings in (GaussianLikelihood(), LogisticLikelihood(), BernoulliLikelihood(), MixtureLikelihood())
}


@pytest.fixture
def batch() -> Batch:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
    return next(batches(Split(pixels, None), 16, 0))


def vae(**config: Any) -> Vae:
    torch.manual_seed(0)
    return Vae(VaeConfig(**{"latent": 3, "width": 4, "kl_warmup": 0, **config}), SPEC).eval()


def context(batch: Batch) -> StepContext:
    return StepContext(0, 3, 0.5, frozenset({"autoencoder"}), batch)


# --- likelihoods ------------------------------------------------------------------------------


def test_probabilities_of_all_levels_sum_to_one() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    for name in ("gaussian", "logistic"):
        for mean, scale in ((0.3, 0.05), (-1.0, 0.5), (0.999, 1e-3)):
            outputs, log_scale = torch.full((256, 1, 1, 1), mean), torch.tensor(math.log(scale))
            total = LIKELIHOODS[name].log_prob(pixels, outputs, log_scale).exp().sum().item()
            assert total == pytest.approx(1, abs=1e-6), (name, mean, scale)


def test_logistic_mass_is_the_difference_of_its_distribution_function() -> None:
    pixels = torch.tensor([1, 100, 254], dtype=torch.uint8).view(3, 1, 1, 1)
    x, scale = to_float(pixels).double(), 0.07
    upper, lower = (torch.sigmoid((x + end / 255 - 0.2) / scale) for end in (1, -1))
    outputs = torch.full((3, 1, 1, 1), 0.2, dtype=torch.float64)
    log_mass = LIKELIHOODS["logistic"].log_prob(pixels, outputs, torch.tensor(math.log(scale)).double())
    assert torch.allclose(log_mass, (upper - lower).log(), atol=1e-9)
    nats = LIKELIHOODS["logistic"].nats(to_float(pixels), outputs.float(), torch.tensor(math.log(scale)))
    assert torch.allclose(nats.double(), -log_mass.flatten(1).sum(1), rtol=1e-3)


def test_bernoulli_nats_are_the_binary_cross_entropy() -> None:
    logits, uniform = torch.randn(5, 1, 4, 4), torch.rand(5, 1, 4, 4)
    images = binarize(torch.zeros(5, 1, 4, 4), uniform)
    expected = -torch.distributions.Bernoulli(logits=logits).log_prob(0.5 * (images + 1)).flatten(1).sum(1)
    assert torch.allclose(LIKELIHOODS["bernoulli"].nats(images, logits, None), expected, rtol=1e-5)
    assert torch.allclose(0.5 * (LIKELIHOODS["bernoulli"].mean(logits) + 1), logits.sigmoid(), atol=1e-6)


def test_binarized_images_have_the_gray_image_as_mean() -> None:
    uniform = torch.rand(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    for gray in (-1.0, -0.4, 1.0):
        images = binarize(torch.full((20_000, 1, 1, 1), gray), uniform)
        assert set(images.flatten().tolist()) <= {-1.0, 1.0}
        assert images.mean().item() == pytest.approx(gray, abs=0.03)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_vaes_mixture_gives_exact_probabilities_and_its_mean(channels: int) -> None:
    """Given the other channels, the probabilities of one channel's levels sum to theirs without it."""
    levels = torch.arange(256, dtype=torch.uint8)
    pixels = torch.full((256, 1, 1, channels), 77, dtype=torch.uint8)
    pixels[:, 0, 0, -1] = levels
    mixture = likelihood(MixtureLikelihood(components=4), channels)
    outputs = torch.randn(1, 4 * (1 + 2 * channels + (3 if channels == 3 else 0)), 1, 1)
    found = mixture.log_prob(pixels, outputs.expand(256, -1, -1, -1), None)
    assert found.shape == (256, 1, 1, 1) and found.dtype == torch.float64
    expected = 1.0
    if channels == 3:  # the mass of red and green alone
        first = LogisticMixture.of(outputs.double(), 3, 4)
        images = to_float(pixels[:1]).double()
        each = logistic_log_mass(images[:, None], first.means_given(images), first.log_scales)[:, :, :2]
        expected = (each.sum(2) + first.log_weights).logsumexp(1).exp().item()
    assert found.exp().sum().item() == pytest.approx(expected, rel=1e-6)
    nats = mixture.nats(to_float(pixels), outputs.expand(256, -1, -1, -1), None)
    assert torch.allclose(nats.double(), -found.flatten(), rtol=1e-4)
    assert mixture.mean(outputs).shape == (1, channels, 1, 1)


@pytest.mark.parametrize("name", LIKELIHOOD_NAMES)
def test_every_likelihood_trains_samples_and_has_bounds(name: str, batch: Batch) -> None:
    model = vae(likelihood=name)
    (objective,) = model.objectives()
    losses = []
    for _ in range(20):
        loss, logged = model.loss(batch, context(batch))
        objective.optimizer.zero_grad()
        loss.backward()
        objective.optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and ("scale" in logged) == (name in ("gaussian", "logistic"))
    pipeline, pixels = Pipeline(model), np.zeros((4, 8, 8, 1), dtype=np.uint8)
    assert pipeline.sample(range(2)).shape == (2, 8, 8, 1)
    names = ("binarized-elbo", "binarized-iwae") if name == "bernoulli" else ("elbo", "iwae")
    assert model.likelihood_bounds == names
    elbo, iwae = (pipeline.bits_per_dim(pixels, bound=bound, draws=8, seeds=range(4)) for bound in names)
    assert np.isfinite(elbo).all() and (iwae <= elbo).all()


def test_a_fixed_scale_is_no_parameter_and_is_saved() -> None:
    model = vae(likelihood={"kind": "gaussian", "scale": 0.1})
    assert "log_scale" not in dict(model.named_parameters())
    assert model.state_dict()["log_scale"].item() == pytest.approx(math.log(0.1))
    assert "log_scale" in dict(vae().named_parameters())


def test_bernoulli_is_refused_on_color_images(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="--likelihood bernoulli needs gray images"):
        Vae(VaeConfig(likelihood="bernoulli"), ImageSpec(channels=3, size=8))  # type: ignore[arg-type]
    assert cli.main(["train", "vae", "--likelihood", "bernoulli", "--likelihood.scale", "0.1"]) == 2
    assert "scale" in capsys.readouterr().err


# --- objectives -------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["normal", "flow"])
def test_the_importance_weighted_loss_is_the_bound_of_its_samples(prior: str, batch: Batch) -> None:
    model = vae(prior=prior, importance_samples=5)
    loss, logged = model.loss(batch, context(batch))
    noise = context(batch).randn(5, 3)
    mean, log_std = model.posterior(batch.images, None)

    def log_weight(j: int) -> Tensor:
        latent = mean + log_std.exp() * noise[:, j]
        q = torch.distributions.Normal(mean, log_std.exp()).log_prob(latent).sum(1)
        source, log_det = model.flow.inverse(latent)
        p = torch.distributions.Normal(0.0, 1.0).log_prob(source).sum(1) + log_det
        return p - q - model.reconstruction_nats(batch.images, model.decoder_outputs(latent, None))

    weights = torch.stack([log_weight(j) for j in range(5)])
    assert loss.item() == pytest.approx((math.log(5) - weights.logsumexp(0)).mean().item(), rel=1e-5)
    assert (logged["distortion"] + logged["rate"]).item() == pytest.approx(-weights.mean().item(), rel=1e-5)
    assert loss.item() <= -weights.mean().item()


def test_free_bits_are_a_floor_under_each_dimensions_kl(batch: Batch) -> None:
    plain, free = vae(prior="normal"), vae(prior="normal", free_bits=0.5)
    loss, logged = plain.loss(batch, context(batch))
    by_dimension = kl_by_dimension(*plain.posterior(batch.images, None)).mean(0)
    assert logged["rate"].item() == pytest.approx(by_dimension.sum().item(), rel=1e-5)
    expected = loss - by_dimension.sum() + by_dimension.clamp(min=0.5).sum()
    assert free.loss(batch, context(batch))[0].item() == pytest.approx(expected.item(), rel=1e-5)
    for config in ({"prior": "flow"}, {"prior": "normal", "importance_samples": 2}):
        with pytest.raises(ValueError, match="--free-bits needs --prior normal and --importance-samples 1"):
            VaeConfig(free_bits=0.1, **config)


def test_active_units_are_the_dimensions_that_depend_on_the_image(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = vae()
    mean = torch.zeros(16, 3)
    mean[:, 1] = torch.linspace(-1, 1, 16)
    monkeypatch.setattr(model, "posterior", lambda images, label: (mean, torch.zeros(16, 3)))
    assert model.loss(batch, context(batch))[1]["active_units"].item() == 1


def test_the_kl_of_single_dimensions_is_logged_by_rank(batch: Batch) -> None:
    mean, log_std = torch.randn(500, 4), torch.full((500, 4), -1.0)
    mean[:, 2] *= 3
    normal, other = latent_use(mean, log_std, normal=True), latent_use(mean, log_std, normal=False)
    assert set(normal) == {"active_units", "kl_dimension_1", "kl_dimension_2", "kl_dimension_4"}
    expected = kl_by_dimension(mean, log_std).mean(0)
    assert normal["kl_dimension_1"].item() == pytest.approx(expected[2].item(), rel=1e-5)
    assert normal["kl_dimension_4"].item() == pytest.approx(expected.min().item(), rel=1e-5)
    variance = mean[:, 2].var(correction=0) + math.exp(-2)
    assert other["kl_dimension_1"].item() == pytest.approx(0.5 * variance.log().item() + 1, rel=1e-5)
    assert set(vae(latent=2).loss(batch, context(batch))[1]) >= {"rate", "distortion", "kl_dimension_2"}
