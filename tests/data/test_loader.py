from __future__ import annotations

import numpy as np
import pytest
import torch

from triptych.core.errors import DataError
from triptych.core.images import to_float, to_uint8
from triptych.data.dataset import Split
from triptych.data.load import load
from triptych.data.loader import batches


def numbered(count: int) -> Split:
    """Images whose first pixel is their number."""
    pixels = np.zeros((count, 4, 4, 1), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(count)
    return Split(pixels, np.arange(count, dtype=np.int64))


def test_batch_k_is_a_function_of_seed_and_k() -> None:
    split = numbered(50)
    stream = batches(split, 8, seed=3)
    drawn = [next(stream) for _ in range(10)]
    for k in (0, 6, 9):
        again = next(batches(split, 8, seed=3, first=k))
        assert torch.equal(again.images, drawn[k].images)
    other = next(batches(split, 8, seed=4))
    assert not torch.equal(other.images, drawn[0].images)


def test_every_image_comes_once_an_epoch() -> None:
    stream = batches(numbered(20), 8, seed=0)
    order = torch.cat([b.labels for b, _ in zip(stream, range(5), strict=False) if b.labels is not None])
    assert sorted(order[:20].tolist()) == list(range(20))
    assert sorted(order[20:40].tolist()) == list(range(20))
    assert order[:20].tolist() != order[20:40].tolist()


def test_a_split_smaller_than_a_batch_works() -> None:
    batch = next(batches(numbered(3), 8, seed=0))
    assert batch.labels is not None
    assert batch.images.shape == (8, 1, 4, 4)
    assert np.bincount(batch.labels).max() <= 3


def test_flips_mirror_about_half_and_are_reproducible() -> None:
    split = numbered(64)
    plain, flipped = (next(batches(split, 64, seed=0, flip=f)).images for f in (False, True))
    mirrored = (flipped != plain).flatten(1).any(1)
    assert 16 < int(mirrored.sum()) < 48
    assert torch.equal(flipped[mirrored], plain[mirrored].flip(3))
    assert torch.equal(flipped, next(batches(split, 64, seed=0, flip=True)).images)
    assert split.pixels[0, 0, 0, 0] == 0  # the source was not written to


def test_a_batch_must_divide_evenly() -> None:
    with pytest.raises(DataError, match="cannot be divided evenly"):
        next(batches(numbered(9), 8, seed=0, world=3))


def test_every_gray_level_survives_a_round_trip() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = to_float(pixels)
    assert images.min() == -1 and images.max() == 1
    assert np.array_equal(to_uint8(images), pixels)


def test_digits_are_real_and_the_splits_are_disjoint() -> None:
    digits = load("digits")
    assert len(digits.train) + len(digits.test) == 1797
    assert digits.spec.size == 16 and digits.spec.classes == 10
    trained = {p.tobytes() for p in digits.train.pixels}
    assert not any(p.tobytes() in trained for p in digits.test.pixels)
    assert load("digits").fingerprint == digits.fingerprint != load("digits", size=32).fingerprint


def test_shapes_have_factors() -> None:
    shapes = load("shapes", size=16)
    assert shapes.spec.captions and shapes.train.captions is not None
    assert "circle" in shapes.train.captions[int(np.flatnonzero(shapes.train.labels == 0)[0])]  # type: ignore[operator]
    factors = shapes.train.factors
    big, small = factors["radius"] > 0.3, factors["radius"] < 0.17
    deviation = shapes.train.pixels.reshape(len(shapes.train), -1).astype(float).std(1)
    assert deviation[big].mean() > 1.3 * deviation[small].mean()
