"""Prepared pictures, and batches of them that are a function of (seed, step) alone."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from triptych.core.family import Batch, ImageSpec
from triptych.core.images import to_float
from triptych.core.seeds import mix


class DataError(ValueError):
    """Data that cannot be used; the message says what came, what was expected and what to do."""


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
    colour_rule: str = ""  # a sentence on what was decided where some images have color and some have none

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


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(mix(seed, "order", epoch)).permutation(count)  # (count,)


def batches(
    split: Split,
    size: int,
    seed: int,
    first: int = 0,
    flip: bool = False,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch]:
    """Endless batches; batch k is a function of (seed, k), so a resumed run needs no loader state.

    Position p = k * size + i of the run's stream is picture order(epoch)[p mod N] with epoch = p div N:
    every picture once an epoch, also when a batch spans two epochs or a set is smaller than a batch.
    flip mirrors half of them. size is the global batch; worker `rank` of `world` gets its share.
    """
    if size % world:
        raise DataError(f"a batch of {size} cannot be shared evenly by {world} workers")
    share = size // world
    rows = np.arange(rank * share, (rank + 1) * share)  # (B,)
    step = first
    while True:
        epochs, places = np.divmod(step * size + rows, len(split))  # (B,) each
        index = np.empty_like(places)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            index[here] = _order(len(split), seed, int(epoch))[places[here]]
        pixels = split.pixels[index]  # (B, H, W, C)
        if flip:
            mirrored = np.random.default_rng(mix(seed, "flip", step)).random(size)[rows] < 0.5  # (B,)
            pixels[mirrored] = pixels[mirrored, :, ::-1]
        yield Batch(
            images=to_float(pixels),
            labels=None if split.labels is None else torch.from_numpy(split.labels[index]),
            captions=None if split.captions is None else tuple(split.captions[i] for i in index),
            rows=torch.from_numpy(rows),
            global_size=size,
        )
        step += 1
