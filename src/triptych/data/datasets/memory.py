"""Images given from Python: an array or an iterable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from triptych.core.errors import DataError
from triptych.data.assemble import HASH_RULE, TEST_SHARE, split_dataset
from triptych.data.dataset import Dataset
from triptych.data.files import split_by_content
from triptych.data.image_ops import Color, common_color, from_any, in_mode, square

IN_MEMORY = "given from Python"  # source name of images that came as an array or an iterable


def open_memory(source: Any, size: int | None, color: Color) -> Dataset:
    """Open images given from Python.

    Args:
        source: An array (N, H, W[, C]) uint8, or an iterable of Pillow images or arrays.
        size: Side in pixels; None: the shortest side of all images.
        color: Color mode; "auto": that of most of the images.

    Returns:
        The data set.

    Raises:
        DataError: For anything else, or fewer than two images.
    """
    if isinstance(source, np.ndarray) and source.ndim not in (3, 4):
        raise DataError(f"expected images as (N, H, W[, C]) uint8, got {source.shape} {source.dtype}")
    if not isinstance(source, Iterable):
        raise DataError(f"expected a source's name, an array or an iterable of images, got {type(source)}")
    images = [from_any(item) for item in source]
    if len(images) < 2:
        raise DataError(f"at least 2 images are needed, got {len(images)}")
    side = size or min(min(image.size) for image in images)
    mode, rule = common_color(images) if color == "auto" else (color, "")
    pixels = np.stack([in_mode(square(image, side), mode) for image in images])
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
    test = split_by_content(digests, [None] * len(pixels), TEST_SHARE)
    dataset = split_dataset("array", IN_MEMORY, pixels, None, None, test, (), HASH_RULE, "")
    return replace(dataset, color_rule=rule)
