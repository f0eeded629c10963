"""Parquet files in the image layout of Hugging Face datasets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from triptych.core.errors import DataError
from triptych.data.image_ops import decode, in_mode, is_gray


@dataclass(frozen=True)
class Table:
    """Encoded images with labels and captions."""

    path: Path
    encoded: Sequence[bytes]
    labels: np.ndarray | None  # (N,) int64; -1: unlabeled
    class_names: tuple[str, ...]
    captions: list[str] | None

    def decoded(self) -> np.ndarray:
        """All images, which must be of one size and mode: (N, H, W, C) uint8."""
        images = [decode(data, 1024) for data in self.encoded]
        color: Any = "gray" if is_gray(images[0]) else "rgb"
        return np.stack([in_mode(image, color) for image in images])


def read_parquet(path: Path) -> Table:
    """Read one Parquet file.

    Args:
        path: A file with a column `image` (a struct of bytes and path, or bytes) and optional columns
            `label` (integers or strings) and `text` or `caption`.

    Returns:
        Its content.

    Raises:
        DataError: When it cannot be read or has no images, or pyarrow is missing.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError('reading Parquet needs pyarrow: pip install "triptych[parquet]"') from error
    try:
        names = pq.read_schema(path).names
        wanted = [name for name in ("image", "label", "text", "caption") if name in names]
        if "image" not in wanted:
            raise DataError(f"{path} has no column 'image': there are {', '.join(names)}")
        table = pq.read_table(path, columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    column = table["image"].combine_chunks()
    if pa.types.is_struct(column.type):
        column = column.field("bytes")
    try:
        labels, classes = _labels(table)
    except ValueError as error:
        raise DataError(f"the labels of {path} cannot be used: {error}") from error
    text = next((name for name in ("text", "caption") if name in names), None)
    captions = ["" if words is None else str(words) for words in table[text].to_pylist()] if text else None
    return Table(path, column.to_pylist(), labels, classes, captions)


def _labels(table: Any) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels as numbers, with class names from the file's metadata or the values themselves.

    Null and negative values, as in test splits with hidden labels, mean unlabeled.
    """
    if "label" not in table.column_names:
        return None, ()
    values = table["label"].to_pylist()
    if any(isinstance(value, str) for value in values):
        classes = tuple(sorted({value for value in values if value is not None}))
        numbers = [-1 if value is None else classes.index(value) for value in values]
        return np.array(numbers, np.int64), classes
    labels = np.array([-1 if value is None else max(value, -1) for value in values], np.int64)
    stored = (table.schema.metadata or {}).get(b"huggingface", b"{}")
    feature = json.loads(stored).get("info", {}).get("features", {}).get("label", {})
    highest = int(labels.max(initial=-1))
    names = tuple(feature.get("names") or map(str, range(highest + 1)))
    if highest >= len(names):
        raise DataError(f"there is a label {highest}, but names for only {len(names)} classes: {names}")
    return labels, names


def merge_class_names(names: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Merge the class names of two files: those of the longer list first, then what only the other has.

    Lists that begin alike (0, 1, 2 and 0, 1) keep their order.

    Args:
        names: Of one file.
        more: Of another.

    Returns:
        All names, each once.
    """
    first, second = sorted((names, more), key=len, reverse=True)
    return first + tuple(name for name in second if name not in first)
