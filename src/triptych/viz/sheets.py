"""Sheets of pictures with names: rows at the left, columns at the top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ImageDraw, ImageFont

from triptych.core.images import is_points
from triptych.viz import grids as pictures
from triptych.viz.image_files import (
    ARRAYS,
    MOVING,
    STILL,
    fit_for,
    kind_of,
    write_animation,
    write_arrays,
    write_image,
)
from triptych.viz.scatter import cloud

CELL_PX = 64  # a picture is enlarged by a whole number to about this
FONT_PX = 11


def sheet(
    shown: np.ndarray,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    faint: int = 0,
) -> np.ndarray:
    """Lay out a table of pictures: (R, F, H, W, C) uint8 -> (height, width, C) uint8.

    rows, columns: their names, R and F short texts. Points of a plane, (R, F, 1, 1, 2), become one drawing
    a row, without names of columns. faint: of points, how many of a row's first are drawn faintly, below
    the others.
    """
    if is_points(shown):
        shown, columns = np.stack([cloud(row[faint:], row[:faint]) for row in shown])[:, None], None
    count, across, height, width, channels = shown.shape
    scale = max(1, CELL_PX // height)
    cells = pictures.grid(shown.reshape(-1, height, width, channels), across, scale=scale)
    font = ImageFont.load_default(size=FONT_PX)
    left = 8 + int(
        max((font.getlength(line) for name in rows or () for line in name.split("\n")), default=-8)
    )
    top = FONT_PX + 6 if columns else 0
    page = np.full((cells.shape[0] + top, cells.shape[1] + left, channels), 255, np.uint8)
    page[top:, left:] = cells
    drawn = pictures.to_pil(page)
    pen, ink = ImageDraw.Draw(drawn), 0 if channels == 1 else (0, 0, 0)
    step_down, step_across = (cells.shape[0] - 2) // count, (cells.shape[1] - 2) // across
    for k, name in enumerate(rows or ()):
        pen.text((4, top + step_down * (k + 0.5)), name, fill=ink, font=font, anchor="lm")
    for k, name in enumerate(columns or ()):
        pen.text((left + step_across * (k + 0.5) + 1, 2), name, fill=ink, font=font, anchor="ma")
    return np.asarray(drawn).reshape(page.shape)


def framed(shown: np.ndarray, left: np.ndarray, top: np.ndarray) -> np.ndarray:
    """A table with a picture before each row and above each column, white in the corner.

    shown: (R, F, H, W, C), left: (R, H, W, C), top: (F, H, W, C). Returns (R + 1, F + 1, H, W, C).
    """
    corner = np.full_like(left[:1], 255)
    below = np.concatenate([left[:, None], shown], 1)
    return np.concatenate([np.concatenate([corner, top])[None], below])


def fit_for_a_sheet(out: Path) -> None:
    """Raises UsageError for a file that `write_sheet` could not write, by its name or its place."""
    fit_for(out, (*STILL, *ARRAYS))


def write_sheet(
    out: Path,
    shown: np.ndarray,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    faint: int = 0,
    moves: bool = False,
) -> None:
    """Write a table of images: x.png, .jpg, .webp or .gif as `sheet`, or its array (R, F, H, W, C).

    x.npy holds the array alone, x.npz also the names of rows and columns. moves: columns follow each other
    in time, so that GIF and WebP become an animation, to the end and back, with one image a row. Raises
    UsageError as `fit_for_a_sheet` does.
    """
    fit_for_a_sheet(out)
    if kind_of(out) in ARRAYS:
        names = {"rows": rows, "columns": columns}
        write_arrays(out, shown, **{k: np.asarray(v, np.str_) for k, v in names.items() if v is not None})
    elif moves and kind_of(out) in MOVING and shown.shape[1] > 1:
        frames = [
            _moment(shown[:, k], rows, None if columns is None else columns[k]) for k in range(shown.shape[1])
        ]
        write_animation(out, frames + frames[-2:0:-1])
    else:
        write_image(out, sheet(shown, rows, columns, faint))


def _moment(shown: np.ndarray, rows: Sequence[str] | None, column: str | None) -> np.ndarray:
    """One frame of an animation: (R, H, W, C) with the names of row and column below each image."""
    names = list(rows or [""] * len(shown)) if len(shown) > 1 else [""]
    texts = [" ".join(filter(None, (name.replace("\n", " "), column))) for name in names]
    return pictures.grid(
        shown, captions=texts if any(texts) else None, scale=max(1, CELL_PX // shown.shape[1])
    )
