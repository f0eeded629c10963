"""From densities to probabilities of gray levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import log_ndtr

from triptych.core.bits_per_dim import (
    crop,
    dimensions,
    discretized_gaussian_log_likelihood,
    nats_to_bits_per_dim,
)
from triptych.core.images import LEVEL_STEP, level_edges, to_float, to_uint8

LEVELS = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)


def masses(mean: float, scale: float) -> torch.Tensor:
    return discretized_gaussian_log_likelihood(LEVELS, torch.full((256, 1, 1, 1), mean), scale).flatten()


@pytest.mark.parametrize("mean", [-7.0, -1.0, -0.9961, 0.0, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("scale", [1e-3, 4e-3, 0.1, 1.0, 50.0])
def test_the_masses_of_all_levels_sum_to_one(mean: float, scale: float) -> None:
    log_masses = masses(mean, scale)
    assert bool(torch.isfinite(log_masses).all()) and bool((log_masses <= 0).all())
    assert log_masses.logsumexp(0).item() == pytest.approx(0, abs=1e-12)


def test_masses_are_precise_where_they_underflow() -> None:
    """A level far from the mean has the mass of the tail beyond its nearer edge: the next is nothing."""
    below, above = masses(1.0, 1e-3), masses(-1.0, 1e-3)
    for level in (3, 100, 200):
        edge = 1 - ((level + 0.5) * LEVEL_STEP - 1)
        assert below[level].item() == pytest.approx(log_ndtr(-edge / 1e-3), rel=1e-9)
        assert above[255 - level].item() == pytest.approx(log_ndtr(-edge / 1e-3), rel=1e-9)
    assert below[3].item() < -1e6


def test_a_wide_gaussians_mass_is_its_density_times_the_bin() -> None:
    log_mass = masses(0.1, 0.3)[100].item()
    x = 100 * LEVEL_STEP - 1
    density = -0.5 * ((x - 0.1) / 0.3) ** 2 - math.log(0.3 * math.sqrt(math.tau))
    assert log_mass == pytest.approx(density + math.log(LEVEL_STEP), abs=1e-4)


def test_edges_are_where_rounding_changes() -> None:
    lower, upper = level_edges(LEVELS)
    assert torch.equal(lower[1:], upper[:-1])
    assert lower[0].item() == -math.inf and upper[255].item() == math.inf
    just_above = to_uint8((lower[1:] + 1e-6).float())
    just_below = to_uint8((upper[:-1] - 1e-6).float())
    np.testing.assert_array_equal(just_above, LEVELS[1:])
    np.testing.assert_array_equal(just_below, LEVELS[:-1])


def test_tensors_and_arrays_give_the_same_result() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)
    assert torch.equal(to_float(pixels), to_float(torch.from_numpy(pixels)))
    for ours, theirs in zip(level_edges(pixels), level_edges(torch.from_numpy(pixels)), strict=True):
        assert torch.equal(ours, theirs) and ours.shape == (2, 3, 3, 4)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 3\) torch.float32"):
        level_edges(torch.zeros(2, 3, 4, 3))


def test_who_knows_nothing_needs_eight_bits() -> None:
    nats = torch.full((3,), 16 * 16 * 3 * math.log(256))
    assert nats_to_bits_per_dim(nats, (16, 16, 3), None).tolist() == pytest.approx([8.0] * 3)


def test_only_the_box_counts() -> None:
    images = torch.arange(36.0).view(1, 1, 6, 6)
    assert crop(images, None) is images
    assert crop(images, (1, 2, 3, 5)).tolist() == [[[[8, 9, 10], [14, 15, 16]]]]
    assert dimensions((6, 6, 3), None) == 108
    assert dimensions((6, 6, 3), (1, 2, 3, 5)) == 18
    for box in ((0, 0, 7, 6), (-1, 0, 3, 3), (3, 0, 3, 6)):
        with pytest.raises(ValueError, match="6x6"):
            dimensions((6, 6, 1), box)
