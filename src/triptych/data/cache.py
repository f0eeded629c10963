"""The cache of prepared pixels."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from triptych.core.cache import cache_home
from triptych.data.assemble import safe_name
from triptych.data.dataset import Dataset, SkippedFile, Split, disk_errors, fingerprint
from triptych.data.image_ops import Color

VERSION = 3  # increase it when preparation changes: older caches are then ignored


def cached(
    source: str, files: Sequence[Path], size: int, color: Color, make: Callable[..., Dataset]
) -> Dataset:
    """Prepare a data set once, then memory-map it from disk.

    The cache key is a hash of the files' paths, lengths and modification times rather than their bytes:
    hashing a hundred thousand photos at every start would take minutes. The fingerprint, which identifies
    the data in scores and runs, is a hash of the pixels themselves.

    Args:
        source: As the user typed it.
        files: All files that the pixels depend on.
        size: Side in pixels.
        color: Color mode.
        make: Prepares the data set, called as make(source, size, color, into). What does not fit into memory
            it writes to the directory `into`, as `train.pixels.npy` and `test.pixels.npy`.

    Returns:
        The data set, its pixels memory-mapped.
    """
    mode = "grey" if color == "gray" else color  # as the option was spelled when the first caches were made
    digest = hashlib.sha256(json.dumps([source, size, mode, VERSION]).encode())
    for path in sorted(files):
        try:
            status = path.stat()
        except OSError:  # a dangling link: named by `prepare`
            continue
        digest.update(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    home = cache_home() / "pixels" / f"{safe_name(source)}-{size}px-{digest.hexdigest()[:16]}"
    if not (home / "about.json").is_file():
        _store(lambda into: make(source, size, color, into), home)
    return replace(_open(home), source=source)


def _store(make: Callable[[Path], Dataset], home: Path) -> None:
    """Write prepared pixels under a temporary name, then rename: two processes at once do no harm."""
    partial = home.with_name(f".{home.name}.{os.getpid()}")
    try:
        with disk_errors(home.parent):
            partial.mkdir(parents=True, exist_ok=True)
        dataset = make(partial)
        with disk_errors(home.parent):
            _write(dataset, partial)
            try:
                partial.rename(home)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else another process was first
                    raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(dataset: Dataset, folder: Path) -> None:
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        arrays = {"pixels": split.pixels, "labels": split.labels, **split.factors}
        for part, array in arrays.items():
            path = folder / f"{name}.{part}.npy"
            if array is not None and not path.is_file():  # else `make` wrote it there
                np.save(path, array, allow_pickle=False)
    about = {
        "name": dataset.name,
        "class_names": dataset.class_names,
        "split_rule": dataset.split_rule,
        "credit": dataset.credit,
        "content_box": dataset.content_box,
        "color_rule": dataset.color_rule,
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
        if "colour" in parts:  # in caches of older versions
            parts["color"] = parts.pop("colour")
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
        skipped=tuple(SkippedFile(*pair) for pair in about["skipped"]),
        content_box=tuple(box) if box else None,
        fingerprint=about["fingerprint"],
        color_rule=about.get("color_rule", about.get("colour_rule", "")),
    )
