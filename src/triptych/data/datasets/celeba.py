"""CelebA in its official layout: aligned faces, forty attributes each, and the published split.

Liu, Luo, Wang and Tang 2015, "Deep learning face attributes in the wild". The set may not be passed on, so
it is never downloaded here.
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
from triptych.data.dataset import Broken, Dataset, Split, keeping
from triptych.data.files import MOST_BROKEN
from triptych.data.image_ops import Color, decode, in_mode, square
from triptych.data.paths import places

ATTRIBUTES, PARTITION, PICTURES = "list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba"
WIDTH_PX, HEIGHT_PX = 178, 218  # of every aligned picture
CROP_PX = 148  # the square from the middle in which most papers show these faces
CHUNK = 1024  # pictures prepared between two writes
CREDIT = "CelebA (Liu, Luo, Wang and Tang 2015, MMLAB, CUHK), for non-commercial research"
RULE = "as published; the validation pictures are trained on, since nothing here is tuned on them"
WHERE = (
    "It may not be passed on, so fetch it yourself: from the CelebA project page the aligned and cropped "
    f"pictures ({PICTURES}.zip, unpacked or not), {ATTRIBUTES} and {PARTITION}"
)
OWN = "Or take any faces with --data folder:PATH"

Read = Callable[[str], bytes]


@dataclass(frozen=True)
class Layout:
    """Where the three parts lie."""

    attributes: Path
    partition: Path
    pictures: Path  # a folder, or the zip

    def parts(self) -> list[Path]:
        """What the cache goes by: not each of 202,599 files, for asking after them all takes seconds."""
        return [self.attributes, self.partition, self.pictures]


def locate() -> Layout:
    """The set's parts, in `celeba/` in the places of named sets or in its Anno, Eval and Img.

    Raises DataError that names the places, or the parts that are missing.
    """
    folders = [place / "celeba" for place in places()]
    folder = next((found for found in folders if found.is_dir()), None)
    if folder is None:
        looked = " and ".join(map(str, folders))
        unset = "" if os.environ.get("TRIPTYCH_DATA") else " (TRIPTYCH_DATA is not set)"
        raise DataError(f"celeba is not here: looked for {looked}{unset}. {WHERE}, into that folder. {OWN}")
    found = {name: _within(folder, name) for name in (ATTRIBUTES, PARTITION, PICTURES)}
    found[PICTURES] = found[PICTURES] or _within(folder, f"{PICTURES}.zip")
    if missing := [name for name, path in found.items() if path is None]:
        raise DataError(f"{folder} lacks {' and '.join(missing)}. {WHERE}. {OWN}")
    attributes, partition, pictures = (path for path in found.values() if path is not None)
    inner = pictures / PICTURES  # as some unpackers leave it
    return Layout(attributes, partition, inner if inner.is_dir() else pictures)


def _within(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, *sorted(folder.glob(f"*/{name}"))) if path.exists()), None)


def read_partition(path: Path) -> dict[str, int]:
    """File name -> 0 (training), 1 (validation) or 2 (test). Raises DataError for other lines."""
    found = {}
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise DataError(f"{path}, line {number}: expected a file name and 0, 1 or 2, got {line[:60]!r}")
        found[words[0]] = int(words[1])
    if not {0, 2} <= set(found.values()):
        raise DataError(f"{path} names no pictures for training (0) or none for testing (2): fetch it again")
    return found


def read_attributes(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Attribute -> (N,) int64, 1 where a picture of `names` has it, else 0.

    The file: a count, the attributes' names, then a file name and -1 or 1 for each. Raises DataError where
    it is otherwise or lacks a picture.
    """
    lines = _lines(path)
    count, words, rows = "".join(lines[:1]), "".join(lines[1:2]).split(), lines[2:]
    if not count.strip().isdigit() or not words:
        raise DataError(f"{path} must begin with a count and a line of names, got {count[:60]!r}")
    if len(rows) != int(count):
        raise DataError(
            f"{path} says that it has {int(count):,} rows and has {len(rows):,}: it is cut short or was "
            "changed, fetch it again"
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
            f"{path} says nothing of {len(absent):,} of the {len(names):,} pictures that {PARTITION} names, "
            f"{absent[0]} for one: fetch both again"
        )
    table = np.array([known[name] for name in names], np.int64)  # (N, attributes)
    return {word: table[:, k].copy() for k, word in enumerate(words)}


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as text ({error}): fetch it again") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def prepare(layout: Layout, size: int, color: Literal["gray", "rgb"], into: Path) -> Dataset:
    """Crop and resize all pictures, straight into `train.pixels.npy` and `test.pixels.npy` of `into`.

    Several threads decode, a chunk at a time: the set is larger than many memories. Raises DataError
    when more than a tenth of the pictures is missing or broken.
    """
    partition = read_partition(layout.partition)
    names = list(partition)
    factors = read_attributes(layout.attributes, names)
    halves: dict[str, list[int]] = {"train": [], "test": []}
    for row, name in enumerate(names):
        halves["test" if partition[name] == 2 else "train"].append(row)
    splits, broken = [], list[Broken]()
    with _reader(layout, names) as read:
        for half, rows in halves.items():
            pixels, kept = _pour(read, names, rows, size, color, into / f"{half}.pixels.npy", broken)
            splits.append(Split(pixels, factors={name: values[kept] for name, values in factors.items()}))
    if len(broken) > MOST_BROKEN * len(names):
        shown = "; ".join(f"{b.file}: {b.reason}" for b in broken[:3])
        raise DataError(
            f"{len(broken):,} of {len(names):,} pictures in {layout.pictures} are no use: {shown}"
        )
    train, test = splits
    return Dataset("celeba", "celeba", train, test, (), RULE, CREDIT, tuple(broken))


