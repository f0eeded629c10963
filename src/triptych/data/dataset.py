"""Data sets: prepared images with labels, captions and factors, in two splits."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from triptych.core.errors import DataError
from triptych.core.types import ImageSpec
from triptych.data.image_ops import Color


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError while prepared images are written to `folder` into a DataError of one sentence."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        raise DataError(
            f"prepared images could not be written to {folder}: {reason}. Free space, or set "
            "TRIPTYCH_CACHE to another directory"
        ) from error


@dataclass(frozen=True)
class SkippedFile:
    """A file that could not be used, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Split:
    """Prepared images of one size and one number of channels; the pixels may be memory-mapped."""

    pixels: np.ndarray  # (N, H, W, C) uint8
    labels: np.ndarray | None = None  # (N,) int64
    captions: Sequence[str] | None = None
    factors: dict[str, np.ndarray] = field(default_factory=dict)  # known factors of variation, (N,) each

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Dataset:
    """An opened source: a training and a test split."""

    name: str  # short, safe for a directory
    source: str  # as typed
    train: Split
    test: Split
    class_names: tuple[str, ...] = ()
    split_rule: str = ""
    credit: str = ""
    skipped: tuple[SkippedFile, ...] = ()
    content_box: tuple[int, int, int, int] | None = None  # top, left, bottom, right of unpadded pixels
    fingerprint: str = ""  # SHA-256 over both splits
    color_rule: str = ""  # how images with and without color were made alike, in a sentence

    @property
    def spec(self) -> ImageSpec:
        """What the data determine for every model."""
        _, height, _, channels = self.train.pixels.shape
        return ImageSpec(channels, height, len(self.class_names), self.train.captions is not None)

    @property
    def class_counts(self) -> list[int]:
        """Training images of each class; empty when unlabeled."""
        if self.train.labels is None:
            return []
        return np.bincount(self.train.labels, minlength=len(self.class_names)).tolist()


def fingerprint(*splits: Split) -> str:
    """SHA-256 over pixels, labels and captions: the identity of a data set in runs and scores."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr(split.pixels.shape).encode())
        for start in range(0, len(split), 4096):  # memory-mapped: never all at once
            digest.update(split.pixels[start : start + 4096].tobytes())
        digest.update(b"" if split.labels is None else split.labels.tobytes())
        digest.update("\0".join(split.captions or ()).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Source:
    """A data set that `--data NAME` opens: each file in `datasets` has one, and `load.SOURCES` lists them."""

    name: str
    """As typed after `--data`."""
    open: Callable[[str, int, Color], Dataset]
    """Called with the name, the side in pixels and the color mode."""
    size: int = 32
    """Side in pixels, where `--size` is left out."""
    min_size: int = 4
    """Smallest side that makes sense."""
