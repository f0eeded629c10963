"""MNIST, Fashion-MNIST and CIFAR-10, in any of their published formats."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import urllib.error
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from triptych.core.cache import cache_home, fetch
from triptych.core.errors import DataError
from triptych.data.assemble import in_color
from triptych.data.cache import cached
from triptych.data.dataset import Dataset, Source, Split
from triptych.data.image_ops import Color, padded, resized
from triptych.data.parquet import read_parquet
from triptych.data.paths import search_paths

Raw = tuple[np.ndarray, np.ndarray]  # pixels (N, H, W, C) uint8, labels (N,) int64


@dataclass(frozen=True)
class PublishedSet:
    """A published data set: where it is searched and downloaded from, and its class names."""

    folders: tuple[str, ...]
    classes: tuple[str, ...]
    credit: str
    mirror: str
    files: dict[str, str]  # file name -> MD5
    idx: bool


MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
FASHION_FILES = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
SETS = {
    "mnist": PublishedSet(
        ("mnist",), tuple("0123456789"),
        "MNIST (LeCun, Cortes and Burges), CC BY-SA 3.0",
        "https://ossci-datasets.s3.amazonaws.com/mnist/", MNIST_FILES, idx=True,
    ),
    "fashion-mnist": PublishedSet(
        ("fashion_mnist", "fashion-mnist"),
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
         "Ankle boot"),
        "Fashion-MNIST (Xiao, Rasul and Vollgraf, Zalando Research, 2017), MIT",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", FASHION_FILES, idx=True,
    ),
    "cifar10": PublishedSet(
        ("cifar10", "cifar-10"),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        "CIFAR-10 (Krizhevsky, 2009, University of Toronto)",
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"}, idx=False,
    ),
}  # fmt: skip


def locate(name: str) -> dict[str, list[Path]]:
    """Find the files of each split in $TRIPTYCH_DATA and the user's cache; download them if need be.

    A DataError lists the directories where they are nowhere and cannot be downloaded.

    Args:
        name: The data set.

    Returns:
        {"train": [...], "test": [...]}.
    """
    known, pickled = SETS[name], False
    for home in search_paths():
        for folder in (home / own for own in known.folders):
            files = {split: _split_files(folder, known, split) for split in ("train", "test")}
            if all(files.values()):
                return files
            pickled = pickled or bool(list(folder.glob("*py*")) or list(folder.glob("*/data_batch_1")))
    note = " (a pickled archive is there, but pickles can run code: get the binary one)" if pickled else ""
    download(name, note)
    folder = cache_home() / "sets" / known.folders[0]
    return {split: _split_files(folder, known, split) for split in ("train", "test")}


def _split_files(folder: Path, known: PublishedSet, split: str) -> list[Path]:
    """The files of one split, in the first format that is complete; [] if there is none."""
    if known.idx:
        stem = "train" if split == "train" else "t10k"
        for end in (".gz", ""):
            pair = [folder / f"{stem}-images-idx3-ubyte{end}", folder / f"{stem}-labels-idx1-ubyte{end}"]
            if all(path.is_file() for path in pair):
                return pair
    else:
        names = [f"data_batch_{k}.bin" for k in range(1, 6)] if split == "train" else ["test_batch.bin"]
        for inner in (folder, folder / "cifar-10-batches-bin"):
            if all((inner / name).is_file() for name in names):
                return [inner / name for name in names]
        if (folder / "cifar-10-binary.tar.gz").is_file():
            return [folder / "cifar-10-binary.tar.gz"]
    table = folder / f"{split}.parquet"
    return [table] if table.is_file() else []


def read(files: list[Path], split: str) -> Raw:
    """Read the images and labels of one split, in the files' order.

    Args:
        files: As `locate` finds them.
        split: "train" or "test".

    Returns:
        Pixels (N, H, W, C) uint8 and labels (N,) int64.
    """
    first = files[0]
    if first.suffix == ".parquet":
        table = read_parquet(first)
        assert table.labels is not None
        return table.decoded(), table.labels
    if "idx" in first.name:
        pixels, labels = (read_idx(path) for path in files)
        return pixels[..., None], labels.astype(np.int64)
    if first.suffix == ".gz":
        with tarfile.open(first) as archive:
            wanted = "data_batch" if split == "train" else "test_batch"
            members = sorted((m for m in archive if wanted in m.name), key=lambda m: m.name)
            parts = [archive.extractfile(member).read() for member in members]  # type: ignore[union-attr]
    else:
        parts = [path.read_bytes() for path in files]
    rows = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, 3073)
    pixels = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (N, 32, 32, 3)
    return np.ascontiguousarray(pixels), rows[:, 0].astype(np.int64)


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes.

    Args:
        path: The file, gzipped if its name ends in .gz.

    Returns:
        A uint8 array of the file's shape.

    Raises:
        DataError: When it is damaged or another kind of file.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be unpacked ({error}): delete it and try again") from error
    if len(data) < 8 or data[:3] != b"\x00\x00\x08":
        raise DataError(f"{path} is not an IDX file of bytes: delete it and try again")
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4).astype(int)
    start = 4 + 4 * data[3]
    if len(data) - start != shape.prod():
        raise DataError(f"{path} is truncated: {len(data) - start:,} of {shape.prod():,} bytes")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def download(name: str, note: str = "") -> None:
    """Download a data set into the user's cache and verify every MD5.

    Args:
        name: The data set.
        note: Added to the error.

    Raises:
        DataError: When a file cannot be downloaded, or its MD5 is wrong.
    """
    known = SETS[name]
    home = cache_home() / "sets" / known.folders[0]
    home.mkdir(parents=True, exist_ok=True)
    for file, expected in known.files.items():
        target, partial = home / file, home / f".{file}.partial"
        if target.is_file():
            continue
        try:
            fetch(known.mirror + file, partial)
        except (OSError, urllib.error.URLError) as error:
            partial.unlink(missing_ok=True)
            searched = " and ".join(str(folder / known.folders[0]) for folder in search_paths())
            raise DataError(
                f"{name} was not found{note} and could not be downloaded ({error}). Searched {searched}"
                f"{'' if os.environ.get('TRIPTYCH_DATA') else ' (TRIPTYCH_DATA is not set)'} and "
                f"{known.mirror}. Put its files into one of these folders, or use --data digits, which "
                "needs no download"
            ) from error
        actual = hashlib.md5(partial.read_bytes(), usedforsecurity=False).hexdigest()
        if actual != expected:
            partial.unlink()
            raise DataError(f"{file} from {known.mirror} has MD5 {actual}, expected {expected}: try again")
        partial.rename(target)


def open_published(source: str, size: int, color: Color) -> Dataset:
    """Open a published data set, split as published; prepared once and then memory-mapped.

    Args:
        source: Its name.
        size: Side in pixels.
        color: Color mode.

    Returns:
        The data set.
    """
    files = [path for split in locate(source).values() for path in split]
    return cached(source, files, size, color, lambda *_: prepare_published(source, size, color))


def prepare_published(source: str, size: int, color: Color) -> Dataset:
    """Read and resize a published data set, split as published.

    Args:
        source: Its name.
        size: Side in pixels.
        color: Color mode.

    Returns:
        The data set.
    """
    known = SETS[source]
    splits: list[Split] = []
    box: tuple[int, int, int, int] | None = None
    for split, files in locate(source).items():
        pixels, labels = read(files, split)
        if side := padded_side(source, size):
            pixels, box = padded(pixels, side)
        if size != pixels.shape[1]:
            pixels, box = resized(pixels, size), None
        splits.append(Split(in_color(pixels, color), labels))
    train, test = splits
    return Dataset(source, source, train, test, known.classes, "as published", known.credit, content_box=box)


def padded_side(source: str, size: int) -> int | None:
    """The side to which 28-pixel images are padded before any resizing: padding is exact, resizing blurs.

    Args:
        source: Name of the data set.
        size: Side of the prepared images in pixels; beyond 32 the padded images are resized.

    Returns:
        The side in pixels; None: images of this source are not padded.
    """
    known = SETS.get(source.removeprefix("stacked:"))
    return min(size, 32) if known is not None and known.idx and size >= 28 else None


SOURCES = tuple(Source(name, open_published) for name in SETS)
