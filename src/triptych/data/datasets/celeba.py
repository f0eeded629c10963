"""CelebA in its official layout: aligned faces, forty attributes each, and the published split.

Liu, Luo, Wang and Tang 2015, "Deep learning face attributes in the wild". Its terms forbid redistribution,
so it is never downloaded here.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from triptych.core.errors import DataError
from triptych.data.cache import cached
from triptych.data.dataset import Dataset, SkippedFile, Source, Split, disk_errors
from triptych.data.files import MAX_BROKEN_SHARE
from triptych.data.image_ops import Color, decode, in_mode, square
from triptych.data.paths import search_paths

ATTRIBUTES, PARTITION, IMAGES = "list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba"
WIDTH_PX, HEIGHT_PX = 178, 218  # of every aligned image
CROP_PX = 148  # the center crop that most papers use
CHUNK = 1024  # images prepared between two writes
CREDIT = "CelebA (Liu, Luo, Wang and Tang 2015, MMLAB, CUHK), for non-commercial research"
RULE = "as published; validation images are used for training, since nothing here is tuned on them"
WHERE = (
    "Its terms forbid redistribution, so download it yourself, from the CelebA project page: the aligned and "
    f"cropped images ({IMAGES}.zip, unpacked or not), {ATTRIBUTES} and {PARTITION}"
)
OWN = "Or use other faces with --data folder:PATH"

Read = Callable[[str], bytes]


@dataclass(frozen=True)
class Layout:
    """Where the three parts are."""

    attributes: Path
    partition: Path
    images: Path  # a folder, or the zip

    def parts(self) -> list[Path]:
        """What the cache key is made of: not each of 202,599 files, as to stat them all takes seconds."""
        return [self.attributes, self.partition, self.images]


def locate() -> Layout:
    """Find the parts of the data set in `celeba/` of the search paths, or in its subfolders.

    Returns:
        Where they are.

    Raises:
        DataError: With the directories searched, or the parts that are missing.
    """
    folders = [path / "celeba" for path in search_paths()]
    folder = next((path for path in folders if path.is_dir()), None)
    if folder is None:
        searched = " and ".join(map(str, folders))
        unset = "" if os.environ.get("TRIPTYCH_DATA") else " (TRIPTYCH_DATA is not set)"
        raise DataError(f"celeba was not found: searched {searched}{unset}. {WHERE}, into that folder. {OWN}")
    parts = {name: _within(folder, name) for name in (ATTRIBUTES, PARTITION, IMAGES)}
    parts[IMAGES] = parts[IMAGES] or _within(folder, f"{IMAGES}.zip")
    if missing := [name for name, path in parts.items() if path is None]:
        raise DataError(f"{folder} lacks {' and '.join(missing)}. {WHERE}. {OWN}")
    attributes, partition, images = (path for path in parts.values() if path is not None)
    inner = images / IMAGES  # some archivers leave a second folder
    return Layout(attributes, partition, inner if inner.is_dir() else images)


def _within(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, *sorted(folder.glob(f"*/{name}"))) if path.exists()), None)


def read_partition(path: Path) -> dict[str, int]:
    """Read the published split.

    Args:
        path: The file: a line with a file name and a number for each image.

    Returns:
        File name -> 0 (training), 1 (validation) or 2 (test).

    Raises:
        DataError: For other lines, or an empty split.
    """
    splits = {}
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise DataError(f"{path}, line {number}: expected a file name and 0, 1 or 2, got {line[:60]!r}")
        splits[words[0]] = int(words[1])
    if not {0, 2} <= set(splits.values()):
        raise DataError(f"{path} lists no images for training (0) or none for testing (2): download it again")
    return splits


def read_attributes(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Read the attributes of images.

    Args:
        path: The file: a count, the attributes' names, then a line with a file name and -1 or 1 for each.
        names: The file names of N images.

    Returns:
        Attribute -> (N,) int64, 1 where the image has it, else 0.

    Raises:
        DataError: For another format, or when an image is missing.
    """
    lines = _lines(path)
    count, words, rows = "".join(lines[:1]), "".join(lines[1:2]).split(), lines[2:]
    if not count.strip().isdigit() or not words:
        raise DataError(f"{path} must begin with a count and a line of attribute names, got {count[:60]!r}")
    if len(rows) != int(count):
        raise DataError(
            f"{path} declares {int(count):,} rows and has {len(rows):,}: it is truncated or was changed, "
            "download it again"
        )
    known: dict[str, list[bool]] = {}
    for number, row in enumerate(rows, 3):
        name, *values = row.split() or [""]
        if len(values) != len(words) or not set(values) <= {"1", "-1"}:
            raise DataError(
                f"{path}, line {number}: expected a file name and {len(words)} times -1 or 1, "
                f"got {row[:60]!r}"
            )
        known[name] = [value == "1" for value in values]
    if absent := [name for name in names if name not in known]:
        raise DataError(
            f"{path} lacks {len(absent):,} of the {len(names):,} images that {PARTITION} lists, for example "
            f"{absent[0]}: download both again"
        )
    table = np.array([known[name] for name in names], np.int64)  # (N, attributes)
    return {word: table[:, k].copy() for k, word in enumerate(words)}


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as text ({error}): download it again") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def prepare(layout: Layout, size: int, color: Literal["gray", "rgb"], into: Path) -> Dataset:
    """Crop and resize all images into `train.pixels.npy` and `test.pixels.npy`.

    Several threads decode, a chunk at a time: the data set may be larger than the memory.

    Args:
        layout: Where the parts are.
        size: Side in pixels.
        color: Color mode.
        into: Directory to write to.

    Returns:
        The data set, its pixels memory-mapped.

    Raises:
        DataError: When more than a tenth of the images are missing or broken.
    """
    partition = read_partition(layout.partition)
    names = list(partition)
    factors = read_attributes(layout.attributes, names)
    halves: dict[str, list[int]] = {"train": [], "test": []}
    for row, name in enumerate(names):
        halves["test" if partition[name] == 2 else "train"].append(row)
    splits, broken = [], list[SkippedFile]()
    with _reader(layout, names) as read:
        for half, rows in halves.items():
            pixels, kept = _write_split(read, names, rows, size, color, into / f"{half}.pixels.npy", broken)
            splits.append(Split(pixels, factors={name: values[kept] for name, values in factors.items()}))
    if len(broken) > MAX_BROKEN_SHARE * len(names):
        examples = "; ".join(f"{b.file}: {b.reason}" for b in broken[:3])
        raise DataError(
            f"{len(broken):,} of {len(names):,} images in {layout.images} cannot be used: {examples}"
        )
    train, test = splits
    return Dataset("celeba", "celeba", train, test, (), RULE, CREDIT, tuple(broken))


