"""Finite scalar quantization."""

from __future__ import annotations

import pytest
import torch

from triptych.nets.finite_scalar import FiniteScalarQuantizer


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (3, 2), (4,)])
def test_every_channel_has_its_levels_and_every_code_its_number(levels: tuple[int, ...]) -> None:
    quantizer = FiniteScalarQuantizer(levels)
    latent = 6 * torch.randn(64, len(levels), 24, 24, generator=torch.Generator().manual_seed(0))
    quantized = quantizer(latent)
    for channel, count in enumerate(levels):
        assert quantized[:, channel].unique().numel() == count
    assert quantized.abs().max() <= 1
    torch.testing.assert_close(quantizer.nearest(quantized + 0.05), quantized)
    indices = quantizer.indices(quantized)
    assert indices.min() >= 0 and indices.max() < quantizer.codes
    codes = quantized.transpose(0, 1).flatten(1).T.unique(dim=0)  # (distinct codes, C)
    assert indices.unique().numel() == len(codes)


def test_the_gradient_passes_the_rounding() -> None:
    latent = torch.zeros(1, 2, 1, 1, requires_grad=True)
    FiniteScalarQuantizer((5, 5))(latent).sum().backward()
    assert latent.grad is not None
    torch.testing.assert_close(latent.grad, torch.full_like(latent, 2 * 1.001 / 2))  # tanh'(0) * half / step
