"""Self-supervised feature network for unlabeled sources, and the whitening of its features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.core import rng
from triptych.metrics.extractors.base import LARGEST_PX, FeatureNetwork
from triptych.metrics.extractors.domain_cnn import DomainCNN

VERSION = 1  # of network and training: raised when either changes
WIDTH = 64
GRID = 2  # pooled to 2 x 2, so that features encode in which quarter of the image something is
SHRINKAGE = 0.1  # of the covariance, as a share of its mean eigenvalue
MIN_IMAGES = 8  # training images
MIN_PX = 8


class SelfSupervised(FeatureNetwork):
    """The convolutions of `DomainCNN` and a linear layer; features are whitened on the source's images.

    The last convolution is averaged on a 2 x 2 grid, not over the whole image: features then encode where
    something is, and distinguish an image from one with its halves exchanged.

    Args:
        channels: of the images.
        size_px: side of the images as the network sees them, from 8 to 64.
        width: number of features.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int, size_px: int, width: int = WIDTH) -> None:
        super().__init__(channels, width, 0)
        self.trunk = DomainCNN(channels, size_px, 1, width).trunk
        self.project = nn.Linear(width * GRID**2, width)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.eye(width))

    def embed(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> (B, width), before whitening; this is what the tasks train."""
        grid = functional.adaptive_avg_pool2d(self.trunk(images), GRID)  # (B, width, 2, 2)
        return self.project(grid.flatten(1))  # (B, 4 width) -> (B, width)

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> (B, width)."""
        return (self.embed(images) - self.mean) @ self.scale

    def whiten(self, embedded: np.ndarray) -> None:
        """Whiten the features: those of the source's images then have variance 1 or less in every direction.

        A sample that deviates where images of the source hardly differ is then far away. A share of the mean
        eigenvalue is added to each, so that directions with almost no variance are not amplified, nor is the
        covariance of few images trusted.

        Args:
            embedded: (N, width), result of `embed` for N >= 2 images of the source.
        """
        x = embedded.astype(np.float64)
        values, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
        values = values.clip(min=0) + SHRINKAGE * values.mean() + 1e-12
        scale = vectors / np.sqrt(values) @ vectors.T  # (width, width), symmetric
        self.mean.copy_(torch.from_numpy(x.mean(0)))
        self.scale.copy_(torch.from_numpy(scale))


def untrained(channels: int, size_px: int, fingerprint: str) -> SelfSupervised:
    """A network with initial weights, which depend on the source's fingerprint alone.

    Args:
        channels: of the source's images.
        size_px: side of the source's images; larger ones are averaged down to 64 px.
        fingerprint: of the source.

    Returns:
        The network.
    """
    with torch.random.fork_rng(devices=[]):  # leaves torch's global random state unchanged
        torch.manual_seed(rng.mix(fingerprint, "self-supervised weights", VERSION))
        return SelfSupervised(channels, min(size_px, LARGEST_PX))
