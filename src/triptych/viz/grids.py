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
    """Lay images out in rows on white, each optionally with a small caption below it.

    2-D points, (N, 1, 1, 2), become a scatter plot instead.

    Args:
        pixels: (N, H, W, C) uint8, C = 1 or 3.
        columns: Images in a row; None: about as many as rows.
        captions: N short texts; None: without.
        scale: Screen pixels for each side of an image pixel.
        gap_px: Screen pixels between images.
        behind: Of 2-D points: further points, drawn faintly below the others.

    Returns:
        (height, width, C) uint8.

    Raises:
        ValueError: If there is no image.
    """
    if len(pixels) == 0:
        raise ValueError("a grid needs at least one image")
    if is_points(pixels):
        return cloud(pixels, behind)
    count, height, width, channels = pixels.shape
    columns = min(columns or int(np.ceil(np.sqrt(count))), count)
    rows = -(-count // columns)
    band_px = 12 if captions else 0
    cell_h, cell_w = height * scale + gap_px + band_px, width * scale + gap_px
    sheet = np.full((rows * cell_h + gap_px, columns * cell_w + gap_px, channels), 255, np.uint8)
    for k, image in enumerate(pixels):
        top, left = (k // columns) * cell_h + gap_px, (k % columns) * cell_w + gap_px
        large = image.repeat(scale, axis=0).repeat(scale, axis=1)
        sheet[top : top + height * scale, left : left + width * scale] = large
    if not captions:
        return sheet
    drawn = to_pil(sheet)
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=10)
    for k, text in enumerate(captions):
        top, left = (k // columns) * cell_h + gap_px, (k % columns) * cell_w + gap_px
        pen.text((left, top + height * scale), text, fill=0 if channels == 1 else (0, 0, 0), font=font)
    return np.asarray(drawn).reshape(sheet.shape)


def to_pil(image: np.ndarray) -> Image.Image:
    """Convert one (H, W, C) uint8 image to Pillow: mode L for C = 1, RGB for C = 3 and for a point."""
    if is_points(image):
        return Image.fromarray(cloud(image[None]))
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write one image as PNG, whole or not at all.

    Args:
        path: Where to.
        image: (H, W, C) uint8.

    Raises:
        OSError: If it cannot be written; it names the file.
    """
    try:
        with atomic_write(path) as partial:
            to_pil(image).save(partial, format="PNG")
    except OSError as error:
        raise OSError(f"could not write {path}: {error.strerror or error}") from error
