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
FOLLOWING = 0.15  # share of the way from the running mean to that of a step


def rectify(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, in place."""
    return F.leaky_relu_(x, 0.2)


class Centred(nn.Module):
    """A layer that may read its inputs about their running mean, which it keeps as a buffer.

    Behind leaky ReLUs all inputs lean one way, and Adam moves all weights by the same length, so that
    together they shift a wide layer's outputs much further than pictures differ: its units end up always on
    or always off, and bend nothing. About the mean there is nothing for all weights to lean on (LeCun et al.
    1998, "Efficient BackProp", section 4.3).
    """

    mean: Tensor | None  # (inputs,), or None: not centred
    total: Tensor  # (inputs,): sum of what was seen since the mean last moved
    count: Tensor  # (): how much that was

    def __init__(self, inputs: int, centre: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs) if centre else None)
        self.register_buffer("total", torch.zeros(inputs) if centre else None)
        self.register_buffer("count", torch.zeros(()) if centre else None)

    @torch.no_grad()
    def track(self, x: Tensor) -> None:
        """Remember x, (B, inputs) or (B, inputs, H, W), if this is training."""
        if self.mean is not None and self.training:
            self.total += x.sum(dim=[axis for axis in range(x.ndim) if axis != 1], dtype=self.total.dtype)
            self.count += x.numel() / len(self.total)

    @torch.no_grad()
    def settle(self) -> None:
        """Move the mean towards what was seen. Between steps, so that all parts of a step read about one."""
        if self.mean is not None:
            something = self.count.clamp(max=1)  # 0 where nothing was seen: the mean then stays
            self.mean.lerp_(self.total / self.count.clamp(min=1), FOLLOWING * something)
            self.total.zero_()
            self.count.zero_()


class EqualisedLinear(Centred):
    """A fully connected layer.

    pace: share of the optimiser's learning rate. gain: scale of the weights. centre: see `Centred`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        pace: float = 1.0,
        gain: float = 1.0,
        start: float | None = 0.0,
        centre: bool = False,
    ) -> None:
        super().__init__(inputs, centre)
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / pace)
        self.bias = None if start is None else nn.Parameter(torch.full((outputs,), start / pace))
        self.scale, self.pace = gain * pace / math.sqrt(inputs), pace

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, inputs). Returns (B, outputs)."""
        self.track(x)
        x = x if self.mean is None else x - self.mean
        return F.linear(x, self.scaled(), None if self.bias is None else self.bias * self.pace)

    def scaled(self) -> Tensor:
        """(outputs, inputs): the weights as they act."""
        return self.weight * self.scale


class EqualisedConv(Centred):
    """A convolution that keeps the size of its planes, always centred. gain: scale of the weights."""

    mean: Tensor

    def __init__(self, wide: int, narrow: int, kernel: int, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__(wide, centre=True)
        self.weight = nn.Parameter(torch.randn(narrow, wide, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(narrow)) if bias else None
        self.scale, self.padding = gain / math.sqrt(wide * kernel**2), kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, wide, H, W). Returns (B, narrow, H, W)."""
        self.track(x)
        weight = self.weight * self.scale
        common = (weight.sum(dim=(2, 3)) * self.mean).sum(dim=1)  # (narrow,)
        offset = -common if self.bias is None else self.bias - common
        return F.conv2d(x, weight, offset, padding=self.padding)  # a pass over x, to centre it, would cost


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
