"""Open a source by its name, or the data of a run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from triptych.core.errors import DataError, UsageError
from triptych.core.nearest import did_you_mean
from triptych.data.cache import cached
from triptych.data.dataset import Dataset, Source
from triptych.data.datasets import celeba, digits, emoji, published, ring, shapes, stacked_mnist
from triptych.data.datasets.folder import open_folder
from triptych.data.datasets.memory import open_memory
from triptych.data.datasets.parquet import open_parquet
from triptych.data.files import list_folder
from triptych.data.image_ops import Color

SOURCES: tuple[Source, ...] = (
    digits.SOURCE,
    shapes.SOURCE,
    *published.SOURCES,
    emoji.SOURCE,
    celeba.SOURCE,
    ring.SOURCE,
    stacked_mnist.SOURCE,
)
PATH_SOURCES = ("folder:PATH", "parquet:PATH")
MAX_SIZE, USER_IMAGE_SIZE = 1024, 64


def load(source: Any, *, size: int | None = None, color: Color = "auto") -> Dataset:
    """Open a source of images. Data that cannot be used are a DataError.

    Args:
        source: The name of one of `SOURCES`, `folder:PATH`, `parquet:PATH` or just a folder; an array
            (N, H, W[, C]) uint8; or an iterable of Pillow images or arrays.
        size: Side in pixels, at most 1024; None: what suits the source.
        color: Color mode; "auto": that of most of the images.

    Returns:
        The prepared data set.

    Raises:
        UsageError: For an unknown name or a size out of range.
    """
    named = {entry.name: entry for entry in SOURCES}.get(source) if isinstance(source, str) else None
    min_size = named.min_size if named else 4
    if size is not None and not min_size <= size <= MAX_SIZE:
        raise UsageError(f"--size must be in {min_size}..{MAX_SIZE} pixels, got {size}")
    if named:
        return named.open(source, size or named.size, color)
    if not isinstance(source, str):
        return open_memory(source, size, color)
    scheme, _, path = source.partition(":")
    if scheme == "parquet" and path:
        return open_parquet(source, Path(path).expanduser(), size or USER_IMAGE_SIZE, color)
    if (scheme == "folder" and path) or Path(source).expanduser().is_dir():
        folder = Path(path if scheme == "folder" else source).expanduser()
        return load_folder(folder, size or USER_IMAGE_SIZE, color)
    names = [*(entry.name for entry in SOURCES), *PATH_SOURCES]
    hint = did_you_mean(source, [name.removesuffix(":PATH") for name in names])
    raise UsageError(f"unknown data source {source!r}.{hint} There are: {', '.join(names)}")


def load_folder(folder: Path, size: int, color: Color) -> Dataset:
    """Open a folder of images, prepared once and then memory-mapped.

    Args:
        folder: The folder.
        size: Side in pixels.
        color: Color mode.

    Returns:
        The data set.
    """
    items = list_folder(folder)
    files = [item.content for item in items if isinstance(item.content, Path)]
    files += [p for home in (".", "train", "test") for p in (folder / home).glob("metadata.*")]
    return cached(f"folder:{folder}", files, size, color, lambda *_: open_folder(folder, items, size, color))


class DataDescription(Protocol):
    """What a run's card records of its data: see `triptych.runs.card.DataCard`."""

    @property
    def source(self) -> str:
        """As given to `--data`."""

    @property
    def size(self) -> int | None:
        """The requested side in pixels; None: the source's default."""

    @property
    def color(self) -> Color:
        """The requested color mode."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all images and labels."""

    @property
    def class_names(self) -> Sequence[str]:
        """The names of the classes."""

    @property
    def train(self) -> int:
        """Number of training images."""

    @property
    def test(self) -> int:
        """Number of test images."""


def reopen(recorded: DataDescription, owner: Path, given: Any = None) -> Dataset:
    """Open the data of a run again.

    Args:
        recorded: What its run.json records of them.
        owner: The run's directory, for the error.
        given: The images themselves, as `load` takes them or as a Dataset, where they came from Python.

    Returns:
        The same data set that the run was trained on.

    Raises:
        DataError: When the data have changed since.
    """
    dataset = given
    if not isinstance(given, Dataset):
        source = recorded.source if given is None else given
        dataset = load(source, size=recorded.size, color=recorded.color)
    if dataset.fingerprint == recorded.fingerprint:
        return dataset
    if recorded.color == "auto" and dataset.color_rule and not isinstance(given, Dataset):
        for color in ("rgb", "gray"):  # older versions took color for all if one image had color
            other = load(source, size=recorded.size, color=color)
            if other.fingerprint == recorded.fingerprint:
                return other
    counts = {
        "classes": (len(dataset.class_names), len(recorded.class_names)),
        "training images": (len(dataset.train), recorded.train),
        "test images": (len(dataset.test), recorded.test),
    }
    changes = [f"{now:,} {what}, had {then:,}" for what, (now, then) in counts.items() if now != then]
    raise DataError(
        f"{dataset.name} is not what {owner} was trained on (fingerprint {dataset.fingerprint[:12]}, was "
        f"{recorded.fingerprint[:12]}{'; it has ' if changes else ''}{'; '.join(changes)}): restore the old "
        "images, or train a new run"
    )
