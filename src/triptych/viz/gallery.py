"""Sampled images as files: a captioned grid, arrays, a folder, or an animation of the sampling steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from triptych.viz import grids, image_files
from triptych.viz.image_files import ARRAYS, MOVING, STILL, extension_of, write_arrays, write_image

FILM_MS, LAST_MS = 120, 2000  # how long a frame of an animation is shown, and the finished images


def check_images_path(out: Path, film: bool = False) -> None:
    """Check that `write_images` or `write_sampling_animation` can write to a place.

    Args:
        out: Where to.
        film: Whether an animation is to be written.
    """
    if film:
        image_files.fit_for(out, (*MOVING, *ARRAYS), " (an animation)")
    elif out.suffix and not out.is_dir():
        image_files.fit_for(out, (*STILL, *ARRAYS), ", or a folder's name")


def write_images(
    out: Path,
    drawn: np.ndarray,
    seeds: Sequence[int],
    names: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
) -> None:
    """Write images in the order of their seeds.

    x.png, .jpg, .webp or .gif: a grid with each seed (and class name) below its image; x.npy: the images'
    array; x.npz: the arrays images, seeds and, where there are any, labels; otherwise a folder with one PNG
    for each seed. Any other extension is a UsageError.

    Args:
        out: Where to.
        drawn: (N, H, W, C) uint8.
        seeds: N seeds.
        names: N class names; None: without.
        labels: N class numbers; None: without.
    """
    check_images_path(out)
    if extension_of(out) in ARRAYS:
        numbers = None if labels is None else np.asarray(labels, np.int64)
        write_arrays(out, drawn, seeds=np.asarray(seeds, np.int64), labels=numbers)
    elif extension_of(out) in STILL and not out.is_dir():
        write_image(out, captioned(drawn, seeds, names))
    else:
        out.mkdir(parents=True, exist_ok=True)
        for seed, image in zip(seeds, drawn, strict=True):
            grids.write_png(out / f"{seed:06d}.png", image)


def captioned(drawn: np.ndarray, seeds: Sequence[int], names: Sequence[str] | None = None) -> np.ndarray:
    """Lay images out in a grid with "seed" or "seed: class name" below each image.

    Args:
        drawn: (N, H, W, C) uint8.
        seeds: N seeds.
        names: N class names; None: without.

    Returns:
        (height, width, C) uint8.
    """
    texts = [f"{seed}: {names[k]}" if names else str(seed) for k, seed in enumerate(seeds)]
    return grids.grid(drawn, captions=texts, scale=max(1, 64 // drawn.shape[1]))


def write_sampling_animation(
    out: Path,
    film: np.ndarray,
    seeds: Sequence[int],
    names: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
) -> None:
    """Write the steps of a sampler: x.gif or x.webp as an animation, x.npy or x.npz as an array.

    Args:
        out: Where to.
        film: (F, N, H, W, C) uint8, F frames of N images.
        seeds: N seeds.
        names: N class names; None: without.
        labels: N class numbers; None: without.
    """
    check_images_path(out, film=True)
    if extension_of(out) in ARRAYS:
        numbers = None if labels is None else np.asarray(labels, np.int64)
        write_arrays(out, film, seeds=np.asarray(seeds, np.int64), labels=numbers)
        return
    image_files.write_animation(out, [captioned(f, seeds, names) for f in film], FILM_MS, LAST_MS)
