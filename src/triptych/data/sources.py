"""`load`: from what the user typed to a Dataset, through a cache of prepared pixels."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from triptych.core.cache import cache_home
from triptych.core.errors import UsageError
from triptych.core.filenames import readable_name
from triptych.core.nearest import did_you_mean
from triptych.data import celeba, named, points, shapes, stacked
from triptych.data.dataset import Broken, DataError, Dataset, Split, fingerprint, keeping
from triptych.data.files import Item, list_folder, prepare, split_by_content
from triptych.data.prepare import Colour, common_colour, from_any, in_mode, padded, resized, square
from triptych.data.tables import read_parquet, together

CODE = 3  # raise it when preparation changes: caches made before are then left alone
KNOWN = (
    "digits", "shapes", "mnist", "fashion-mnist", "cifar10", "emoji", "celeba", "points:ring",
    "stacked:mnist", "folder:PATH", "parquet:PATH",
)  # fmt: skip
IN_MEMORY = "given from Python"  # the source's name where pictures came as an array or an iterable
TEST_SHARE = 0.1
HASH_RULE = "a tenth for testing, chosen by a hash of each file"


def load(source: Any, *, size: int | None = None, colour: Colour = "auto") -> Dataset:
    """Open a source of pictures.

    source: a name (`digits`, `shapes`, `mnist`, `fashion-mnist`, `cifar10`, `emoji`, `celeba`, `points:ring`,
    `stacked:mnist`, `folder:PATH`, `parquet:PATH`, or just a folder), an array (N, H, W[, C]) uint8, or
    an iterable of Pillow pictures or arrays. size: side in pixels; None takes what suits the source.
    colour: auto makes all grey, or all colored, as most images are.

    Raises UsageError for an unknown name and DataError for data that
    cannot be used.
    """
    if isinstance(source, str) and source == "points:ring":
        return _ring(source, size, colour)
    if size is not None and not 4 <= size <= 1024:
        raise UsageError(f"size must lie in 4..1024 pixels, got {size}")
    if not isinstance(source, str):
        return _from_memory(source, size, colour)
    if source == "digits":
        return _digits(size or 16, colour)
    if source == "shapes":
        return _cached(source, [], size or 32, colour, _shapes)
    if source in named.SETS:
        files = named.locate(source)
        return _cached(source, [p for part in files.values() for p in part], size or 32, colour, _named)
    if source == "stacked:mnist":
        return _three_digits(source, size or 32, colour)
    if source == "emoji":
        return _table("emoji", _emoji_path(), size or 64, colour)
    if source == "celeba":
        return _cached(source, celeba.locate().parts(), size or 64, colour, _celeba)
    kind, _, path = source.partition(":")
    if kind == "parquet" and path:
        return _table(source, Path(path).expanduser(), size or 64, colour)
    if (kind == "folder" and path) or Path(source).expanduser().is_dir():
        folder = Path(path if kind == "folder" else source).expanduser()
        items = list_folder(folder)
        files_ = [item.content for item in items if isinstance(item.content, Path)]
        files_ += [p for home in (".", "train", "test") for p in (folder / home).glob("metadata.*")]
        return _cached(
            f"folder:{folder}",
            files_,
            size or 64,
            colour,
            lambda *_: _folder(folder, items, size or 64, colour),
        )
    whole = [name.removesuffix(":PATH") for name in KNOWN]
    hint = did_you_mean(source, whole)
    raise UsageError(f"unknown data source {source!r}.{hint} There are: {', '.join(KNOWN)}")


# --- sources -------------------------------------------------------------------------------


def _digits(size: int, colour: Colour) -> Dataset:
    """scikit-learn's 1,797 real 8x8 digits, made larger by Lanczos."""
    from sklearn.datasets import load_digits

    stored = load_digits()
    levels = np.round(stored.images * (255 / 16)).astype(np.uint8)  # (N, 8, 8), 0..16 stored
    marks = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in levels]
    test = np.array([int(mark[:12], 16) / 16**12 < 1 / 6 for mark in marks])
    pixels = _colour(resized(levels[..., None], size), colour)
    labels = stored.target.astype(np.int64)
    return _dataset(
        "digits", "digits", pixels, labels, None, test, tuple("0123456789"),
        split_rule="a sixth for testing, chosen by a hash of each picture",
        credit="Optical recognition of handwritten digits (Alpaydin and Kaynak, UCI), CC BY 4.0, "
        "from scikit-learn",
    )  # fmt: skip


