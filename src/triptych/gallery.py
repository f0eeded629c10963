"""Drawn pictures as files: a labelled grid, an array, or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from triptych.core import images as pictures
from triptych.core.errors import UsageError


def write_pictures(
    out: Path, drawn: np.ndarray, seeds: Sequence[int], names: Sequence[str] | None = None
) -> None:
    """Write (N, H, W, C) uint8 pictures in the order of their seeds.

    x.png: a grid with each seed (and class name) under its picture; x.npy: the array; otherwise a
    folder with one PNG a seed. Raises UsageError for any other suffix.
    """
    if out.suffix == ".npy":
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, drawn, allow_pickle=False)
    elif out.suffix == ".png":
        out.parent.mkdir(parents=True, exist_ok=True)
        texts = [f"{seed} {names[k]}" if names else str(seed) for k, seed in enumerate(seeds)]
        pictures.write_png(out, pictures.grid(drawn, captions=texts, scale=max(1, 64 // drawn.shape[1])))
    elif out.suffix == "":
        out.mkdir(parents=True, exist_ok=True)
        for seed, picture in zip(seeds, drawn, strict=True):
            pictures.write_png(out / f"{seed:06d}.png", picture)
    else:
        raise UsageError(f"--out {out}: expected a .png (a grid), a .npy (an array) or a folder's name")
