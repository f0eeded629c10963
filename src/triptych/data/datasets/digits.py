"""scikit-learn's handwritten digits."""

from __future__ import annotations

import hashlib

import numpy as np

from triptych.data.assemble import in_color, split_dataset
from triptych.data.dataset import Dataset, Source
from triptych.data.image_ops import Color, resized


def open_digits(source: str, size: int, color: Color) -> Dataset:
    """Open scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, enlarged by Lanczos.

    Args:
        source: As the user typed it.
        size: Side in pixels.
        color: Color mode.

    Returns:
        The data set.
    """
    from sklearn.datasets import load_digits

    stored = load_digits()
    levels = np.round(stored.images * (255 / 16)).astype(np.uint8)  # (N, 8, 8), stored as 0..16
    marks = [hashlib.sha256(image.tobytes()).hexdigest() for image in levels]
    test = np.array([int(mark[:12], 16) / 16**12 < 1 / 6 for mark in marks])
    pixels = in_color(resized(levels[..., None], size), color)
    labels = stored.target.astype(np.int64)
    return split_dataset(
        "digits", "digits", pixels, labels, None, test, tuple("0123456789"),
        split_rule="a sixth for testing, chosen by a hash of each image",
        credit="Optical recognition of handwritten digits (Alpaydin and Kaynak, UCI), CC BY 4.0, "
        "from scikit-learn",
    )  # fmt: skip


SOURCE = Source("digits", open_digits, size=16)
