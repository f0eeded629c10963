"""Resizing rules by which images are brought to a network's size, as published numbers depend on them.

The same images get different scores under the two rules (Parmar et al. 2022, table 1), so the rule is part of
every card. Both run on the CPU: an image is then resized to the same bits on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class Resizing(Protocol):
    """Resizes stored pixels to a square of a network's size, in the range 0..255."""

    @property
    def name(self) -> str:
        """Name in the card: "TF1 bilinear 299"."""

    def __call__(self, pixels: np.ndarray) -> Tensor:
        """(B, H, W, C) uint8 -> (B, C, size, size) float32 in [0, 255], H and W at least 1."""


@dataclass(frozen=True)
class TF1Bilinear:
    """The legacy rule, TensorFlow 1's `resize_bilinear` with align_corners=False.

    Output pixel i samples position i * (input size / output size), without half-pixel centers: the image
    moves up and left by up to half a pixel, and downsampling skips pixels (no antialiasing).
    """

    size_px: int

    @property
    def name(self) -> str:
        """Name in the card."""
        return f"TF1 bilinear {self.size_px}"

    def __call__(self, pixels: np.ndarray) -> Tensor:
        """(B, H, W, C) uint8 -> (B, C, size, size) float32."""
        images = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float()  # (B, C, H, W)
        left, right, x_weight = self._between(images.shape[3])
        wide = _blend(images[..., left], images[..., right], x_weight)  # (B, C, H, size)
        above, below, y_weight = self._between(images.shape[2])
        return _blend(wide[:, :, above], wide[:, :, below], y_weight[:, None])  # (B, C, size, size)

    def _between(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """For each output pixel the two input pixels (of `count`) around it, and the weight of the second."""
        step = torch.tensor(count, dtype=torch.float32) / self.size_px  # in float32, as in TensorFlow
        place = torch.arange(self.size_px, dtype=torch.float32) * step
        first = place.long()
        return first, (first + 1).clamp(max=count - 1), place - first


def _blend(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    return start + (end - start) * weight


@dataclass(frozen=True)
class PillowBicubic:
    """Pillow's bicubic filter with antialiasing.

    With levels="float", each channel is resized in Pillow's mode F, clipped to [0, 255] and not rounded: the
    "clean" rule of Parmar et al. 2022. With levels="uint8", values are rounded to integers, as in the usual
    preprocessing of vision transformers.
    """

    size_px: int
    levels: str = "float"

    @property
    def name(self) -> str:
        """Name in the card."""
        return f"Pillow bicubic {self.size_px} {self.levels}"

    def __call__(self, pixels: np.ndarray) -> Tensor:
        """(B, H, W, C) uint8 -> (B, C, size, size) float32."""
        count, _, _, channels = pixels.shape
        out = np.empty((count, channels, self.size_px, self.size_px), np.float32)
        for k, image in enumerate(pixels):
            for c in range(channels):
                out[k, c] = self._channel(image[:, :, c])
        return torch.from_numpy(out)

    def _channel(self, levels: np.ndarray) -> np.ndarray:
        values = np.ascontiguousarray(levels, np.float32 if self.levels == "float" else np.uint8)
        resized = Image.fromarray(values).resize((self.size_px, self.size_px), Image.Resampling.BICUBIC)
        return np.asarray(resized).clip(0, 255)
