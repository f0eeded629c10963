"""Layers with an equalized learning rate, and antialiased resampling: for StyleGAN.

Karras et al. 2018, "Progressive growing of GANs", section 4.1: weights are stored as N(0, 1) and scaled to He
initialization when used, so that an optimizer that normalizes its steps (Adam) updates all layers at the same
relative speed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

LRELU_GAIN = math.sqrt(2)  # restores the standard deviation after a leaky ReLU; applied in the next layer


def leaky_relu_(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, in place."""
    return F.leaky_relu_(x, 0.2)


class EqualizedLinear(nn.Module):
    """A fully connected layer with equalized learning rate.

    Args:
        in_features: Size of each input.
        out_features: Size of each output.
        lr_scale: Factor on the optimizer's learning rate, above 0.
        gain: Factor on the scale of the weights.
        bias_init: Initial bias; None for no bias.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        lr_scale: float = 1.0,
        gain: float = 1.0,
        bias_init: float | None = 0.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_scale)
        bias = None if bias_init is None else torch.full((out_features,), bias_init / lr_scale)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.scale, self.lr_scale = gain * lr_scale / math.sqrt(in_features), lr_scale

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, in_features). Returns (B, out_features)."""
        return F.linear(x, self.scaled_weight(), None if self.bias is None else self.bias * self.lr_scale)

    def scaled_weight(self) -> Tensor:
        """(out_features, in_features): the weights as they are applied."""
        return self.weight * self.scale


class EqualizedConv(nn.Module):
    """A convolution with equalized learning rate that keeps the resolution.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the kernel in pixels, odd.
        gain: Factor on the scale of the weights.
        bias: Whether there is a bias, which starts at 0.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, gain: float = 1.0, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.scale, self.padding = gain / math.sqrt(in_channels * kernel**2), kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, in_channels, H, W). Returns (B, out_channels, H, W)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


def upsample_2x(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2 H, 2 W), bilinear: zeros inserted, then the filter [1, 3, 3, 1]."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def downsample_2x(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H / 2, W / 2): filter [1, 3, 3, 1] / 8 along each axis, then every other pixel.

    It is the transpose of `upsample_2x`, whose kernel is fast on every device and can be differentiated
    twice, as a gradient penalty requires; a depthwise convolution is slow in bfloat16. On a GPU the kernel
    accumulates in the type of its input, which is therefore cast to float32.
    """
    B, C, H, W = x.shape
    transposed = torch.ops.aten.upsample_bilinear2d_backward
    y = x.float() if x.is_cuda else x
    return (transposed(y, [H, W], [B, C, H // 2, W // 2], False, None, None) / 4).to(x.dtype)
