"""Finite scalar quantization: each latent channel is rounded to one of a few levels.

Mentzer, Minnen, Agustsson and Tschannen 2023, "Finite Scalar Quantization: VQ-VAE Made Simple", sections
3.1 and 4. There is no codebook to learn, and so none that could collapse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FiniteScalarQuantizer(nn.Module):
    """Rounds each channel of a latent to `levels[channel]` values, evenly spaced in [-1, 1].

    The gradient passes the rounding unchanged (the straight-through estimator).

    Args:
        levels: Number of values of each channel, at least 2; the codes are their product.
    """

    counts: Tensor  # all buffers: (C, 1, 1)
    half_width: Tensor
    offset: Tensor
    shift: Tensor
    step: Tensor
    strides: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        counts = torch.tensor(levels, dtype=torch.float32)[:, None, None]  # (C, 1, 1)
        half = (counts - 1) * (1 + 1e-3) / 2
        offset = torch.where(counts % 2 == 0, 0.5, 0.0)
        strides = torch.tensor([math.prod(levels[:k]) for k in range(len(levels))])[:, None, None]
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("half_width", half, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("shift", torch.atanh(offset / half), persistent=False)
        self.register_buffer("step", torch.div(counts, 2, rounding_mode="floor"), persistent=False)
        self.register_buffer("strides", strides, persistent=False)
        self.codes = math.prod(levels)

    def forward(self, z: Tensor) -> Tensor:
        """(B, C, H, W), unbounded -> the same shape, each value one of its channel's levels in [-1, 1]."""
        bounded = torch.tanh(z + self.shift) * self.half_width - self.offset
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / self.step

    def nearest(self, latent: Tensor) -> Tensor:
        """Each value moved to the nearest of its channel's levels, (B, C, H, W): for generated latents."""
        digits = (latent * self.step + self.step).round().clamp(min=0)
        return torch.minimum(digits, self.counts - 1) / self.step - 1

    def indices(self, quantized: Tensor) -> Tensor:
        """The number of each position's code: (B, C, H, W) as `forward` returns it -> (B, H, W) int64."""
        digits = (quantized * self.step + self.step).round().long()  # 0 .. levels - 1
        return (digits * self.strides).sum(1)
