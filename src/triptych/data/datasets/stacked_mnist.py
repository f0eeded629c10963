"""Three digits as the three color channels of one image: a thousand modes that can be counted.

Stacked MNIST (Metz et al. 2017, "Unrolled Generative Adversarial Networks", section 3.3.1). Which digits
are combined is drawn from fixed seeds; the mode of an image is 100 red + 10 green + blue.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from triptych.core.errors import UsageError
from triptych.data.cache import cached
from triptych.data.dataset import Dataset, Source, Split
from triptych.data.datasets import published
from triptych.data.datasets.published import prepare_published
from triptych.data.image_ops import Color

COLORS = ("red", "green", "blue")
MODES = 1000
COUNTS = {"train": (60_000, 1), "test": (10_000, 2)}  # number of images, seed


def stack(pixels: np.ndarray, labels: np.ndarray, split: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Combine digits of one split into random triples.

    Args:
        pixels: (N, H, W, 1) uint8 digits.
        labels: (N,) their classes.
        split: "train" or "test".

    Returns:
        (M, H, W, 3) uint8, and color -> the digit in that channel, (M,) int64.
    """
    count, seed = COUNTS[split]
    rows = np.random.default_rng(seed).integers(len(pixels), size=(count, 3))
    stacked = np.empty((count, *pixels.shape[1:3], 3), np.uint8)
    for channel in range(3):
        stacked[..., channel] = pixels[rows[:, channel], :, :, 0]  # (M, H, W)
    return stacked, {color: labels[rows[:, k]] for k, color in enumerate(COLORS)}


def mode_numbers(digits: np.ndarray) -> np.ndarray:
    """(N, 3) digits -> (N,) numbers of their modes, 0..999."""
    return digits @ np.array([100, 10, 1])


def open_stacked_mnist(source: str, size: int, color: Color) -> Dataset:
    """Open Stacked MNIST. It has no labels (a thousand classes of 60 images each), but the digits as factors.

    Args:
        source: As the user typed it.
        size: Side in pixels.
        color: Color mode, not "gray".

    Returns:
        The data set.

    Raises:
        UsageError: For gray, as the channels are the digits.
    """
    if color == "gray":
        raise UsageError("the colors of stacked:mnist are its three digits: leave out --color gray")
    files = [p for part in published.locate("mnist").values() for p in part]

    def make(*_: Any) -> Dataset:
        digits = prepare_published("mnist", size, "gray")
        splits = []
        for name, split in (("train", digits.train), ("test", digits.test)):
            assert split.labels is not None
            pixels, causes = stack(split.pixels, split.labels, name)
            splits.append(Split(pixels, factors=causes))
        rule = "triples of training digits for training, of test digits for testing, drawn from two seeds"
        train, test = splits
        box = digits.content_box
        return Dataset("stacked-mnist", source, train, test, (), rule, digits.credit, content_box=box)

    return cached(source, files, size, "auto", make)


SOURCE = Source("stacked:mnist", open_stacked_mnist)
