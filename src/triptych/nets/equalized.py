"""Layers with an equalised learning rate, and resampling without aliases: for StyleGAN.

Karras et al. 2018, "Progressive growing of GANs", section 4.1: weights are stored as N(0, 1) and
scaled to their proper size when used, so that an optimiser that normalises its steps (Adam) moves all layers
at one pace.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

RECTIFIED = math.sqrt(2)  # what a leaky ReLU takes from the standard deviation, given back by the next layer


def rectify(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, in place."""
    return F.leaky_relu_(x, 0.2)


class EqualizedLinear(nn.Module):
    """A fully connected layer. pace: share of the optimiser's learning rate; gain: scale of the weights."""

    def __init__(
        self, inputs: int, outputs: int, pace: float = 1.0, gain: float = 1.0, start: float | None = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / pace)
        self.bias = None if start is None else nn.Parameter(torch.full((outputs,), start / pace))
        self.scale, self.pace = gain * pace / math.sqrt(inputs), pace

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, inputs). Returns (B, outputs)."""
        return F.linear(x, self.scaled(), None if self.bias is None else self.bias * self.pace)

    def scaled(self) -> Tensor:
        """(outputs, inputs): the weights as they act."""
        return self.weight * self.scale


class EqualizedConv(nn.Module):
    """A convolution that keeps the size of its planes. gain: scale of the weights."""

    def __init__(self, wide: int, narrow: int, kernel: int, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(narrow, wide, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(narrow)) if bias else None
        self.scale, self.padding = gain / math.sqrt(wide * kernel**2), kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, wide, H, W). Returns (B, narrow, H, W)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


def doubled(x: Tensor) -> Tensor:
    """Twice the side, bilinearly: between zeros, then the filter [1, 3, 3, 1]. x: (B, C, H, W)."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def halved(x: Tensor) -> Tensor:
    """Half the side: the filter [1, 3, 3, 1] / 8 each way, then every other pixel. x: (B, C, H, W).

    It is the transpose of `doubled`, which has a kernel that is quick on every device and can be
    differentiated twice, as a gradient penalty asks; a depthwise convolution is slow in bfloat16. On a GPU it
    adds up in the type it is given, so it is given float32.
    """
    B, C, H, W = x.shape
    down = torch.ops.aten.upsample_bilinear2d_backward
    wide = x.float() if x.is_cuda else x
    return (down(wide, [H, W], [B, C, H // 2, W // 2], False, None, None) / 4).to(x.dtype)
