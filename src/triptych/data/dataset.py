"""Prepared pictures, and batches of them that are a function of (seed, step) alone."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from triptych.core.errors import DataError
from triptych.core.types import ImageSpec


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """Say in one sentence what goes wrong while prepared pictures are written to `folder`."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        raise DataError(
            f"prepared pictures could not be kept in {folder}: {reason}. Free space, or point "
            "TRIPTYCH_CACHE elsewhere"
        ) from error


@dataclass(frozen=True)
class Broken:
    """A file that was passed over, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Split:
    """Prepared pictures: the same size, the same channels, perhaps memory-mapped."""

    pixels: np.ndarray  # (N, H, W, C) uint8
    labels: np.ndarray | None = None  # (N,) int64
    captions: Sequence[str] | None = None
    factors: dict[str, np.ndarray] = field(default_factory=dict)  # known causes of each picture, (N,)

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Dataset:
    """A source, opened: a training and a test split that never share a picture."""

    name: str  # short, fit for a directory's name
    source: str  # as typed
    train: Split
    test: Split
    class_names: tuple[str, ...] = ()
    split_rule: str = ""
    credit: str = ""
    skipped: tuple[Broken, ...] = ()
    content_box: tuple[int, int, int, int] | None = None  # top, left, bottom, right of unpadded pixels
    fingerprint: str = ""  # SHA-256 over both splits
    color_rule: str = ""  # a sentence on what was decided where some images have color and some have none

    @property
    def spec(self) -> ImageSpec:
        """What the data fixes for every family."""
        _, height, _, channels = self.train.pixels.shape
        return ImageSpec(channels, height, len(self.class_names), self.train.captions is not None)

    @property
    def class_counts(self) -> list[int]:
        """Training pictures of each class; empty when unlabelled."""
        if self.train.labels is None:
            return []
        return np.bincount(self.train.labels, minlength=len(self.class_names)).tolist()


def fingerprint(*splits: Split) -> str:
    """SHA-256 over pixels, labels and captions: two sources with the same one hold the same pictures."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr(split.pixels.shape).encode())
        for start in range(0, len(split), 4096):  # memory-mapped: never all at once
            digest.update(split.pixels[start : start + 4096].tobytes())
        digest.update(b"" if split.labels is None else split.labels.tobytes())
        digest.update("\0".join(split.captions or ()).encode())
    return digest.hexdigest()