def _shapes(source: str, size: int, colour: Colour, *_: Any) -> Dataset:
    splits = []
    for count, seed in ((20_000, 1), (4_000, 2)):
        factors = shapes.draw_factors(count, seed)
        pixels = _colour(shapes.paint(factors, size), "rgb" if colour == "auto" else colour)
        splits.append(Split(pixels, factors["kind"], shapes.captions(factors), factors))
    rule = "drawn from two seeds: 20,000 for training, 4,000 for testing"
    train, test = splits
    return Dataset("shapes", source, train, test, shapes.KINDS, rule, "drawn by Triptych")


def _ring(source: str, size: int | None, colour: Colour) -> Dataset:
    if size not in (None, 1):
        raise UsageError(f"points are 1 x 1 px, got a size of {size}: leave out --size")
    if colour != "auto":
        raise UsageError(f"points have two coordinates and no colours, got {colour}: leave out --colour")
    train, test = (Split(*points.draw_ring(count, seed)) for count, seed in ((20_000, 1), (4_000, 2)))
    rule = "drawn from two seeds: 20,000 for training, 4,000 for testing"
    made = Dataset("points-ring", source, train, test, points.DIRECTIONS, rule, "drawn by Triptych")
    return replace(made, fingerprint=fingerprint(train, test))


def _three_digits(source: str, size: int, colour: Colour) -> Dataset:
    """Unlabelled, the digits as known causes: a thousand classes would be 60 pictures each."""
    if colour == "grey":
        raise UsageError("the colours of stacked:mnist are its three digits: leave out --colour grey")
    files = [p for part in named.locate("mnist").values() for p in part]

    def make(*_: Any) -> Dataset:
        digits = _named("mnist", size, "grey")
        splits = []
        for name, split in (("train", digits.train), ("test", digits.test)):
            assert split.labels is not None
            pixels, causes = stacked.stack(split.pixels, split.labels, name)
            splits.append(Split(pixels, factors=causes))
        rule = "triples of training digits for training, of test digits for testing, drawn from two seeds"
        train, test = splits
        box = digits.content_box
        return Dataset("stacked-mnist", source, train, test, (), rule, digits.credit, content_box=box)

    return _cached(source, files, size, "auto", make)


def _named(source: str, size: int, colour: Colour, *_: Any) -> Dataset:
    known = named.SETS[source]
    splits: list[Split] = []
    box: tuple[int, int, int, int] | None = None
    for split, files in named.locate(source).items():
        pixels, labels = named.read(files, split)
        if side := padded_side(source, size):
            pixels, box = padded(pixels, side)
        if size != pixels.shape[1]:
            pixels, box = resized(pixels, size), None
        splits.append(Split(_colour(pixels, colour), labels))
    train, test = splits
    return Dataset(source, source, train, test, known.classes, "as published", known.credit, content_box=box)


def padded_side(source: str, size: int) -> int | None:
    """The side, px, to which a source's 28 px pictures are padded on their way to `size`; None: they are not.

    Grey on black: padding is exact where resizing blurs. Beyond 32 px the padded pictures are resized.
    """
    known = named.SETS.get(source.removeprefix("stacked:"))
    return min(size, 32) if known is not None and known.idx and size >= 28 else None


def _celeba(source: str, size: int, colour: Colour, into: Path) -> Dataset:
    return celeba.prepare(celeba.locate(), size, "grey" if colour == "grey" else "rgb", into)


def _emoji_path() -> Path:
    for place in named.places():
        if (found := place / "noto_emoji" / "train.parquet").is_file():
            return found
    looked = " and ".join(str(place / "noto_emoji" / "train.parquet") for place in named.places())
    raise DataError(f"the emoji are not here: looked for {looked}. Or use --data shapes, also captioned")


