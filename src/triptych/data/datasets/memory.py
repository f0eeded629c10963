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

IN_MEMORY = "given from Python"  # the source's name where pictures came as an array or an iterable


def open_memory(source: Any, size: int | None, color: Color) -> Dataset:
    """An array or an iterable of pictures, kept in memory."""
    if isinstance(source, np.ndarray) and source.ndim not in (3, 4):
        raise DataError(f"expected pictures as (N, H, W[, C]) uint8, got {source.shape} {source.dtype}")
    if not isinstance(source, Iterable):
        raise DataError(f"expected a source's name, an array or an iterable of pictures, got {type(source)}")
    images = [from_any(item) for item in source]
    if len(images) < 2:
        raise DataError(f"at least 2 pictures are needed, got {len(images)}")
    side = size or min(min(image.size) for image in images)
    mode, rule = common_color(images) if color == "auto" else (color, "")
    pixels = np.stack([in_mode(square(image, side), mode) for image in images])
    digests = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels]
    test = split_by_content(digests, [None] * len(pixels), TEST_SHARE)
    made = split_dataset("array", IN_MEMORY, pixels, None, None, test, (), HASH_RULE, "")
    return replace(made, color_rule=rule)
