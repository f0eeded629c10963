"""Where the Noto emoji lie."""

from __future__ import annotations

from pathlib import Path

from triptych.core.errors import DataError
from triptych.data import paths as paths_module


def emoji_path() -> Path:
    """The Parquet file of the Noto emoji. Raises DataError where it is absent."""
    for place in paths_module.places():
        if (found := place / "noto_emoji" / "train.parquet").is_file():
            return found
    looked = " and ".join(str(place / "noto_emoji" / "train.parquet") for place in paths_module.places())
    raise DataError(f"the emoji are not here: looked for {looked}. Or use --data shapes, also captioned")
