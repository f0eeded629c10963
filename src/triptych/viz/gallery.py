"""Drawn images as files: a captioned grid, arrays, a folder, or the film of their making."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from triptych.viz import grids, image_files
from triptych.viz.image_files import ARRAYS, MOVING, STILL, kind_of, write_arrays, write_image

FILM_MS, LAST_MS = 120, 2000  # how long a frame of a film is shown, and the finished images


def fit_for_pictures(out: Path, film: bool = False) -> None:
    """Raises UsageError for a place that `write_pictures` or `write_film` could not write to."""
    if film:
        image_files.fit_for(out, (*MOVING, *ARRAYS), " (a film)")
    elif out.suffix and not out.is_dir():
        image_files.fit_for(out, (*STILL, *ARRAYS), ", or a folder's name")


def write_pictures(
    out: Path,
    drawn: np.ndarray,
    seeds: Sequence[int],
    names: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
) -> None:
    """Write (N, H, W, C) uint8 images in the order of their seeds.

    x.png, .jpg, .webp or .gif: a grid with each seed (and class name) under its image; x.npy: the images'
    array; x.npz: the arrays images, seeds and, where there are any, labels; otherwise a folder with one
    PNG a seed. Raises UsageError for any other extension.
    """
    fit_for_pictures(out)
    if kind_of(out) in ARRAYS:
        numbers = None if labels is None else np.asarray(labels, np.int64)
        write_arrays(out, drawn, seeds=np.asarray(seeds, np.int64), labels=numbers)
    elif kind_of(out) in STILL and not out.is_dir():
        write_image(out, captioned(drawn, seeds, names))
    else:
        out.mkdir(parents=True, exist_ok=True)
        for seed, picture in zip(seeds, drawn, strict=True):
            grids.write_png(out / f"{seed:06d}.png", picture)


def captioned(drawn: np.ndarray, seeds: Sequence[int], names: Sequence[str] | None = None) -> np.ndarray:
    """A grid of (N, H, W, C) uint8 images with each seed, and class name, below its image."""
    texts = [f"{seed} {names[k]}" if names else str(seed) for k, seed in enumerate(seeds)]
    return grids.grid(drawn, captions=texts, scale=max(1, 64 // drawn.shape[1]))


def write_film(
    out: Path,
    film: np.ndarray,
    seeds: Sequence[int],
    names: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
) -> None:
    """Write a film (F, N, H, W, C) uint8: x.gif or x.webp moves; x.npy and x.npz hold the frames."""
    fit_for_pictures(out, film=True)
    if kind_of(out) in ARRAYS:
        numbers = None if labels is None else np.asarray(labels, np.int64)
        write_arrays(out, film, seeds=np.asarray(seeds, np.int64), labels=numbers)
        return
    image_files.write_animation(out, [captioned(f, seeds, names) for f in film], FILM_MS, LAST_MS)
