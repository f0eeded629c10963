"""Three digits as the three colors of one picture: a thousand modes that can be counted.

Stacked MNIST (Metz et al. 2017, "Unrolled Generative Adversarial Networks", section 3.3.1). Which digits
meet is drawn from fixed seeds; a picture's mode is 100 red + 10 green + blue.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from triptych.core.errors import UsageError
from triptych.data.cache import cached
from triptych.data.dataset import Dataset, Split
from triptych.data.datasets import published
from triptych.data.datasets.published import open_published
from triptych.data.image_ops import Color

COLORS = ("red", "green", "blue")
MODES = 1000
COUNTS = {"train": (60_000, 1), "test": (10_000, 2)}  # pictures, and the seed of their draw


def stack(pixels: np.ndarray, labels: np.ndarray, split: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Random triples of one split's digits.

    pixels: (N, H, W, 1) uint8 digits, labels: (N,). Returns (M, H, W, 3) uint8 and each color's digit,
    (M,) int64, by the color's name.
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
    """Unlabelled, the digits as known causes: a thousand classes would be 60 pictures each."""
    if color == "gray":
        raise UsageError("the colors of stacked:mnist are its three digits: leave out --color gray")
    files = [p for part in published.locate("mnist").values() for p in part]

    def make(*_: Any) -> Dataset:
        digits = open_published("mnist", size, "gray")
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
