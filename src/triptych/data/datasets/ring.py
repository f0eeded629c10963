"""Points of a plane as pictures of two channels and one pixel: what a GAN makes of a known distribution.

Eight Gaussians on a circle are the field's test for mode collapse (Metz et al. 2017, "Unrolled Generative
Adversarial Networks", section 3.1). Channel 0 is x, to the right; channel 1 is y, upwards; both in [-1, 1].
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from triptych.core.errors import UsageError
from triptych.core.images import to_uint8
from triptych.data.dataset import Dataset, Split, fingerprint
from triptych.data.image_ops import Color

DIRECTIONS = ("east", "north-east", "north", "north-west", "west", "south-west", "south", "south-east")
RADIUS = 0.75  # of the circle that the middles lie on: neighbours are 0.57 = 11 SIGMA apart
SIGMA = 0.05  # of each Gaussian: 6 gray levels, so that rounding adds a five-hundredth of its variance


def centres() -> np.ndarray:
    """The middles of the eight Gaussians, counter-clockwise from the east: (8, 2) float64."""
    angles = np.arange(len(DIRECTIONS)) * (2 * np.pi / len(DIRECTIONS))
    return RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def draw_ring(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` points of the even mixture of the eight Gaussians, and which one each is from.

    Returns (count, 1, 1, 2) uint8 and (count,) int64.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(DIRECTIONS), size=count)
    points = centres()[labels] + SIGMA * rng.standard_normal((count, 2))  # (count, 2)
    return to_uint8(torch.from_numpy(points)[:, :, None, None]), labels


def distances(points: np.ndarray) -> np.ndarray:
    """From each point, (N, 2) in [-1, 1], to each middle, in units of SIGMA: (N, 8)."""
    return np.linalg.norm(points[:, None] - centres()[None], axis=2) / SIGMA


def open_ring(source: str, size: int | None, color: Color) -> Dataset:
    """20,000 points for training and 4,000 for testing."""
    if size not in (None, 1):
        raise UsageError(f"points are 1 x 1 px, got a size of {size}: leave out --size")
    if color != "auto":
        raise UsageError(f"points have two coordinates and no colors, got {color}: leave out --color")
    train, test = (Split(*draw_ring(count, seed)) for count, seed in ((20_000, 1), (4_000, 2)))
    rule = "drawn from two seeds: 20,000 for training, 4,000 for testing"
    made = Dataset("points-ring", source, train, test, DIRECTIONS, rule, "drawn by Triptych")
    return replace(made, fingerprint=fingerprint(train, test))
