"""The discretized logistic mixture."""

from __future__ import annotations

import pytest
import torch

from triptych.nets.likelihoods import LogisticMixture, mixture_channels

LEVELS = torch.arange(256) / 127.5 - 1


def mixture_at(channels: int, rows: int, scale: float = 1.0) -> LogisticMixture:
    parameters = torch.randn(
        1, mixture_channels(channels, 3), 1, 1, generator=torch.Generator().manual_seed(1)
    )
    return LogisticMixture.of((scale * parameters).expand(rows, -1, -1, -1), channels, 3)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_probabilities_of_all_gray_levels_sum_to_one(scale: float) -> None:
    total = mixture_at(1, 256, scale).log_prob(LEVELS.view(256, 1, 1, 1)).exp().sum()
    assert total == pytest.approx(1, abs=1e-5)


def test_probabilities_of_blue_given_red_and_green_sum_to_those_of_red_and_green() -> None:
    """Summed over one channel, the joint depends on that channel's coefficients no longer."""
    red, green = torch.full((256,), 0.2), torch.full((256,), -0.4)
    images = torch.stack([red, green, LEVELS], dim=1)[:, :, None, None]
    mixture = mixture_at(3, 256)
    assert mixture.coefficients is not None
    other = mixture._replace(coefficients=mixture.coefficients * torch.tensor([1.0, 0.0, 0.0])[:, None, None])
    assert mixture.log_prob(images).exp().sum() == pytest.approx(
        float(other.log_prob(images).exp().sum()), rel=1e-5
    )


def test_the_mode_is_an_image_of_the_likeliest_component() -> None:
    mixture = mixture_at(1, 1)
    choice = int(mixture.log_weights[0, :, 0, 0].argmax())
    assert mixture.mode().item() == pytest.approx(float(mixture.means[0, choice, 0, 0, 0].clamp(-1, 1)))
    assert mixture.mean().shape == (1, 1, 1, 1)
