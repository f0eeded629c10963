"""The Noto emoji."""

from __future__ import annotations

from pathlib import Path

from triptych.core.errors import DataError
from triptych.data import paths as paths_module


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
