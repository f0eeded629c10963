"""Assemble a data set: images, labels and captions, cut into a training and a test split."""

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
    """Decode listed images and cut them into two splits.

    Args:
        name: Short name of the data set.
        source: As the user typed it.
        items: The images. If each names its split, that is used; else a hash of the files decides.
        size: Side in pixels.
        color: Color mode.
        classes: Names of the classes; (): the labels of the items, sorted.

    Returns:
        The data set.

    Raises:
        DataError: For fewer than two readable images.
    """
    prepared = prepare(items, size, color, source)
    if len(prepared.items) < 2:
        raise DataError(
            f"{source} contains {len(prepared.items)} image(s): at least 2 are needed, one for training and "
            "one for testing, and hundreds for a useful model"
        )
    names = [item.label for item in prepared.items]
    labeled = all(label is not None for label in names)
    classes = classes or tuple(sorted({label for label in names if label is not None}))
    labels = np.array([classes.index(n) for n in names if n is not None], np.int64) if labeled else None
    captions = [item.caption or "" for item in prepared.items]
    splits = [item.split for item in prepared.items]
    if None in splits:
        test = split_by_content(prepared.digests, names, TEST_SHARE)
        rule = HASH_RULE
    else:
        test, rule = np.array([split == "test" for split in splits]), "as the files were split"
    dataset = split_dataset(
        name, source, prepared.pixels, labels, captions if any(captions) else None, test,
        classes if labeled else (), split_rule=rule, credit="",
    )  # fmt: skip
    return replace(dataset, skipped=tuple(prepared.broken), color_rule=prepared.color_rule)


def in_color(pixels: np.ndarray, color: Color) -> np.ndarray:
    """Convert an array of images to a color mode.

    Args:
        pixels: (N, H, W, C) uint8, C = 1 or 3.
        color: Color mode; "auto" changes nothing.

    Returns:
        (N, H, W, C') uint8.
    """
    if color == "rgb" and pixels.shape[3] == 1:
        return np.repeat(pixels, 3, axis=3)
    if color == "gray" and pixels.shape[3] == 3:
        return np.stack([in_mode(from_any(image), "gray") for image in pixels])
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
    """Cut one array into the two splits.

    Args:
        name: Name of the data set; made safe for a directory.
        source: As the user typed it.
        pixels: (N, H, W, C) uint8.
        labels: (N,) int64 class numbers, or None.
        captions: N captions, or None.
        test: (N,) bool, true for test images.
        classes: Names of the classes.
        split_rule: How the test images were chosen, in words.
        credit: Whose images these are.

    Returns:
        The data set, with its fingerprint.
    """
    splits = []
    for chosen in (~test, test):
        texts = [captions[int(i)] for i in np.flatnonzero(chosen)] if captions is not None else None
        splits.append(Split(pixels[chosen], None if labels is None else labels[chosen], texts))
    train, tested = splits
    dataset = Dataset(safe_name(name), source, train, tested, classes, split_rule, credit)
    return replace(dataset, fingerprint=fingerprint(train, tested))


def safe_name(name: str) -> str:
    """A name that is safe for a directory."""
    return readable_name(name, marks="-", most_bytes=80, empty="data")
