"""Conversion between stored pixels, 0..255, and the networks' range [-1, 1]: the only file that knows it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

HALF_RANGE = 127.5  # 0 -> -1, 127.5 -> 0, 255 -> 1
LEVEL_STEP = 1 / HALF_RANGE  # from one gray level to the next, on the scale of [-1, 1]


def to_float(pixels: np.ndarray | Tensor) -> Tensor:
    """Convert stored pixels to the networks' range.

    Args:
        pixels: (B, H, W, C) uint8.

    Returns:
        (B, C, H, W) float32 in [-1, 1], on a tensor's own device.
    """
    images = _checked(pixels).permute(0, 3, 1, 2)  # (B, C, H, W)
    return images.float().div_(HALF_RANGE).sub_(1.0).contiguous()


def level_edges(pixels: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
    """The edges of the bin that `to_uint8` rounds to each pixel's level.

    Args:
        pixels: (B, H, W, C) uint8.

    Returns:
        Lower and upper edges, (B, C, H, W) float64 each, on the CPU and on the scale of [-1, 1]: half a level
        to either side, but -infinity below level 0 and infinity above level 255.
    """
    levels = _checked(pixels).cpu().permute(0, 3, 1, 2).double()  # (B, C, H, W)
    lower, upper = ((levels + side) / HALF_RANGE - 1.0 for side in (-0.5, 0.5))
    return lower.masked_fill_(levels == 0, -torch.inf), upper.masked_fill_(levels == 255, torch.inf)


def _checked(pixels: np.ndarray | Tensor) -> Tensor:
    if pixels.dtype not in (np.uint8, torch.uint8) or pixels.ndim != 4:
        raise ValueError(f"expected (B, H, W, C) uint8 pixels, got {tuple(pixels.shape)} {pixels.dtype}")
    if isinstance(pixels, Tensor):
        return pixels
    array = np.ascontiguousarray(pixels)
    return torch.from_numpy(array if array.flags.writeable else array.copy())  # a memory map is read-only


def to_uint8(images: Tensor) -> np.ndarray:
    """Round images to the nearest level of stored pixels.

    Args:
        images: (B, C, H, W) float, nominally in [-1, 1]; values outside are clipped.

    Returns:
        (B, H, W, C) uint8.
    """
    levels = images.detach().float().add(1.0).mul(HALF_RANGE).round_().clamp_(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()  # (B, H, W, C)


def is_points(pixels: np.ndarray) -> bool:
    """Whether (..., H, W, C) pixels are points of a plane, stored as two channels of one pixel."""
    return pixels.shape[-3:] == (1, 1, 2)
