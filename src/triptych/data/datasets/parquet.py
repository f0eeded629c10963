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
from triptych.data.parquet import read_parquet, together


def open_parquet(source: str, path: Path, size: int, color: Color) -> Dataset:
    """A Parquet file, or a folder of them whose names begin with train and test."""
    if path.is_dir():
        halves = {name: sorted(path.glob(f"{name}*.parquet")) for name in ("train", "test")}
        files = {name: found for name, found in halves.items() if found}
    else:
        files = {"all": [path]} if path.is_file() else {}
    if not files:
        raise DataError(f"there is no Parquet file at {path}: expected a file, or train*.parquet in a folder")
    paths = [p for found in files.values() for p in found]

    def make(*_: Any) -> Dataset:
        items: list[Item] = []
        classes: tuple[str, ...] = ()
        for split, found in files.items():
            for file in found:
                table = read_parquet(file)
                classes = together(classes, table.class_names)
                for row, data in enumerate(table.encoded):
                    number = -1 if table.labels is None else int(table.labels[row])
                    label = table.class_names[number] if number >= 0 else None
                    caption = table.captions[row] if table.captions else None
                    half = split if set(files) == {"train", "test"} else None
                    items.append(Item(f"{file.name}#{row}", data or b"", label, caption, half))
        name = "emoji" if source == "emoji" else f"parquet-{path.stem}"
        return from_items(name, source, items, size, color, classes)

    return cached(source, paths, size, color, make)