@contextmanager
def _reader(layout: Layout, names: list[str]) -> Iterator[Read]:
    """A function from a picture's name to its file. Raises DataError when more than a tenth is not there."""
    where = layout.pictures
    if where.is_dir():
        _count(where, names, {path.name for path in where.iterdir()})
        yield lambda name: (where / name).read_bytes()
        return
    try:
        archive = zipfile.ZipFile(where)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{where} is not a whole zip ({error}): fetch it again") from error
    with archive:
        places = {entry.rpartition("/")[2]: entry for entry in archive.namelist()}
        _count(where, names, set(places))
        yield lambda name: archive.read(places[name])


def _count(where: Path, names: list[str], present: set[str]) -> None:
    missing = [name for name in names if name not in present]
    if len(missing) > MOST_BROKEN * len(names):
        raise DataError(
            f"{where} holds {len(names) - len(missing):,} of the {len(names):,} pictures that {PARTITION} "
            f"names; {missing[0]} is missing, for one. Unpack or fetch {PICTURES}.zip again, or take what is "
            f"there with --data folder:{where}"
        )


def _pour(
    read: Read,
    names: list[str],
    rows: list[int],
    size: int,
    color: Literal["gray", "rgb"],
    target: Path,
    broken: list[Broken],
) -> tuple[np.ndarray, list[int]]:
    """Write the pictures of `rows` to a .npy file; returns it, mapped, and the rows that could be used.

    A plain file and not a map of one: on a full disk a map ends the process without a word.
    """
    kept: list[int] = []
    with keeping(target.parent.parent), target.open("w+b") as file, ThreadPoolExecutor(_threads()) as pool:
        _head(file, (len(rows), size, size, 1 if color == "gray" else 3))
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            found = pool.map(lambda row: _face(read, names[row], size, color), chunk)
            for row, face in zip(chunk, found, strict=True):
                if isinstance(face, Broken):
                    broken.append(face)
                else:
                    file.write(face.tobytes())
                    kept.append(row)
        file.seek(0)
        _head(file, (len(kept), size, size, 1 if color == "gray" else 3))
    return np.load(target, mmap_mode="r", allow_pickle=False), kept


def _threads() -> int:
    """Pillow decodes and resizes outside Python's lock."""
    return min(16, os.cpu_count() or 1)


def _head(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Begin a .npy file of bytes; NumPy leaves room for any count, so that it can be written again."""
    about = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)


def _face(read: Read, name: str, size: int, color: Literal["gray", "rgb"]) -> np.ndarray | Broken:
    """(size, size, C) uint8: the middle square of one picture."""
    try:
        image = decode(read(name), max(WIDTH_PX, size))
        if image.size != (WIDTH_PX, HEIGHT_PX):
            raise DataError(f"is {image.width}x{image.height}, expected {WIDTH_PX}x{HEIGHT_PX}: not aligned")
    except KeyError:
        return Broken(name, "missing")
    except (OSError, EOFError, DataError, zipfile.BadZipFile, zlib.error) as error:
        return Broken(name, getattr(error, "strerror", None) or str(error))
    return in_mode(square(middle(image), size), color)


def middle(image: Image.Image) -> Image.Image:
    """The square of an aligned picture that is used."""
    left, top = (WIDTH_PX - CROP_PX) // 2, (HEIGHT_PX - CROP_PX) // 2
    return image.crop((left, top, left + CROP_PX, top + CROP_PX))


def open_celeba(source: str, size: int, color: Color, into: Path) -> Dataset:
    """CelebA, prepared into a folder."""
    return prepare(locate(), size, "gray" if color == "gray" else "rgb", into)
