"""Image files in a folder, with labels, captions and splits from folder names or a metadata file."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from triptych.core.errors import DataError
from triptych.data.dataset import SkippedFile
from triptych.data.image_ops import Color, common_color, decode, in_mode, square

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
MAX_BROKEN_SHARE = 0.1  # largest share of unreadable files; beyond it something else is wrong


@dataclass(frozen=True)
class Item:
    """One image to be prepared: a file or its bytes, with label, caption and split."""

    name: str
    content: Path | bytes
    label: str | None = None
    caption: str | None = None
    split: str | None = None  # "train", "test", or undecided

    def data(self) -> bytes:
        """The encoded file. Raises OSError when it cannot be read."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


def list_folder(folder: Path) -> list[Item]:
    """List all images of a folder, in a fixed order.

    Labels come from `metadata.csv` or `metadata.jsonl` (columns file_name, label, text or caption), without
    it from class folders. Folders named train and test give the split; they may have a metadata file each,
    or one beside them (with names like train/a.png).

    Args:
        folder: The folder.

    Returns:
        The images, not opened yet.

    Raises:
        DataError: When there is no folder, or no image in it.
    """
    if folder.is_file():
        raise DataError(f"{folder} is a file: expected a folder of image files")
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: expected a folder of image files")
    halves = {name: folder / name for name in ("train", "test")}
    known = _metadata(folder)
    if all(half.is_dir() for half in halves.values()):
        items: list[Item] = []
        for name, half in halves.items():
            own = {k.removeprefix(f"{name}/"): v for k, v in known.items() if k.startswith(f"{name}/")}
            items += _list_half(half, name, {**own, **_metadata(half)})
    else:
        items = list(_list_half(folder, None, known))
    if not items:
        inside = sorted(path.name for path in folder.iterdir())[:3]
        content = f"no images, only {', '.join(inside)} and the like" if inside else "nothing"
        raise DataError(
            f"{folder} contains {content}: expected {', '.join(sorted(SUFFIXES))} files, "
            "flat or in one folder per class"
        )
    return items


def _list_half(
    folder: Path, split: str | None, known: Mapping[str, tuple[str | None, str | None]]
) -> Iterator[Item]:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    depth = {len(p.relative_to(folder).parts) for p in paths}
    in_classes = depth == {2} and not known
    for path in paths:
        name = path.relative_to(folder).as_posix()
        label, caption = known.get(name, (None, None))
        yield Item(
            f"{split}/{name}" if split else name,
            path,
            path.parent.name if in_classes else label,
            caption,
            split,
        )


def _metadata(folder: Path) -> dict[str, tuple[str | None, str | None]]:
    """file name -> (label, caption) from metadata.csv or metadata.jsonl; empty when there is neither."""
    rows: Iterable[dict[str, str]]
    if (folder / "metadata.csv").is_file():
        with (folder / "metadata.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    elif (folder / "metadata.jsonl").is_file():
        try:
            lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines if line.strip()]
        except ValueError as error:
            raise DataError(
                f"{folder / 'metadata.jsonl'} is not one JSON object per line: {error}"
            ) from error
    else:
        return {}
    known = {}
    for row in rows:
        if "file_name" not in row:
            raise DataError(f"the metadata in {folder} have no column file_name: there are {list(row)}")
        label = row.get("label")
        known[row["file_name"]] = (
            None if label in (None, "") else str(label),
            row.get("text") or row.get("caption"),
        )
    return known


@dataclass
class Prepared:
    """Images of one size, in the given order, and the files that were skipped."""

    items: list[Item]
    pixels: np.ndarray  # (N, H, W, C) uint8
    digests: list[str]  # SHA-256 of each encoded file
    broken: list[SkippedFile]
    color_rule: str = ""  # how images with and without color were made alike


def prepare(items: list[Item], size: int, color: Color, where: str) -> Prepared:
    """Decode, crop and resize images.

    Args:
        items: The images.
        size: Side in pixels.
        color: Color mode; "auto": that of most of the images.
        where: Their source, for the error.

    Returns:
        The prepared images.

    Raises:
        DataError: When more than a tenth cannot be read.
    """
    kept: list[Item] = []
    squares, digests, broken = [], [], []
    for item in items:
        try:
            data = item.data()
            squares.append(square(decode(data, size), size))
        except (OSError, DataError) as error:
            broken.append(SkippedFile(item.name, getattr(error, "strerror", None) or str(error)))
            continue
        kept.append(item)
        digests.append(hashlib.sha256(data).hexdigest())
    if len(broken) > MAX_BROKEN_SHARE * len(items):
        examples = "; ".join(f"{b.file}: {b.reason}" for b in broken[:3])
        raise DataError(
            f"{len(broken)} of {len(items)} images in {where} cannot be read, more than a tenth: {examples}. "
            f"List them all with: triptych data inspect {where}"
        )
    rule = ""
    if color == "auto":
        color, rule = common_color(squares)
    return Prepared(kept, np.stack([in_mode(image, color) for image in squares]), digests, broken, rule)


def split_by_content(digests: list[str], labels: list[str | None], share: float) -> np.ndarray:
    """Choose test images by a hash of each file, so that adding a file moves no other.

    Copies of a file are in the same split. Every class keeps a training image where it has two different
    ones, and there is at least one test image.

    Args:
        digests: Hexadecimal SHA-256 of each file.
        labels: The class of each, or None.
        share: Expected share of test images, in [0, 1].

    Returns:
        (N,) bool, true for test images.
    """
    marks = np.array([int(digest[:12], 16) / 16**12 for digest in digests])
    test = marks < share
    for label in set(labels):
        members = np.array([own == label for own in labels])
        if test[members].all():
            test &= ~(members & (marks == marks[members].max()))
    if test.any():
        return test
    classes = np.array([str(label) for label in labels])
    for mark in np.unique(marks):  # the first that is not all of a class
        copies = marks == mark
        if len(np.unique(classes[~copies])) == len(np.unique(classes)):
            return copies
    if len(np.unique(marks)) > 1:
        return marks == marks.min()
    test[0] = True  # all are copies of one file
    return test
