import numpy as np
import pytest

from triptych.evaluation.sensitivity import corruptions as module
from triptych.evaluation.sensitivity.corruptions import (
    CorruptionSource,
    LabeledImages,
    blurred,
    checkered,
    corruptions,
    faded,
    halved,
    jpeg,
    noisy,
    posterized,
    rolled,
    salted,
    shuffled,
)
from triptych.evaluation.sensitivity.running import KINDS


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)


def stock(
    pixels: np.ndarray, labels: np.ndarray | None = None, finest: np.ndarray | None = None
) -> CorruptionSource:
    return CorruptionSource(
        LabeledImages(pixels, labels), LabeledImages(255 - pixels, labels), finest, seed=0
    )


def corrupted(stock: CorruptionSource, kind: str, grade: str) -> LabeledImages:
    return next(s for s in corruptions(stock) if (s.kind, s.strength) == (kind, grade)).make(stock)


def test_blur_spreads_a_point_within_its_image_and_channel() -> None:
    pixels = np.zeros((2, 9, 9, 2), np.uint8)
    pixels[0, 4, 4, 0] = 255
    soft = blurred(pixels, 1.0)
    assert soft[0, 4, 4, 0] == round(255 * 0.3989423**2)  # the normal density at 0, squared
    assert soft[0, 4, 5, 0] == soft[0, 5, 4, 0] == 25  # times exp(-1/2)
    assert soft[1].max() == soft[..., 1].max() == 0


def test_noise_has_the_stated_levels_and_a_seed() -> None:
    gray = np.full((40, 16, 16, 1), 128, np.uint8)
    rough = noisy(gray, 20, seed=3)
    assert np.std(rough) == pytest.approx(20, abs=0.5)
    np.testing.assert_array_equal(rough, noisy(gray, 20, seed=3))
    assert not np.array_equal(rough, noisy(gray, 20, seed=4))
    assert noisy(np.full_like(gray, 250), 20, 0).min() > 120  # clipped, not wrapped


def test_jpeg_and_filters_keep_shapes_and_lose_more_at_lower_quality(images: np.ndarray) -> None:
    def loss(changed: np.ndarray) -> float:
        assert changed.shape == images.shape and changed.dtype == np.uint8
        return float(np.abs(changed.astype(int) - images).mean())

    losses = [loss(jpeg(images, quality)) for quality in (95, 50, 10)]
    assert losses[0] < losses[1] < losses[2]
    assert all(loss(halved(images, name)) > 5 for name in module.FILTERS)
    flat = np.full((1, 7, 7, 1), 90, np.uint8)  # an odd side
    assert all((halved(flat, name) == 90).all() for name in module.FILTERS)


def test_dropped_classes_are_gone_and_the_rest_is_untouched(images: np.ndarray) -> None:
    labels = np.arange(30) % 5
    s = stock(images, labels, np.arange(5))
    grades = [x.strength for x in corruptions(s) if x.kind == "dropped classes"]
    assert grades == ["1 of 5", "2 of 5", "4 of 5"]
    left = corrupted(s, "dropped classes", "2 of 5")
    assert left.labels is not None and set(left.labels) == {0, 1, 2}
    np.testing.assert_array_equal(left.pixels, images[labels < 3])


def test_duplicates_one_of_each_class_and_copies(images: np.ndarray) -> None:
    labels = np.arange(30) % 3
    s = stock(images, labels, np.array([3, 4, 5]))
    five = corrupted(s, "duplicates", "each 5 times")
    np.testing.assert_array_equal(five.pixels, np.repeat(images[:6], 5, axis=0))
    one = corrupted(s, "one fine image", "per class")
    assert one.labels is not None
    np.testing.assert_array_equal(one.pixels, np.tile(images[3:6], (10, 1, 1, 1)))
    np.testing.assert_array_equal(one.labels, labels[np.tile([3, 4, 5], 10)])
    some = corrupted(s, "copies", "10% of training")
    np.testing.assert_array_equal(some.pixels[:3], 255 - images[:3])
    np.testing.assert_array_equal(some.pixels[3:], images[3:])
    np.testing.assert_array_equal(corrupted(s, "copies", "100% of training").pixels, 255 - images)


def test_disguised_copies_are_training_images_a_little_changed(images: np.ndarray) -> None:
    s = stock(images)
    soft = corrupted(s, "disguised copies", "blur, sigma 0.5 px")
    np.testing.assert_array_equal(soft.pixels, blurred(255 - images, 0.5))
    rough = corrupted(s, "disguised copies", "noise, 5 of 255 levels")
    np.testing.assert_array_equal(rough.pixels, noisy(255 - images, 5, seed=0))


def test_without_labels_nothing_asks_for_classes(images: np.ndarray) -> None:
    kinds = {x.kind for x in corruptions(stock(images))}
    assert kinds == set(KINDS) - {"honest", "dropped classes", "one fine image"}


def test_salt_checkerboard_contrast_and_levels() -> None:
    gray = np.full((20, 16, 16, 3), 100, np.uint8)
    grains = salted(gray, 0.2, seed=1)
    changed = (grains != gray).all(-1)
    assert changed.mean() == pytest.approx(0.2, abs=0.02) and set(np.unique(grains)) == {0, 100, 255}
    board = checkered(gray, 4)
    assert board[0, 0, 0, 0] == 104 and board[0, 0, 1, 0] == board[0, 1, 0, 0] == 96
    steps = np.arange(0, 256, 5, dtype=np.uint8)[None, :, None, None]
    weak = faded(steps, 0.4)
    assert np.ptp(weak) == 0.4 * 255 and weak.mean() == pytest.approx(127.5, abs=0.5)
    assert np.unique(posterized(steps, 3)).tolist() == [0, 128, 255]


def test_shuffling_moves_blocks_and_swapping_moves_halves() -> None:
    pixels = np.arange(2 * 9 * 9, dtype=np.uint8).reshape(2, 9, 9, 1)
    moved = shuffled(pixels, 2, seed=0)
    assert not np.array_equal(moved, pixels)
    np.testing.assert_array_equal(moved[:, 8:], pixels[:, 8:])  # 2 blocks of 4: the rest stays
    np.testing.assert_array_equal(np.sort(moved, axis=None), np.sort(pixels, axis=None))
    blocks = {pixels[0, r : r + 4, c : c + 4].tobytes() for r in (0, 4) for c in (0, 4)}
    assert {moved[0, r : r + 4, c : c + 4].tobytes() for r in (0, 4) for c in (0, 4)} == blocks
    assert shuffled(pixels[:, :4, :4], 8, seed=0).shape == (2, 4, 4, 1)  # more blocks than pixels
    np.testing.assert_array_equal(rolled(pixels, 2)[:, :, 4:], pixels[:, :, :5])
    np.testing.assert_array_equal(rolled(pixels, 1)[:, :4], pixels[:, 5:])