@contextmanager
def _reader(layout: Layout, names: list[str]) -> Iterator[Read]:
    """A function from a file name to its bytes. Raises DataError when more than a tenth are missing."""
    where = layout.images
    if where.is_dir():
        _count(where, names, {path.name for path in where.iterdir()})
        yield lambda name: (where / name).read_bytes()
        return
    try:
        archive = zipfile.ZipFile(where)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{where} is not a complete zip file ({error}): download it again") from error
    with archive:
        entries = {entry.rpartition("/")[2]: entry for entry in archive.namelist()}
        _count(where, names, set(entries))
        yield lambda name: archive.read(entries[name])


def _count(where: Path, names: list[str], present: set[str]) -> None:
    missing = [name for name in names if name not in present]
    if len(missing) > MAX_BROKEN_SHARE * len(names):
        raise DataError(
            f"{where} contains {len(names) - len(missing):,} of the {len(names):,} images that {PARTITION} "
            f"lists; {missing[0]} is missing, for example. Unpack or download {IMAGES}.zip again, or use "
            f"what is there with --data folder:{where}"
        )


def _write_split(
    read: Read,
    names: list[str],
    rows: list[int],
    size: int,
    color: Literal["gray", "rgb"],
    target: Path,
    broken: list[SkippedFile],
) -> tuple[np.ndarray, list[int]]:
    """Write the images of `rows` to a .npy file; return it, memory-mapped, and the rows that could be used.

    Written as a plain file: writing to a memory map on a full disk kills the process.
    """
    kept: list[int] = []
    with (
        disk_errors(target.parent.parent),
        target.open("w+b") as file,
        ThreadPoolExecutor(_threads()) as pool,
    ):
        _write_header(file, (len(rows), size, size, 1 if color == "gray" else 3))
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            faces = pool.map(lambda row: _face(read, names[row], size, color), chunk)
            for row, face in zip(chunk, faces, strict=True):
                if isinstance(face, SkippedFile):
                    broken.append(face)
                else:
                    file.write(face.tobytes())
                    kept.append(row)
        file.seek(0)
        _write_header(file, (len(kept), size, size, 1 if color == "gray" else 3))
    return np.load(target, mmap_mode="r", allow_pickle=False), kept


def _threads() -> int:
    """Threads that decode: Pillow decodes and resizes without holding the GIL."""
    return min(16, os.cpu_count() or 1)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Write the header of a uint8 .npy file; NumPy pads it, so that another count can overwrite it."""
    about = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)


def _face(read: Read, name: str, size: int, color: Literal["gray", "rgb"]) -> np.ndarray | SkippedFile:
    """One image, cropped and resized: (size, size, C) uint8."""
    try:
        image = decode(read(name), max(WIDTH_PX, size))
        if image.size != (WIDTH_PX, HEIGHT_PX):
            raise DataError(f"is {image.width}x{image.height}, expected {WIDTH_PX}x{HEIGHT_PX}: not aligned")
    except KeyError:
        return SkippedFile(name, "missing")
    except (OSError, EOFError, DataError, zipfile.BadZipFile, zlib.error) as error:
        return SkippedFile(name, getattr(error, "strerror", None) or str(error))
    return in_mode(square(middle(image), size), color)


def middle(image: Image.Image) -> Image.Image:
    """The center crop of an aligned image."""
    left, top = (WIDTH_PX - CROP_PX) // 2, (HEIGHT_PX - CROP_PX) // 2
    return image.crop((left, top, left + CROP_PX, top + CROP_PX))


def open_celeba(source: str, size: int, color: Color) -> Dataset:
    """Open CelebA.

    Args:
        source: As the user typed it.
        size: Side in pixels.
        color: Color mode; "auto": color.

    Returns:
        The data set.
    """
    files = locate()

    def make(source: str, size: int, color: Color, into: Path) -> Dataset:
        return prepare(files, size, "gray" if color == "gray" else "rgb", into)

    return cached(source, files.parts(), size, color, make)


SOURCE = Source("celeba", open_celeba, size=64)