def _table(source: str, path: Path, size: int, colour: Colour) -> Dataset:
    """A Parquet file, or a folder of them whose names begin with train and test."""
    if path.is_dir():
        halves = {name: sorted(path.glob(f"{name}*.parquet")) for name in ("train", "test")}
        files = {name: found for name, found in halves.items() if found}
    else:
        files = {"all": [path]} if path.is_file() else {}
    if not files:
        raise DataError(f"there is no Parquet file at {path}: expected a file, or train*.parquet in a folder")
    paths = [p for found in files.values() for p in found]

    def make(*_: Any) -> Dataset:
        items: list[Item] = []
        classes: tuple[str, ...] = ()
        for split, found in files.items():
            for file in found:
                table = read_parquet(file)
                classes = together(classes, table.class_names)
                for row, data in enumerate(table.encoded):
                    number = -1 if table.labels is None else int(table.labels[row])
                    label = table.class_names[number] if number >= 0 else None
                    caption = table.captions[row] if table.captions else None
                    half = split if set(files) == {"train", "test"} else None
                    items.append(Item(f"{file.name}#{row}", data or b"", label, caption, half))
        name = "emoji" if source == "emoji" else f"parquet-{path.stem}"
        return _from_items(name, source, items, size, colour, classes)

    return _cached(source, paths, size, colour, make)


def _folder(folder: Path, items: list[Item], size: int, colour: Colour) -> Dataset:
    return _from_items(f"folder-{folder.resolve().name}", f"folder:{folder}", items, size, colour)


def _from_items(
    name: str, source: str, items: list[Item], size: int, colour: Colour, classes: tuple[str, ...] = ()
) -> Dataset:
    found = prepare(items, size, colour, source)
    if len(found.items) < 2:
        raise DataError(
            f"{source} holds {len(found.items)} picture(s): at least 2 are needed, one to learn from and one "
            "to test on, and hundreds to learn anything worth looking at"
        )
    names = [item.label for item in found.items]
    labelled = all(label is not None for label in names)
    classes = classes or tuple(sorted({label for label in names if label is not None}))
    labels = np.array([classes.index(n) for n in names if n is not None], np.int64) if labelled else None
    captions = [item.caption or "" for item in found.items]
    given = [item.split for item in found.items]
    if None in given:
        test = split_by_content(found.digests, names, TEST_SHARE)
        rule = HASH_RULE
    else:
        test, rule = np.array([split == "test" for split in given]), "as the files were split"
    made = _dataset(
        name, source, found.pixels, labels, captions if any(captions) else None, test,
        classes if labelled else (), split_rule=rule, credit="",
    )  # fmt: skip
    return replace(made, skipped=tuple(found.broken), colour_rule=found.colour_rule)


def _from_memory(source: Any, size: int | None, colour: Colour) -> Dataset:
    """An array or an iterable of pictures, kept in memory."""
    if isinstance(source, np.ndarray) and source.ndim not in (3, 4):
        raise DataError(f"expected pictures as (N, H, W[, C]) uint8, got {source.shape} {source.dtype}")
    if not isinstance(source, Iterable):
        raise DataError(f"expected a source's name, an array or an iterable of pictures, got {type(source)}")
    images = [from_any(item) for item in source]
    if len(images) < 2:
        raise DataError(f"at least 2 pictures are needed, got {len(images)}")
    side = size or min(min(image.size) for image in images)
    mode, rule = common_colour(images) if colour == "auto" else (colour, "")
    pixels = np.stack([in_mode(square(image, side), mode) for image in images])
    digests = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels]
    test = split_by_content(digests, [None] * len(pixels), TEST_SHARE)
    made = _dataset("array", IN_MEMORY, pixels, None, None, test, (), HASH_RULE, "")
    return replace(made, colour_rule=rule)


