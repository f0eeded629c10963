"""The feature space of the GAN monitor: cheap, fixed, and the same for every run on a data set."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from triptych.core.images import to_float
from triptych.metrics.extractors.base import NetworkExtractor
from triptych.metrics.extractors.random_conv import random_conv

THUMBNAIL_PX = 8  # side to which pixels are averaged: layout rather than texture
MIN_CONV_PX = 8  # below this the pixels themselves are the features


class FeatureSpace:
    """Features of images: random convolutions (texture, edges) beside the pixels of a thumbnail.

    Each of the two blocks is divided by its total standard deviation over the reference images, so that both
    weigh alike and two unrelated images are about 1.4 apart in each.

    Args:
        real: (N, H, W, C) uint8 reference images.

    Attributes:
        real: (N, D) float32 features of the reference images.
    """

    def __init__(self, real: np.ndarray) -> None:
        size, channels = real.shape[1], real.shape[3]
        self._network: NetworkExtractor | None = None
        if size >= MIN_CONV_PX and channels in (1, 3):
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
        images = to_float(np.array(pixels))  # (N, C, H, W)
        if images.shape[-1] > THUMBNAIL_PX:
            images = functional.interpolate(images, (THUMBNAIL_PX, THUMBNAIL_PX), mode="area")
        thumbnails = images.flatten(1).numpy()  # (N, C * 64)
        return [thumbnails] if self._network is None else [thumbnails, self._network(pixels)]


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute Euclidean distances between the rows of two matrices.

    Args:
        a: (N, D).
        b: (M, D).

    Returns:
        (N, M) float64.
    """
    first, second = torch.from_numpy(a).double(), torch.from_numpy(b).double()
    return torch.cdist(first, second, compute_mode="use_mm_for_euclid_dist").numpy()
