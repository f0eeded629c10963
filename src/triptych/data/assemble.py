"""From images with labels and captions to a data set with two splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from triptych.core.errors import DataError
from triptych.core.filenames import readable_name
from triptych.data.dataset import Dataset, Split, fingerprint
from triptych.data.files import Item, prepare, split_by_content
from triptych.data.image_ops import Color, from_any, in_mode

TEST_SHARE = 0.1
HASH_RULE = "a tenth for testing, chosen by a hash of each file"


def from_items(
    name: str, source: str, items: list[Item], size: int, color: Color, classes: tuple[str, ...] = ()
) -> Dataset:
    """Decode listed images and cut them into two splits."""
    found = prepare(items, size, color, source)
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
    made = split_dataset(
        name, source, found.pixels, labels, captions if any(captions) else None, test,
        classes if labelled else (), split_rule=rule, credit="",
    )  # fmt: skip
    return replace(made, skipped=tuple(found.broken), color_rule=found.color_rule)


def in_color(pixels: np.ndarray, color: Color) -> np.ndarray:
    """(N, H, W, C) in the mode asked for."""
    if color == "rgb" and pixels.shape[3] == 1:
        return np.repeat(pixels, 3, axis=3)
    if color == "gray" and pixels.shape[3] == 3:
        return np.stack([in_mode(from_any(picture), "gray") for picture in pixels])
    return pixels


def split_dataset(
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
