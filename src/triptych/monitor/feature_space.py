"""The space in which the watch looks at pictures: cheap, fixed, the same for every run on a source."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from triptych.core.images import to_float
from triptych.metrics.extractors.base import NetworkExtractor
from triptych.metrics.extractors.random_conv import random_conv

THUMB_PX = 8  # side to which pixels are averaged: where things are, rather than how they are textured
SMALLEST_PX = 8  # below this a picture is a handful of numbers, and they are its features


class Space:
    """Features of pictures: random convolutions (texture, edges) beside the pixels of a thumbnail.

    Each of the two is divided by its total standard deviation on `real`, (N, H, W, C) uint8, so that both
    weigh alike and a distance of about 1.4 a block is that between two pictures of the source. `real`
    afterwards holds their features, (N, D).
    """

    def __init__(self, real: np.ndarray) -> None:
        size, channels = real.shape[1], real.shape[3]
        self._network: NetworkExtractor | None = None
        if size >= SMALLEST_PX and channels in (1, 3):
            self._network = random_conv(size)
        blocks = self._blocks(real)
        self._scales = [float(np.sqrt(block.var(axis=0).sum())) or 1.0 for block in blocks]
        self.real = self._joined(blocks)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, H, W, C) uint8 -> (N, D) float32."""
        return self._joined(self._blocks(pixels))

    def _joined(self, blocks: list[np.ndarray]) -> np.ndarray:
        scaled = [block / scale for block, scale in zip(blocks, self._scales, strict=True)]
        return np.concatenate(scaled, axis=1).astype(np.float32)

    def _blocks(self, pixels: np.ndarray) -> list[np.ndarray]:
        pictures = to_float(np.array(pixels))  # (N, C, H, W)
        if pictures.shape[-1] > THUMB_PX:
            pictures = functional.interpolate(pictures, (THUMB_PX, THUMB_PX), mode="area")
        thumbs = pictures.flatten(1).numpy()  # (N, C * 64)
        return [thumbs] if self._network is None else [thumbs, self._network(pixels)]


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances between the rows of (N, D) and (M, D): (N, M) float64."""
    first, second = torch.from_numpy(a).double(), torch.from_numpy(b).double()
    return torch.cdist(first, second, compute_mode="use_mm_for_euclid_dist").numpy()
