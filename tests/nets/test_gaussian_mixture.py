"""Mixtures of Gaussians as functions of noise."""

from __future__ import annotations

import pytest
import torch

from triptych.nets.gaussian_mixture import FittedMixture, GaussianMixture, fit_mixture


def example(full: bool) -> GaussianMixture:
    weights, means = torch.tensor([[0.2, 0.5, 0.3]]), torch.tensor([[[-4.0, 0.0], [0.0, 3.0], [5.0, -1.0]]])
    stds = torch.tensor([[[0.5, 1.0], [1.0, 0.3], [0.8, 0.8]]])
    factors = torch.diag_embed(stds)
    factors[..., 1, 0] = 0.4
    return GaussianMixture(weights, means, factors if full else stds)


@pytest.mark.parametrize("full", [True, False])
def test_standard_normal_noise_is_sent_to_the_mixture(full: bool) -> None:
    mixture = example(full)
    noise = torch.randn(40_000, 2, generator=torch.Generator().manual_seed(0))
    drawn = mixture.from_noise(noise)
    mean = (mixture.weights[..., None] * mixture.means).sum(1)[0]
    covariances = mixture.factors @ mixture.factors.mT if full else torch.diag_embed(mixture.factors**2)
    centered = mixture.means[0] - mean
    second = covariances[0] + centered[:, :, None] * centered[:, None]
    expected = (mixture.weights[0, :, None, None] * second).sum(0)
    assert torch.allclose(drawn.mean(0), mean, atol=0.06)
    assert torch.allclose(torch.cov(drawn.T), expected, atol=0.15)
    near = (drawn[:, None] - mixture.means[0]).square().sum(2).argmin(1)
    assert torch.allclose(near.bincount(minlength=3) / 40_000, mixture.weights[0], atol=0.02)


@pytest.mark.parametrize("full", [True, False])
def test_noise_is_found_again(full: bool) -> None:
    mixture, noise = example(full), torch.randn(500, 2, generator=torch.Generator().manual_seed(1))
    drawn = mixture.from_noise(noise)
    assert torch.allclose(mixture.from_noise(mixture.to_noise(drawn)), drawn, atol=1e-3)
    again = (mixture.to_noise(drawn) - noise).abs().amax(1) < 0.05
    assert again.float().mean() > 0.95  # the components hardly overlap
    still = mixture.from_noise(noise, truncation=0.0)
    assert (still[:, None] - mixture.means[0]).square().sum(2).min(1).values.max() < 1e-6


@pytest.mark.parametrize("full", [True, False])
def test_the_density_is_torchs(full: bool) -> None:
    mixture, latent = example(full), 3 * torch.randn(20, 2)
    factors = mixture.factors[0] if full else torch.diag_embed(mixture.factors[0])
    torchs = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(mixture.weights[0]),
        torch.distributions.MultivariateNormal(mixture.means[0], scale_tril=factors),
    )
    assert torch.allclose(mixture.log_prob(latent), torchs.log_prob(latent), atol=1e-4)


def test_each_image_has_the_mixture_of_its_class() -> None:
    one = example(False)
    both = GaussianMixture(
        *(torch.cat([part, part + shift]) for part, shift in zip(one, (0, 100, 0), strict=True))
    )
    noise = torch.randn(4, 2)
    drawn = both.of_class(torch.tensor([0, 1, 1, 0])).from_noise(noise)
    assert torch.allclose(drawn, one.from_noise(noise) + torch.tensor([0.0, 100, 100, 0])[:, None], atol=1e-4)


def test_a_fit_finds_the_mixture_and_is_the_same_each_time() -> None:
    drawn = example(True).from_noise(torch.randn(3000, 2, generator=torch.Generator().manual_seed(2)))
    fitted, again = fit_mixture(drawn, 3), fit_mixture(drawn, 3)
    assert all(torch.equal(a, b) for a, b in zip(fitted, again, strict=True))
    order = fitted.means[0, :, 0].argsort()
    assert torch.allclose(fitted.means[0, order], example(True).means[0], atol=0.15)
    assert torch.allclose(fitted.weights[0, order], example(True).weights[0], atol=0.05)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_vectors_leave_components_without_weight(count: int) -> None:
    fitted = fit_mixture(torch.randn(count, 2), 4)
    assert fitted.weights.sum().item() == pytest.approx(1) and (fitted.weights[0, 1:] == 0).all()
    assert torch.isfinite(fitted.from_noise(torch.randn(50, 2))).all()


def test_classes_are_fitted_apart() -> None:
    module = FittedMixture(2, 2, 3)
    latent, labels = torch.randn(300, 2), torch.arange(300) % 2  # no image of class 2
    module.fit(latent + 10 * labels[:, None], labels)
    drawn = module.fitted().of_class(torch.tensor([0, 1, 2])).from_noise(torch.zeros(3, 2))
    assert torch.allclose(drawn[:, 0], torch.tensor([0.0, 10, 0]), atol=2)
