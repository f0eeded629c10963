"""Images, animations and arrays as files, each written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import features

from triptych.core.atomic import atomic_write
from triptych.core.errors import UsageError
from triptych.core.files import fit_to_write
from triptych.core.nearest import nearest
from triptych.viz.grids import to_pil

STILL = (".png", ".jpg", ".jpeg", ".webp", ".gif")
MOVING = (".gif", ".webp")
ARRAYS = (".npy", ".npz")
FRAME_MS = 120  # of an animation
OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "lossless": True},
    ".gif": {"format": "GIF"},
}


def extension_of(path: Path) -> str:
    """A file's extension, in lower case."""
    return path.suffix.lower()


def fit_for(path: Path, extensions: Sequence[str], what: str = "", flag: str = "--out") -> None:
    """Check that a file can be written as requested: its extension and its place.

    Args:
        path: Where it is to be written.
        extensions: Those that are allowed.
        what: More on what may be given, for the message.
        flag: What the path was given by.

    Raises:
        UsageError: If it could not be written.
    """
    if extension_of(path) not in extensions:
        near = nearest(path.suffix, extensions) if path.suffix else None
        hint = f" Did you mean {path.with_suffix(near).name}?" if near else ""
        raise UsageError(f"{flag} {path}: expected a file ending in {', '.join(extensions)}{what}.{hint}")
    if extension_of(path) == ".webp" and not features.check("webp"):
        raise UsageError(f"{flag} {path}: this Pillow was built without WebP: take .png or .gif")
    fit_to_write(path, flag)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write one image in the format of its extension, one of `STILL`.

    PNG, WebP and gray GIF are lossless; JPEG (quality 95) and colored GIF (256 colors) are not.

    Args:
        path: Where to.
        image: (H, W, C) uint8.
    """
    _whole(path, lambda file: to_pil(image).save(file, **OPTIONS[extension_of(path)]))


def write_animation(
    path: Path, frames: Sequence[np.ndarray], frame_ms: int = FRAME_MS, last_ms: int | None = None
) -> None:
    """Write (H, W, C) uint8 frames as an endless animation, one of `MOVING`.

    Args:
        path: Where to.
        frames: One or more, all of one shape.
        frame_ms: How long each is shown.
        last_ms: How long the last one is shown; None: as long as the others.
    """
    first, *rest = [to_pil(frame) for frame in frames]
    times = [frame_ms] * len(rest) + [frame_ms if last_ms is None else last_ms]
    more: dict[str, Any] = {"save_all": True, "append_images": rest, "duration": times, "loop": 0}
    _whole(path, lambda file: first.save(file, **OPTIONS[extension_of(path)], **more))


def write_arrays(path: Path, images: np.ndarray, **more: np.ndarray | None) -> None:
    """Write x.npy, the images alone, or x.npz, the images as "images" and every other array by its name.

    Args:
        path: Where to.
        images: Any array of images.
        **more: Further arrays; None: left out.
    """
    if extension_of(path) == ".npy":
        _whole(path, lambda file: np.save(file, images, allow_pickle=False))
        return
    arrays: dict[str, Any] = {name: array for name, array in more.items() if array is not None}
    _whole(path, lambda file: np.savez_compressed(file, images=images, **arrays))


def _whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Raises OSError that names the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_write(path) as partial, partial.open("wb") as file:
            write(file)
    except OSError as error:
        raise OSError(f"could not write {path}: {error.strerror or error}") from error
