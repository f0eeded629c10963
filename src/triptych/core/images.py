"""Pictures as numbers: the only file that knows how 0..255 maps to [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from triptych.core.scatter import cloud, is_points

HALF_RANGE = 127.5  # 0 -> -1, 127.5 -> 0, 255 -> 1
LEVEL_STEP = 1 / HALF_RANGE  # from one grey level to the next, on the scale of [-1, 1]


def to_float(pixels: np.ndarray | Tensor) -> Tensor:
    """Turn stored pixels into what networks see.

    pixels: (B, H, W, C) uint8. Returns (B, C, H, W) float32 in [-1, 1], on a tensor's own device.
    """
    images = _checked(pixels).permute(0, 3, 1, 2)  # (B, C, H, W)
    return images.float().div_(HALF_RANGE).sub_(1.0).contiguous()


def level_edges(pixels: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
    """The ends of the bin that rounds to each pixel's grey level, on the scale of [-1, 1].

    pixels: (B, H, W, C) uint8. Returns lower and upper, (B, C, H, W) float64 on the CPU: half a level
    below and above, but -infinity below level 0 and infinity above level 255, as `to_uint8` rounds.
    """
    levels = _checked(pixels).cpu().permute(0, 3, 1, 2).double()  # (B, C, H, W)
    lower, upper = ((levels + side) / HALF_RANGE - 1.0 for side in (-0.5, 0.5))
    return lower.masked_fill_(levels == 0, -torch.inf), upper.masked_fill_(levels == 255, torch.inf)


def _checked(pixels: np.ndarray | Tensor) -> Tensor:
    if pixels.dtype not in (np.uint8, torch.uint8) or pixels.ndim != 4:
        raise ValueError(f"expected (B, H, W, C) uint8 pixels, got {tuple(pixels.shape)} {pixels.dtype}")
    return pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.ascontiguousarray(pixels))


def to_uint8(images: Tensor) -> np.ndarray:
    """Round what networks made to the nearest grey level.

    images: (B, C, H, W) float, nominally in [-1, 1]; values outside are clipped.
    Returns (B, H, W, C) uint8.
    """
    levels = images.detach().float().add(1.0).mul(HALF_RANGE).round_().clamp_(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()  # (B, H, W, C)


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
    partial = path.with_name(f".{path.name}.partial")
    try:
        to_pil(picture).save(partial, format="PNG")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OSError(f"could not write {path}: {error.strerror or error}") from error
