"""Sheets of pictures with names: rows at the left, columns at the top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ImageDraw, ImageFont

from triptych.core import images as pictures
from triptych.core.errors import UsageError
from triptych.core.scatter import cloud, is_points
from triptych.core.targets import fit_to_write

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
    if out.suffix not in (".png", ".npy"):
        raise UsageError(f"--out {out}: expected a .png (a sheet with names) or a .npy (the pictures' array)")
    fit_to_write(out, "--out")


def write_sheet(
    out: Path,
    shown: np.ndarray,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    faint: int = 0,
) -> None:
    """Write a table of pictures: x.png as `sheet`, or x.npy, the array (R, F, H, W, C) as it is.

    Raises UsageError as `fit_for_a_sheet` does.
    """
    fit_for_a_sheet(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npy":
        np.save(out, shown, allow_pickle=False)
    else:
        pictures.write_png(out, sheet(shown, rows, columns, faint))