def _colour(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    """(N, H, W, C) in the mode asked for."""
    if colour == "rgb" and pixels.shape[3] == 1:
        return np.repeat(pixels, 3, axis=3)
    if colour == "grey" and pixels.shape[3] == 3:
        return np.stack([in_mode(from_any(picture), "grey") for picture in pixels])
    return pixels


def _dataset(
    name: str,
    source: str,
    pixels: np.ndarray,
    labels: np.ndarray | None,
    captions: Sequence[str] | None,
    test: np.ndarray,
    classes: tuple[str, ...],
    split_rule: str,
    credit: str,
) -> Dataset:
    """Cut one array into the two splits. test: (N,) bool."""
    splits = []
    for chosen in (~test, test):
        words = [captions[int(i)] for i in np.flatnonzero(chosen)] if captions is not None else None
        splits.append(Split(pixels[chosen], None if labels is None else labels[chosen], words))
    train, tested = splits
    made = Dataset(safe_name(name), source, train, tested, classes, split_rule, credit)
    return replace(made, fingerprint=fingerprint(made.train, made.test))


def safe_name(name: str) -> str:
    """A name fit for a directory."""
    return readable_name(name, marks="-", most_bytes=80, empty="data")


# --- the cache of prepared pixels ------------------------------------------------------------


def _cached(
    source: str, files: Sequence[Path], size: int, colour: Colour, make: Callable[..., Dataset]
) -> Dataset:
    """Prepare once, then map from disk.

    make: from (source, size, colour, into) to the pictures; into: a folder where it may have written
    pixels too many for memory, as `train.pixels.npy` and `test.pixels.npy`.

    The key is made of the files' paths, lengths and modification times rather than their bytes:
    hashing a hundred thousand photos at every start would take minutes, and a changed file has a new
    time. The fingerprint, which scores and runs go by, is made of the pixels themselves.
    """
    digest = hashlib.sha256(json.dumps([source, size, colour, CODE]).encode())
    for path in sorted(files):
        try:
            status = path.stat()
        except OSError:  # a dangling link: named by `prepare`
            continue
        digest.update(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    home = cache_home() / "pixels" / f"{safe_name(source)}-{size}px-{digest.hexdigest()[:16]}"
    if not (home / "about.json").is_file():
        _store(lambda into: make(source, size, colour, into), home)
    return replace(_open(home), source=source)


def _store(make: Callable[[Path], Dataset], home: Path) -> None:
    """Write prepared pixels under a temporary name, then rename: two at once do no harm."""
    partial = home.with_name(f".{home.name}.{os.getpid()}")
    try:
        with keeping(home.parent):
            partial.mkdir(parents=True, exist_ok=True)
        dataset = make(partial)
        with keeping(home.parent):
            _write(dataset, partial)
            try:
                partial.rename(home)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else: another process was first
                    raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(dataset: Dataset, folder: Path) -> None:
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        arrays = {"pixels": split.pixels, "labels": split.labels, **split.factors}
        for part, array in arrays.items():
            path = folder / f"{name}.{part}.npy"
            if array is not None and not path.is_file():  # else whoever prepared it wrote it there
                np.save(path, array, allow_pickle=False)
    about = {
        "name": dataset.name,
        "class_names": dataset.class_names,
        "split_rule": dataset.split_rule,
        "credit": dataset.credit,
        "content_box": dataset.content_box,
        "colour_rule": dataset.colour_rule,
        "skipped": [[b.file, b.reason] for b in dataset.skipped],
        "captions": {
            "train": None if dataset.train.captions is None else list(dataset.train.captions),
            "test": None if dataset.test.captions is None else list(dataset.test.captions),
        },
        "fingerprint": dataset.fingerprint or fingerprint(dataset.train, dataset.test),
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _open(home: Path) -> Dataset:
    about = json.loads((home / "about.json").read_text(encoding="utf-8"))
    splits = []
    for name in ("train", "test"):
        parts = {path.name.split(".")[1]: path for path in sorted(home.glob(f"{name}.*.npy"))}
        arrays = {
            part: np.load(path, mmap_mode="r" if part == "pixels" else None, allow_pickle=False)
            for part, path in parts.items()
        }
        splits.append(
            Split(arrays.pop("pixels"), arrays.pop("labels", None), about["captions"][name], arrays)
        )
    box = about["content_box"]
    return Dataset(
        name=about["name"],
        source="",
        train=splits[0],
        test=splits[1],
        class_names=tuple(about["class_names"]),
        split_rule=about["split_rule"],
        credit=about["credit"],
        skipped=tuple(Broken(*pair) for pair in about["skipped"]),
        content_box=tuple(box) if box else None,
        fingerprint=about["fingerprint"],
        colour_rule=about.get("colour_rule", ""),
    )
