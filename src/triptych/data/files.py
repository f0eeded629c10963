"""Pictures in a folder, and what is known about them from folder names or a metadata file."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from triptych.core.errors import DataError
from triptych.data.dataset import Broken
from triptych.data.image_ops import Color, common_color, decode, in_mode, square

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
MOST_BROKEN = 0.1  # share of files beyond which something else is wrong


@dataclass(frozen=True)
class Item:
    """One picture to be prepared: a file or its bytes, and what is known about it."""

    name: str
    content: Path | bytes
    label: str | None = None
    caption: str | None = None
    split: str | None = None  # "train", "test", or undecided

    def data(self) -> bytes:
        """The encoded file. Raises OSError when it cannot be read."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


def list_folder(folder: Path) -> list[Item]:
    """Every picture of a folder in a fixed order.

    Class folders give labels; `metadata.csv` or `.jsonl` (column file_name, with label and text or
    caption) goes before them; folders named train and test give the split, and may have a metadata file
    each or one beside them (train/a.png). Raises DataError when there is no folder or no picture.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: expected a folder of pictures")
    halves = {name: folder / name for name in ("train", "test")}
    known = _metadata(folder)
    if all(half.is_dir() for half in halves.values()):
        found: list[Item] = []
        for name, half in halves.items():
            own = {k.removeprefix(f"{name}/"): v for k, v in known.items() if k.startswith(f"{name}/")}
            found += _list_half(half, name, {**own, **_metadata(half)})
    else:
        found = list(_list_half(folder, None, known))
    if not found:
        inside = sorted(path.name for path in folder.iterdir())[:3]
        held = f"no pictures, only things like {', '.join(inside)}" if inside else "nothing"
        raise DataError(
            f"{folder} holds {held}: expected {', '.join(sorted(SUFFIXES))} files, "
            "flat or in one folder a class"
        )
    return found


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
            raise DataError(f"{folder / 'metadata.jsonl'} is not one JSON object a line: {error}") from error
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
    """Pictures of one size, in the order given, and those that were passed over."""

    items: list[Item]
    pixels: np.ndarray  # (N, H, W, C) uint8
    digests: list[str]  # SHA-256 of each encoded file
    broken: list[Broken]
    color_rule: str = ""  # what was decided where some have color and some have none


def prepare(items: list[Item], size: int, color: Color, where: str) -> Prepared:
    """Decode, crop and resize. Raises DataError when more than a tenth cannot be read."""
    kept: list[Item] = []
    squares, digests, broken = [], [], []
    for item in items:
        try:
            data = item.data()
            squares.append(square(decode(data, size), size))
        except (OSError, DataError) as error:
            broken.append(Broken(item.name, getattr(error, "strerror", None) or str(error)))
            continue
        kept.append(item)
        digests.append(hashlib.sha256(data).hexdigest())
    if len(broken) > MOST_BROKEN * len(items):
        shown = "; ".join(f"{b.file}: {b.reason}" for b in broken[:3])
        raise DataError(
            f"{len(broken)} of {len(items)} pictures in {where} cannot be read, more than a tenth: {shown}. "
            f"See all with: triptych data inspect {where}"
        )
    rule = ""
    if color == "auto":
        color, rule = common_color(squares)
    return Prepared(kept, np.stack([in_mode(image, color) for image in squares]), digests, broken, rule)


def split_by_content(digests: list[str], labels: list[str | None], share: float) -> np.ndarray:
    """Which pictures are for testing, (N,) bool: by a hash of the file, so that adding one moves no other.

    Copies of a file fall on the same side. A class is never left without a training picture, and
    at least one picture is for testing.
    """
    marks = np.array([int(digest[:12], 16) / 16**12 for digest in digests])
    test = marks < share
    for label in set(labels):
        members = np.array([own == label for own in labels])
        if test[members].all():
            test &= ~(members & (marks == marks[members].max()))
    if test.any():
        return test
    kinds = np.array([str(label) for label in labels])
    for mark in np.unique(marks):  # the first that takes no class's last picture
        copies = marks == mark
        if len(np.unique(kinds[~copies])) == len(np.unique(kinds)):
            return copies
    if len(np.unique(marks)) > 1:
        return marks == marks.min()
    test[0] = True  # all are copies of one
    return test
