"""The models' bounds where the likelihood is known."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triptych.core.images import LEVEL_STEP, to_float
from triptych.core.types import ImageSpec
from triptych.inference.pipeline import Pipeline
from triptych.models.vae import Vae, VaeConfig

SPEC = ImageSpec(channels=1, size=8)
LATENT, SCALE = 3, 0.1


class Linear(nn.Module):
    """z -> W z: a decoder whose marginal is a Gaussian."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)  # (64, LATENT)

    def forward(self, latent: Tensor) -> Tensor:
        return (latent @ self.weights.T).view(-1, 1, 8, 8)


class Posterior(nn.Module):
    """q(z|x) of that decoder, exact because the columns of W are orthogonal; or one that is off."""

    def __init__(self, weights: Tensor, mean: Tensor, std: Tensor, off: float, wide: float) -> None:
        super().__init__()
        precision = 1 / std**2 + weights.square().sum(0) / SCALE**2  # (LATENT,)
        self.std = 1 / precision.sqrt()
        self.read, self.rest = weights / SCALE**2 / precision, mean / std**2 / precision
        self.off, self.wide = off * self.std, wide

    def forward(self, images: Tensor) -> Tensor:
        mean = images.flatten(1) @ self.read + self.rest + self.off
        return torch.cat([mean, (self.wide * self.std).log().expand_as(mean)], dim=1)


def linear_vae(prior: str, off: float = 0.0, wide: float = 1.0) -> tuple[Pipeline, np.ndarray, np.ndarray]:
    """A linear-Gaussian VAE, images drawn from it, and the bits per dimension they exactly need."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.linalg.qr(torch.randn(64, LATENT, generator=generator))[0] * torch.tensor([1.8, 1.2, 0.7])
    torch.manual_seed(0)
    model = Vae(VaeConfig(latent=LATENT, prior=prior), SPEC)  # type: ignore[arg-type]
    mean, std = torch.zeros(LATENT), torch.ones(LATENT)
    if prior == "flow":
        with torch.no_grad():
            for coupling in model.flow.layers()[:2]:
                coupling.net[-1].bias.copy_(torch.tensor([0.5, -0.4, 0.3, 0.2, -0.3, 0.4]))  # type: ignore[union-attr, operator]
            mean = model.flow(torch.zeros(1, LATENT))[0]
            std = model.flow(torch.ones(1, LATENT))[0] - mean
    model.decoder = Linear(weights)  # type: ignore[assignment]
    model.encoder = Posterior(weights, mean, std, off, wide)  # type: ignore[assignment]
    model.log_scale = nn.Parameter(torch.tensor(math.log(SCALE)))
    latent = mean + std * torch.randn(200, LATENT, generator=generator)
    drawn = latent @ weights.T + SCALE * torch.randn(200, 64, generator=generator)
    pixels = ((drawn + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).view(200, 8, 8, 1).numpy()
    inside = (pixels.reshape(200, -1).min(1) > 0) & (pixels.reshape(200, -1).max(1) < 255)
    pixels = pixels[inside]  # the closed form knows no open bins
    w, m = weights.double(), (weights @ mean).double()
    covariance = w * std.double() ** 2 @ w.T + SCALE**2 * torch.eye(64, dtype=torch.float64)
    density = torch.distributions.MultivariateNormal(m, covariance)
    nats = -density.log_prob(to_float(pixels).flatten(1).double()) - 64 * math.log(LEVEL_STEP)
    return Pipeline(model), pixels, (nats / math.log(2) / 64).numpy()


@pytest.mark.parametrize("prior", ["normal", "flow"])
def test_with_the_true_posterior_the_elbo_is_the_likelihood(prior: str) -> None:
    model, pixels, exact = linear_vae(prior)
    assert len(pixels) > 100
    for bound in ("elbo", "iwae"):
        bits = model.bits_per_dim(pixels, bound=bound, draws=4)
        np.testing.assert_allclose(bits, exact, atol=0.01)
        assert np.abs(bits.mean() - exact.mean()) < 1e-3


@pytest.mark.parametrize("prior", ["normal", "flow"])
def test_a_worse_posterior_costs_its_kl_and_more_samples_win_it_back(prior: str) -> None:
    model, pixels, exact = linear_vae(prior, off=0.8, wide=1.5)
    off_by = LATENT * 0.5 * (0.8**2 + 1.5**2 - 1 - 2 * math.log(1.5)) / math.log(2) / 64
    elbo = model.bits_per_dim(pixels, bound="elbo", draws=64)
    assert elbo.mean() - exact.mean() == pytest.approx(off_by, rel=0.05)
    gaps = [
        (model.bits_per_dim(pixels, bound="iwae", draws=draws) - exact).mean() for draws in (1, 4, 16, 128)
    ]
    assert all(more < 0.8 * fewer for fewer, more in pairwise(gaps)), gaps
    assert -1e-3 < gaps[-1] < 2e-3


def test_iwae_is_never_above_the_elbo_of_the_same_draws() -> None:
    model, pixels, _ = linear_vae("normal", off=0.8, wide=1.5)
    elbo, iwae = (model.bits_per_dim(pixels, bound=bound, draws=8) for bound in ("elbo", "iwae"))
    assert (iwae < elbo).all()


def test_pixels_that_do_not_count_are_marginalized() -> None:
    """Half a linear-Gaussian image is a linear-Gaussian image of its own."""
    model, pixels, _ = linear_vae("normal")
    weights = model.model.decoder.weights.double().view(8, 8, LATENT)[2:6].reshape(32, LATENT)
    covariance = weights @ weights.T + SCALE**2 * torch.eye(32, dtype=torch.float64)
    density = torch.distributions.MultivariateNormal(torch.zeros(32, dtype=torch.float64), covariance)
    visible = to_float(pixels)[:, :, 2:6].flatten(1).double()
    exact = (-density.log_prob(visible) / 32 - math.log(LEVEL_STEP)) / math.log(2)
    bits = model.bits_per_dim(pixels, bound="iwae", draws=512, box=(2, 0, 6, 8))
    assert bits.mean() == pytest.approx(exact.mean().item(), abs=0.01)
