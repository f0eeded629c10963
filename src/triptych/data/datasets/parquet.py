"""Parquet files of encoded images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.core.errors import DataError
from triptych.data.assemble import from_items
from triptych.data.cache import cached
from triptych.data.dataset import Dataset
from triptych.data.files import Item
from triptych.data.image_ops import Color
from triptych.data.parquet import merge_class_names, read_parquet


def open_parquet(source: str, path: Path, size: int, color: Color) -> Dataset:
    """Open Parquet files.

    Args:
        source: As the user typed it.
        path: A file, or a folder with files whose names begin with train and test.
        size: Side in pixels.
        color: Color mode.

    Returns:
        The data set.

    Raises:
        DataError: When there is no such file.
    """
    if path.is_dir():
        halves = {name: sorted(path.glob(f"{name}*.parquet")) for name in ("train", "test")}
        files = {name: paths for name, paths in halves.items() if paths}
    else:
        files = {"all": [path]} if path.is_file() else {}
    if not files:
        raise DataError(f"there is no Parquet file at {path}: expected a file, or train*.parquet in a folder")
    every = [path for paths in files.values() for path in paths]

    def make(*_: Any) -> Dataset:
        items: list[Item] = []
        classes: tuple[str, ...] = ()
        for split, paths in files.items():
            for file in paths:
                table = read_parquet(file)
                classes = merge_class_names(classes, table.class_names)
                for row, data in enumerate(table.encoded):
                    number = -1 if table.labels is None else int(table.labels[row])
                    label = table.class_names[number] if number >= 0 else None
                    caption = table.captions[row] if table.captions else None
                    half = split if set(files) == {"train", "test"} else None
                    items.append(Item(f"{file.name}#{row}", data or b"", label, caption, half))
        name = "emoji" if source == "emoji" else f"parquet-{path.stem}"
        return from_items(name, source, items, size, color, classes)

    return cached(source, every, size, color, make)
