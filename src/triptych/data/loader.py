"""Batches of images; each is a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from triptych.core.errors import DataError
from triptych.core.images import to_float
from triptych.core.rng import mix
from triptych.core.types import Batch
from triptych.data.dataset import Split


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(mix(seed, "order", epoch)).permutation(count)  # (count,)


def batches(
    split: Split,
    size: int,
    seed: int,
    first: int = 0,
    flip: bool = False,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch]:
    """Yield batches without end. Batch k is a function of (seed, k): a resumed run needs no loader state.

    Position p = k * size + i of the stream is image order(epoch)[p mod N] with epoch = p div N: every image
    once per epoch, also when a batch spans two epochs or the split is smaller than a batch.

    Args:
        split: N prepared images.
        size: Global batch size.
        seed: Of the order and the flips.
        first: Number of the first batch, from 0.
        flip: Mirror each image with probability 1/2.
        rank: This worker, in 0..world - 1; it gets the rows rank * size / world onward.
        world: Number of workers.

    Yields:
        Batches of size / world images, float32 in [-1, 1].

    Raises:
        DataError: If the workers cannot share a batch evenly.
    """
    if size % world:
        raise DataError(f"a batch of {size} cannot be divided evenly among {world} workers")
    share = size // world
    rows = np.arange(rank * share, (rank + 1) * share)  # (B,)
    step = first
    while True:
        epochs, places = np.divmod(step * size + rows, len(split))  # (B,) each
        index = np.empty_like(places)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            index[here] = _order(len(split), seed, int(epoch))[places[here]]
        pixels = split.pixels[index]  # (B, H, W, C)
        if flip:
            mirrored = np.random.default_rng(mix(seed, "flip", step)).random(size)[rows] < 0.5  # (B,)
            pixels[mirrored] = pixels[mirrored, :, ::-1]
        yield Batch(
            images=to_float(pixels) if pixels.dtype == np.uint8 else channels_first(pixels),
            labels=None if split.labels is None else torch.from_numpy(split.labels[index]),
            captions=None if split.captions is None else tuple(split.captions[i] for i in index),
            rows=torch.from_numpy(rows),
            global_size=size,
        )
        step += 1


def channels_first(values: np.ndarray) -> Tensor:
    """Preprocessed values as they are: (B, H, W, C) float32 -> (B, C, H, W)."""
    return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()
