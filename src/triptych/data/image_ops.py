"""One picture file or array of any kind -> a square of uint8 pixels."""

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
MOST_PIXELS = 400_000_000  # beyond this a file is a decompression bomb rather than a photo
GRAY_MODES = ("1", "L", "LA", "I", "F")


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Leave out Pillow's warnings on sizes and metadata: what is wrong with a picture is said once, by us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode(file: Path | bytes, wanted_px: int) -> Image.Image:
    """Read one picture: first frame, upright, without transparency, mode L or RGB.

    wanted_px: the size it will be used at; very large JPEGs are read at a fraction of theirs.
    Raises DataError with the reason when it cannot be read.
    """
    try:
        with quiet_pillow(), Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(f"{image.width}x{image.height} is larger than {MOST_PIXELS:,} pixels")
            image.draft("RGB" if image.mode not in GRAY_MODES else "L", (2 * wanted_px, 2 * wanted_px))
            image.load()
            return flatten(ImageOps.exif_transpose(image))
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError("not a picture in any format that Pillow knows") from error
    except Exception as error:  # decoders raise whatever they like: struct, zlib, syntax, value errors
        raise DataError(f"{type(error).__name__}: {error}") from error


def flatten(image: Image.Image) -> Image.Image:
    """Any mode to L or RGB; transparency is laid on white, 16-bit gray scaled to 8."""
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
    """Whether a picture has no color, also when it is stored as RGB."""
    if image.mode == "L":
        return True
    small = np.asarray(image.resize((32, 32)))
    return bool((np.ptp(small, axis=2) <= 2).all())


def common_color(images: Sequence[Image.Image]) -> tuple[Literal["gray", "rgb"], str]:
    """The mode that most images have (of halves color), and a sentence where not all have it, else "".

    One colored scan in an album of gray ones would make three channels of all of them, and a model that
    spends itself on colors that are not there.
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
    """The largest square from the middle, resized by Lanczos with antialiasing."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        return image.crop(box)
    return image.resize((size, size), Image.Resampling.LANCZOS, box=box)


def in_mode(image: Image.Image, color: Literal["gray", "rgb"]) -> np.ndarray:
    """(H, W, 1) or (H, W, 3) uint8."""
    pixels = np.asarray(image.convert("L" if color == "gray" else "RGB"))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def from_any(item: Any) -> Image.Image:
    """A Pillow picture or an array (H, W), (H, W, 1), (H, W, 3 or 4) uint8 as mode L or RGB."""
    if isinstance(item, Image.Image):
        return flatten(item)
    array = np.asarray(item)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f"expected pictures as (H, W[, C]) uint8 arrays, got {array.shape} {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[2] not in (3, 4):
        raise DataError(f"expected 1, 3 or 4 channels last, got {array.shape}")
    return flatten(Image.fromarray(array))


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """A whole (N, H, W, C) uint8 array at another size, Lanczos."""
    if pixels.shape[1] == size:
        return pixels
    color: Literal["gray", "rgb"] = "gray" if pixels.shape[3] == 1 else "rgb"
    return np.stack([in_mode(square(from_any(picture), size), color) for picture in pixels])


def padded(pixels: np.ndarray, size: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Centre 28-pixel pictures on their black background: sharper than any resize, and reversible.

    Returns the (N, size, size, C) pixels and the box (top, left, bottom, right) of the originals.
    """
    side = pixels.shape[1]
    before = (size - side) // 2
    after = size - side - before
    box = (before, before, before + side, before + side)
    return np.pad(pixels, ((0, 0), (before, after), (before, after), (0, 0))), box
