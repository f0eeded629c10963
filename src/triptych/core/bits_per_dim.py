"""From a density to the probability of a stored picture, in bits per dimension.

A stored picture is discrete: 256 levels a number. A model with a density gives a level the mass that
lies in the level's bin, half a level to either side and open at both ends (Ho et al. 2020, eq. 13), so
probabilities sum to 1, nothing is added to the picture and 8 bits is what a model knows that knows
nothing. Nats on binarised pictures are another quantity and never stand on this axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from triptych.core.images import level_edges
from triptych.core.types import Box

DEQUANTISATION = "discretised"  # the one way here from densities to levels


def log_mass(pixels: np.ndarray | Tensor, mean: Tensor, scale: Tensor | float) -> Tensor:
    """Log of the mass that a Gaussian puts on each pixel's gray level, in nats (Ho et al. 2020, eq. 13).

    pixels: (B, H, W, C) uint8. mean: (B, C, H, W) on the scale of [-1, 1]. scale: the standard
    deviation, above 0, of a shape that fits. Returns (B, C, H, W) float64 on the CPU, precise in the
    tails too: the difference of two normal distribution functions is taken on the side where both are small.
    """
    lower, upper = level_edges(pixels)
    centre = mean.cpu().double()
    width = scale.cpu().double() if isinstance(scale, Tensor) else scale
    low, high = (lower - centre) / width, (upper - centre) / width
    right = low + high > 0
    low, high = torch.where(right, -high, low), torch.where(right, -low, high)
    log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return log_high + torch.log(-torch.expm1(log_low - log_high))


def cut(images: Tensor, counted: Box | None) -> Tensor:
    """The counted pixels of pictures, (B, C, H, W); all of them for None."""
    if counted is None:
        return images
    top, left, bottom, right = counted
    return images[..., top:bottom, left:right]  # (B, C, bottom - top, right - left)


def dimensions(shape: Sequence[int], counted: Box | None) -> int:
    """How many numbers of a picture count. shape: its (H, W, C). Raises ValueError for a box beyond it."""
    height, width, channels = shape
    top, left, bottom, right = counted or (0, 0, height, width)
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise ValueError(f"the counted box {counted} does not lie in a picture of {height}x{width} pixels")
    return (bottom - top) * (right - left) * channels


def per_dimension(nats: Tensor, shape: Sequence[int], counted: Box | None) -> Tensor:
    """Nats a picture, (B,), as bits per counted dimension. shape: a picture's (H, W, C)."""
    return nats / (math.log(2) * dimensions(shape, counted))
