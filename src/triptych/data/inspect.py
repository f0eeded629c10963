"""Inspect a source: what it contains, which files are broken, and how it would be prepared."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from triptych.core.errors import DataError
from triptych.core.images import is_points
from triptych.data.dataset import Dataset, Split
from triptych.data.datasets.celeba import CROP_PX
from triptych.data.files import MAX_BROKEN_SHARE, Item, list_folder
from triptych.data.image_ops import Color, decode, quiet_pillow
from triptych.data.load import load

LOSSY = ("JPEG", "WEBP", "MPO", "GIF")


@dataclass(frozen=True)
class Inspection:
    """The content of a source. Counts are of files for folders, of prepared images for others."""

    source: str
    images: int
    splits: dict[str, int]
    classes: dict[str, int]
    attributes: dict[str, int] = field(default_factory=dict)  # binary attribute -> images that have it
    sizes: dict[str, int] = field(default_factory=dict)  # "640x480" -> files, the most frequent first
    modes: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    broken: list[tuple[str, str]] = field(default_factory=list)
    duplicates: int = 0  # images equal to an earlier one of their split, pixel by pixel
    leaks: int = 0  # test images that are also training images
    plan: list[str] = field(default_factory=list)  # how it would be prepared

    def content(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return dict(vars(self))

    def rows(self) -> list[str]:
        """Everything, in lines for a terminal."""
        lines = [f"{self.source}: {self.images:,} images"]
        lines += [f"  {name:<8} {count:,}" for name, count in self.splits.items()]
        if self.classes:
            lines.append(f"  {len(self.classes)} classes:")
            lines += [f"    {name:<20} {count:,}" for name, count in self.classes.items()]
        if self.attributes:
            lines.append(f"  {len(self.attributes)} attributes:")
            lines += [f"    {name:<20} {n:,} ({n / self.images:.0%})" for name, n in self.attributes.items()]
        for title, counts in (("sizes", self.sizes), ("modes", self.modes), ("formats", self.formats)):
            if counts:
                listed = ", ".join(f"{name} ({count:,})" for name, count in list(counts.items())[:6])
                rest = f" and {len(counts) - 6} more" if len(counts) > 6 else ""
                lines.append(f"  {title}: {listed}{rest}")
        lossy = sum(count for name, count in self.formats.items() if name in LOSSY)
        if lossy:
            lines.append(f"  {lossy:,} files are in lossy formats: their compression artifacts affect scores")
        lines.append(f"  exact duplicates: {self.duplicates:,}; test images also in training: {self.leaks:,}")
        if self.broken:
            lines.append(f"  broken, skipped: {len(self.broken)}")
            lines += [f"    {name}: {reason}" for name, reason in self.broken]
        return [*lines, "  preparation:", *(f"    {step}" for step in self.plan)]


def inspect(source: str, *, size: int | None = None, color: Color = "auto") -> Inspection:
    """Inspect a source.

    A UsageError for an unknown source, and a DataError for one that cannot be opened at all, are passed on.

    Args:
        source: As `load` takes it.
        size: Side of the prepared images in pixels; None: what suits the source.
        color: Color mode.

    Returns:
        What it contains.
    """
    folder = _folder_of(source)
    if folder is None:
        return _of_dataset(source, load(source, size=size, color=color))
    items = list_folder(folder)
    sizes, modes, formats = Counter[str](), Counter[str](), Counter[str]()
    broken: list[tuple[str, str]] = []
    for item in items:
        try:
            data = item.data()
            decode(data, size or 64)
            with quiet_pillow(), Image.open(io.BytesIO(data)) as image:
                sizes[f"{image.width}x{image.height}"] += 1
                modes[image.mode] += 1
                formats[image.format or "?"] += 1
        except (OSError, DataError) as error:
            broken.append((item.name, getattr(error, "strerror", None) or str(error)))
    rule = f"refused when more than {MAX_BROKEN_SHARE:.0%} of the files are broken"
    facts: dict[str, Any] = {
        "sizes": dict(sizes.most_common()),
        "modes": dict(modes.most_common()),
        "formats": dict(formats.most_common()),
        "broken": broken,
    }
    try:
        opened = _of_dataset(source, load(source, size=size, color=color))
    except DataError as error:
        return Inspection(
            source, len(items), {}, dict(Counter(_classes(items))), plan=[f"refused: {error}"], **facts
        )
    return Inspection(**{**vars(opened), "images": len(items), "plan": [*opened.plan, rule], **facts})


def _folder_of(source: str) -> Path | None:
    scheme, _, path = source.partition(":")
    if scheme == "folder" and path:
        return Path(path).expanduser()
    return Path(source).expanduser() if Path(source).expanduser().is_dir() else None


def _classes(items: Sequence[Item]) -> list[str]:
    return [item.label for item in items if item.label is not None]


def _of_dataset(source: str, dataset: Dataset) -> Inspection:
    train, test = _digests(dataset.train), _digests(dataset.test)
    trained = set(train)
    spec = dataset.spec
    how = ", padded, not resized" if dataset.content_box else ", center-cropped, resized by Lanczos"
    pixels = f"{spec.size}x{spec.size} pixels, {'gray' if spec.channels == 1 else 'color'}{how}"
    steps = [dataset.color_rule] if dataset.color_rule else []
    steps += [
        "points in the plane: two coordinates in 256 levels, so some coincide"
        if is_points(dataset.train.pixels)
        else pixels,
        f"split: {dataset.split_rule}",
    ]
    if dataset.name == "celeba":
        steps[-2] += f", crop of {CROP_PX} pixels"
    counts = dict(zip(dataset.class_names, dataset.class_counts, strict=False))
    return Inspection(
        source=source,
        images=len(train) + len(test),
        splits={"train": len(train), "test": len(test)},
        classes=counts,
        attributes=_attributes(dataset),
        broken=[(b.file, b.reason) for b in dataset.skipped],
        duplicates=len(train) - len(trained) + len(test) - len(set(test)),
        leaks=sum(digest in trained for digest in set(test)),
        plan=steps,
    )


def _attributes(dataset: Dataset) -> dict[str, int]:
    """Binary factor -> how many images have it."""
    halves = (dataset.train.factors, dataset.test.factors)
    joined = {name: np.concatenate([half[name] for half in halves]) for name in halves[0]}
    binary = {n: v for n, v in joined.items() if np.issubdtype(v.dtype, np.integer) and v.max() <= 1}
    return {name: int(values.sum()) for name, values in binary.items()}


def _digests(split: Split) -> list[bytes]:
    return [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in split.pixels]
