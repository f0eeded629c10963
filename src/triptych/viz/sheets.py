"""Tables of images with names: rows at the left, columns at the top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ImageDraw, ImageFont

from triptych.core.images import is_points
from triptych.viz import grids
from triptych.viz.image_files import (
    ARRAYS,
    MOVING,
    STILL,
    extension_of,
    fit_for,
    write_animation,
    write_arrays,
    write_image,
)
from triptych.viz.scatter import cloud

CELL_PX = 64  # an image is enlarged by a whole number to about this
FONT_PX = 11


def sheet(
    images: np.ndarray,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    faint: int = 0,
) -> np.ndarray:
    """Lay out a table of images with names.

    2-D points, (R, F, 1, 1, 2), become one scatter plot for each row, without names of columns.

    Args:
        images: (R, F, H, W, C) uint8.
        rows: R short names; None: without.
        columns: F short names; None: without.
        faint: Of 2-D points: how many of a row's first ones are drawn faintly, below the others.

    Returns:
        (height, width, C) uint8.
    """
    if is_points(images):
        images, columns = np.stack([cloud(row[faint:], row[:faint]) for row in images])[:, None], None
    count, across, height, width, channels = images.shape
    scale = max(1, CELL_PX // height)
    cells = grids.grid(images.reshape(-1, height, width, channels), across, scale=scale)
    font = ImageFont.load_default(size=FONT_PX)
    left = 8 + int(
        max((font.getlength(line) for name in rows or () for line in name.split("\n")), default=-8)
    )
    top = FONT_PX + 6 if columns else 0
    page = np.full((cells.shape[0] + top, cells.shape[1] + left, channels), 255, np.uint8)
    page[top:, left:] = cells
    drawn = grids.to_pil(page)
    pen, ink = ImageDraw.Draw(drawn), 0 if channels == 1 else (0, 0, 0)
    step_down, step_across = (cells.shape[0] - 2) // count, (cells.shape[1] - 2) // across
    for k, name in enumerate(rows or ()):
        pen.text((4, top + step_down * (k + 0.5)), name, fill=ink, font=font, anchor="lm")
    for k, name in enumerate(columns or ()):
        pen.text((left + step_across * (k + 0.5) + 1, 2), name, fill=ink, font=font, anchor="ma")
    return np.asarray(drawn).reshape(page.shape)


def framed(images: np.ndarray, left: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Put an image before each row and above each column of a table, white in the corner.

    Args:
        images: (R, F, H, W, C) uint8.
        left: (R, H, W, C) uint8.
        top: (F, H, W, C) uint8.

    Returns:
        (R + 1, F + 1, H, W, C) uint8.
    """
    corner = np.full_like(left[:1], 255)
    below = np.concatenate([left[:, None], images], 1)
    return np.concatenate([np.concatenate([corner, top])[None], below])


def fit_for_a_sheet(out: Path) -> None:
    """Raises UsageError for a file that `write_sheet` could not write, by its name or its place."""
    fit_for(out, (*STILL, *ARRAYS))


def write_sheet(
    out: Path,
    images: np.ndarray,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    faint: int = 0,
    moves: bool = False,
) -> None:
    """Write a table of images: x.png, .jpg, .webp or .gif as `sheet`, x.npy or x.npz as an array.

    x.npy holds the array (R, F, H, W, C) alone, x.npz also the names of rows and columns. Any other extension
    is a UsageError.

    Args:
        out: Where to.
        images: (R, F, H, W, C) uint8.
        rows: R short names; None: without.
        columns: F short names; None: without.
        faint: As in `sheet`.
        moves: Whether columns follow each other in time: GIF and WebP are then an animation, forward and
            back, with one image for each row.
    """
    fit_for_a_sheet(out)
    if extension_of(out) in ARRAYS:
        names = {"rows": rows, "columns": columns}
        write_arrays(out, images, **{k: np.asarray(v, np.str_) for k, v in names.items() if v is not None})
    elif moves and extension_of(out) in MOVING and images.shape[1] > 1:
        frames = [
            _moment(images[:, k], rows, None if columns is None else columns[k])
            for k in range(images.shape[1])
        ]
        write_animation(out, frames + frames[-2:0:-1])
    else:
        write_image(out, sheet(images, rows, columns, faint))


def _moment(images: np.ndarray, rows: Sequence[str] | None, column: str | None) -> np.ndarray:
    """One frame of an animation: (R, H, W, C) with the names of row and column below each image."""
    names = list(rows or [""] * len(images)) if len(images) > 1 else [""]
    texts = [" ".join(filter(None, (name.replace("\n", " "), column))) for name in names]
    return grids.grid(
        images, captions=texts if any(texts) else None, scale=max(1, CELL_PX // images.shape[1])
    )
