"""A folder of images."""

from __future__ import annotations

from pathlib import Path

from triptych.data.assemble import from_items
from triptych.data.dataset import Dataset
from triptych.data.files import Item
from triptych.data.image_ops import Color


def open_folder(folder: Path, items: list[Item], size: int, color: Color) -> Dataset:
    """Open a folder of images.

    Args:
        folder: The folder.
        items: Its images, as `list_folder` lists them.
        size: Side in pixels.
        color: Color mode.

    Returns:
        The data set.
    """
    return from_items(f"folder-{folder.resolve().name}", f"folder:{folder}", items, size, color)
