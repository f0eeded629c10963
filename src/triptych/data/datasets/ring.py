"""Points in the plane, stored as 1 x 1 images of two channels: a known distribution for GANs.

Eight Gaussians on a circle are the field's test for mode collapse (Metz et al. 2017, "Unrolled Generative
Adversarial Networks", section 3.1). Channel 0 is x, to the right; channel 1 is y, upward; both in [-1, 1].
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from triptych.core.errors import UsageError
from triptych.core.images import to_uint8
from triptych.data.dataset import Dataset, Source, Split, fingerprint
from triptych.data.image_ops import Color

DIRECTIONS = ("east", "north-east", "north", "north-west", "west", "south-west", "south", "south-east")
RADIUS = 0.75  # of the circle of the means: neighbors are 0.57 = 11 SIGMA apart
SIGMA = 0.05  # of each Gaussian: 6 gray levels, so that rounding adds 1/500 of its variance


def means() -> np.ndarray:
    """The means of the eight Gaussians, counterclockwise from the east: (8, 2) float64."""
    angles = np.arange(len(DIRECTIONS)) * (2 * np.pi / len(DIRECTIONS))
    return RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def draw_ring(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample the uniform mixture of the eight Gaussians.

    Args:
        count: Number of points.
        seed: Of the random generator.

    Returns:
        Points (count, 1, 1, 2) uint8, and the Gaussian that each is from (count,) int64.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(DIRECTIONS), size=count)
    points = means()[labels] + SIGMA * rng.standard_normal((count, 2))  # (count, 2)
    return to_uint8(torch.from_numpy(points)[:, :, None, None]), labels


def distances(points: np.ndarray) -> np.ndarray:
    """From each point, (N, 2) in [-1, 1], to each mean, in units of SIGMA: (N, 8)."""
    return np.linalg.norm(points[:, None] - means()[None], axis=2) / SIGMA


def open_ring(source: str, size: int, color: Color) -> Dataset:
    """Open the ring: 20,000 points for training and 4,000 for testing.

    Args:
        source: As the user typed it.
        size: 1.
        color: "auto".

    Returns:
        The data set.

    Raises:
        UsageError: For another size or color mode.
    """
    if size != 1:
        raise UsageError(f"points are 1 x 1 px, got a size of {size}: leave out --size")
    if color != "auto":
        raise UsageError(f"points have coordinates, not colors, got {color}: leave out --color")
    train, test = (Split(*draw_ring(count, seed)) for count, seed in ((20_000, 1), (4_000, 2)))
    rule = "drawn from two seeds: 20,000 for training, 4,000 for testing"
    dataset = Dataset("points-ring", source, train, test, DIRECTIONS, rule, "drawn by Triptych")
    return replace(dataset, fingerprint=fingerprint(train, test))


SOURCE = Source("points:ring", open_ring, size=1, min_size=1)
