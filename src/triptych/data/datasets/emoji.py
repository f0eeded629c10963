"""The Noto emoji."""

from __future__ import annotations

from pathlib import Path

from triptych.core.errors import DataError
from triptych.data import paths as paths_module
from triptych.data.dataset import Dataset, Source
from triptych.data.datasets.parquet import open_parquet
from triptych.data.image_ops import Color


def emoji_path() -> Path:
    """Find the Noto emoji.

    Returns:
        The Parquet file.

    Raises:
        DataError: Where it is absent.
    """
    for folder in paths_module.search_paths():
        if (path := folder / "noto_emoji" / "train.parquet").is_file():
            return path
    searched = " and ".join(
        str(folder / "noto_emoji" / "train.parquet") for folder in paths_module.search_paths()
    )
    raise DataError(
        f"the emoji were not found: searched {searched}. Or use --data shapes, which has captions too"
    )


def open_emoji(source: str, size: int, color: Color) -> Dataset:
    """Open the Noto emoji.

    Args:
        source: As the user typed it.
        size: Side in pixels.
        color: Color mode.

    Returns:
        The data set.
    """
    return open_parquet(source, emoji_path(), size, color)


SOURCE = Source("emoji", open_emoji, size=64)
