"""Grids of images, and PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from triptych.core.atomic import atomic_write
from triptych.core.images import is_points
from triptych.viz.scatter import cloud


def grid(
    pixels: np.ndarray,
    columns: int | None = None,
    captions: Sequence[str] | None = None,
    scale: int = 1,
    gap_px: int = 2,
    behind: np.ndarray | None = None,
) -> np.ndarray:
    """Lay pictures out in rows on white, each optionally with a small caption below it.

    pixels: (N, H, W, C) uint8, C = 1 or 3. captions: N short texts or None. scale: how many
    screen pixels one picture pixel becomes. Returns (height, width, C) uint8. Points of a plane,
    (N, 1, 1, 2), become dots in one drawing instead, those of `behind` faintly below them.
    """
    if len(pixels) == 0:
        raise ValueError("a grid needs at least one picture")
    if is_points(pixels):
        return cloud(pixels, behind)
    count, height, width, channels = pixels.shape
    columns = min(columns or int(np.ceil(np.sqrt(count))), count)
    rows = -(-count // columns)
    band_px = 12 if captions else 0
    cell_h, cell_w = height * scale + gap_px + band_px, width * scale + gap_px
    sheet = np.full((rows * cell_h + gap_px, columns * cell_w + gap_px, channels), 255, np.uint8)
    for k, picture in enumerate(pixels):
        top, left = (k // columns) * cell_h + gap_px, (k % columns) * cell_w + gap_px
        large = picture.repeat(scale, axis=0).repeat(scale, axis=1)
        sheet[top : top + height * scale, left : left + width * scale] = large
    if not captions:
        return sheet
    drawn = to_pil(sheet)
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=10)
    for k, text in enumerate(captions):
        top, left = (k // columns) * cell_h + gap_px, (k % columns) * cell_w + gap_px
        pen.text((left, top + height * scale), text, fill=0 if channels == 1 else (0, 0, 0), font=font)
    return np.asarray(drawn).reshape(sheet.shape)


def to_pil(picture: np.ndarray) -> Image.Image:
    """One (H, W, C) uint8 picture as a Pillow image: mode L for C = 1, RGB for C = 3 and for a point."""
    if is_points(picture):
        return Image.fromarray(cloud(picture[None]))
    return Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write one (H, W, C) uint8 picture as PNG, whole or not at all. Raises OSError that names the file."""
    try:
        with atomic_write(path) as partial:
            to_pil(picture).save(partial, format="PNG")
    except OSError as error:
        raise OSError(f"could not write {path}: {error.strerror or error}") from error
