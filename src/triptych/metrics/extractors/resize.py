"""How stored pictures are brought to a network's size: by rules that papers' numbers depend on.

The same pictures score differently under the two (Parmar et al. 2022, table 1), so the rule stands in
every card. All run on the processor: a picture is then resized to the same bits on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class Resizing(Protocol):
    """Stored pixels to a square of a network's size, still on the scale 0..255."""

    @property
    def name(self) -> str:
        """What the card says: "TF1 bilinear 299"."""

    def __call__(self, pixels: np.ndarray) -> Tensor:
        """(B, H, W, C) uint8 -> (B, C, size, size) float32 in [0, 255], any H and W from 1 on."""


@dataclass(frozen=True)
class TF1Bilinear:
    """The legacy rule, TensorFlow 1's `resize_bilinear` with align_corners=False.

    Output pixel i looks at i * (input size / output size), without half-pixel centres: everything
    moves up and left by up to half a pixel, and a reduction skips pixels (no antialiasing).
    """

    size_px: int

    @property
    def name(self) -> str:
        """What the card says."""
        return f"TF1 bilinear {self.size_px}"

    def __call__(self, pixels: np.ndarray) -> Tensor:
        """(B, H, W, C) uint8 -> (B, C, size, size) float32."""
        pictures = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float()  # (B, C, H, W)
        left, right, across = self._between(pictures.shape[3])
        wide = _blend(pictures[..., left], pictures[..., right], across)  # (B, C, H, size)
        above, below, down = self._between(pictures.shape[2])
        return _blend(wide[:, :, above], wide[:, :, below], down[:, None])  # (B, C, size, size)

    def _between(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """For each output pixel the two input pixels of `count` it lies between, and how far along."""
        step = torch.tensor(count, dtype=torch.float32) / self.size_px  # in float32, as TensorFlow does
        place = torch.arange(self.size_px, dtype=torch.float32) * step
        first = place.long()
        return first, (first + 1).clamp(max=count - 1), place - first


def _blend(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    return start + (end - start) * share


@dataclass(frozen=True)
class PillowBicubic:
    """Pillow's bicubic filter, which averages over what a reduced pixel covers (antialiasing).

    levels "float": each channel by itself in Pillow's mode F, clipped to [0, 255] and not rounded, the
    "clean" rule of Parmar et al. 2022. levels "uint8": rounded to whole grey levels, as the usual
    preprocessing of vision transformers does.
    """

    size_px: int
    levels: str = "float"

    @property
    def name(self) -> str:
        """What the card says."""
        return f"Pillow bicubic {self.size_px} {self.levels}"

    def __call__(self, pixels: np.ndarray) -> Tensor:
        """(B, H, W, C) uint8 -> (B, C, size, size) float32."""
        count, _, _, channels = pixels.shape
        out = np.empty((count, channels, self.size_px, self.size_px), np.float32)
        for k, picture in enumerate(pixels):
            for c in range(channels):
                out[k, c] = self._channel(picture[:, :, c])
        return torch.from_numpy(out)

    def _channel(self, levels: np.ndarray) -> np.ndarray:
        taken = np.ascontiguousarray(levels, np.float32 if self.levels == "float" else np.uint8)
        resized = Image.fromarray(taken).resize((self.size_px, self.size_px), Image.Resampling.BICUBIC)
        return np.asarray(resized).clip(0, 255)
