"""Decode image files and arrays of any kind into squares of uint8 pixels."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from triptych.core.errors import DataError

Color = Literal["auto", "gray", "rgb"]
MAX_PIXELS = 400_000_000  # a larger file is taken for a decompression bomb
GRAY_MODES = ("1", "L", "LA", "I", "F")


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Suppress Pillow's warnings on sizes and metadata: errors are reported once, by us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode(file: Path | bytes, wanted_px: int) -> Image.Image:
    """Read one image: its first frame, upright by its EXIF tag, without transparency, in mode L or RGB.

    Args:
        file: A path, or the encoded bytes.
        wanted_px: The side it will be used at: very large JPEGs are decoded at reduced resolution.

    Returns:
        The image.

    Raises:
        DataError: With the reason, when it cannot be read.
    """
    try:
        with quiet_pillow(), Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{image.width}x{image.height} is larger than {MAX_PIXELS:,} pixels")
            image.draft("RGB" if image.mode not in GRAY_MODES else "L", (2 * wanted_px, 2 * wanted_px))
            image.load()
            return flatten(ImageOps.exif_transpose(image))
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError("not an image in any format that Pillow can read") from error
    except Exception as error:  # decoders raise anything: struct, zlib, syntax, value errors
        raise DataError(f"{type(error).__name__}: {error}") from error


def flatten(image: Image.Image) -> Image.Image:
    """Convert any mode to L or RGB; transparency is composited on white, 16-bit gray is scaled to 8."""
    if image.mode.startswith("I") or image.mode == "F":
        levels = np.asarray(image, dtype=np.float64)
        top = 65535.0 if levels.max() > 255 else 255.0
        return Image.fromarray((levels / top * 255).round().clip(0, 255).astype(np.uint8))
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        gray = image.mode in ("LA", "La", "L", "1")
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        white.alpha_composite(layered)
        return white.convert("L" if gray else "RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def is_gray(image: Image.Image) -> bool:
    """Whether an image has no color, even if it is stored as RGB."""
    if image.mode == "L":
        return True
    small = np.asarray(image.resize((32, 32)))
    return bool((np.ptp(small, axis=2) <= 2).all())


def common_color(images: Sequence[Image.Image]) -> tuple[Literal["gray", "rgb"], str]:
    """The color mode of most images; color where they are half and half.

    Otherwise one colored scan among gray ones would give all of them three channels.

    Args:
        images: In mode L or RGB.

    Returns:
        The mode, and a sentence where some images have another one, else "".
    """
    colored = sum(not is_gray(image) for image in images)
    count = len(images)
    if 2 * colored >= count:
        kept = (
            f"{count - colored:,} of {count:,} images are gray, the others have color: all are kept as color "
        )
        return "rgb", f"{kept}images (--color gray makes all gray)" if colored < count else ""
    note = f"{colored:,} of {count:,} images have color, the others are gray: all are made gray "
    return "gray", f"{note}(--color rgb keeps the color)" if colored else ""


def square(image: Image.Image, size: int) -> Image.Image:
    """The largest centered square, resized by Lanczos with antialiasing.

    Args:
        image: Of any size.
        size: Side of the result in pixels.

    Returns:
        The image.
    """
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        return image.crop(box)
    return image.resize((size, size), Image.Resampling.LANCZOS, box=box)


def in_mode(image: Image.Image, color: Literal["gray", "rgb"]) -> np.ndarray:
    """An image as an array of a color mode.

    Args:
        image: In any mode.
        color: The mode to convert to.

    Returns:
        (H, W, 1) or (H, W, 3) uint8.
    """
    pixels = np.asarray(image.convert("L" if color == "gray" else "RGB"))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def from_any(item: Any) -> Image.Image:
    """A Pillow image in mode L or RGB.

    Args:
        item: A Pillow image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8.

    Returns:
        The image.

    Raises:
        DataError: For arrays of another type or shape.
    """
    if isinstance(item, Image.Image):
        return flatten(item)
    array = np.asarray(item)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f"expected images as (H, W[, C]) uint8 arrays, got {array.shape} {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[2] not in (3, 4):
        raise DataError(f"expected 1, 3 or 4 channels last, got {array.shape}")
    return flatten(Image.fromarray(array))


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize an array of images by Lanczos.

    Args:
        pixels: (N, H, W, C) uint8.
        size: Side of the result in pixels.

    Returns:
        (N, size, size, C) uint8.
    """
    if pixels.shape[1] == size:
        return pixels
    color: Literal["gray", "rgb"] = "gray" if pixels.shape[3] == 1 else "rgb"
    return np.stack([in_mode(square(from_any(image), size), color) for image in pixels])


def padded(pixels: np.ndarray, size: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Center images on black: unlike resizing, that is exact and reversible.

    Args:
        pixels: (N, S, S, C) uint8 on a black background.
        size: Side of the result in pixels, S or more.

    Returns:
        (N, size, size, C) uint8, and the box (top, left, bottom, right) of the originals.
    """
    side = pixels.shape[1]
    before = (size - side) // 2
    after = size - side - before
    box = (before, before, before + side, before + side)
    return np.pad(pixels, ((0, 0), (before, after), (before, after), (0, 0))), box
