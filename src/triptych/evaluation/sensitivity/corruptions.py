"""Corruptions of a set of real images, each at several strengths: what a metric is expected to notice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TypeVar

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from triptych.viz import grids

T = TypeVar("T")

SIGMAS_PX = (0.5, 1.0, 2.0)
NOISE_LEVELS = (5, 20, 80)  # standard deviations in gray levels of 255
QUALITIES = (90, 50, 10)
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "Lanczos": Image.Resampling.LANCZOS,
}
SALTED = (0.01, 0.05, 0.2)  # shares of the pixels
AMPLITUDES = (4, 16, 64)  # of a checkerboard, in gray levels
CONTRASTS = (0.9, 0.7, 0.4)  # factors
GRAY_LEVELS = (32, 8, 3)  # that posterizing leaves
ACROSS = (2, 4, 8)  # blocks
TIMES = (2, 5, 20)
SHARES = (0.1, 1.0)  # of a set that are copies


@dataclass(frozen=True)
class LabeledImages:
    """Images, (N, H, W, C) uint8, and the class of each, (N,) int64, where it is known."""

    pixels: np.ndarray
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.pixels)

    def at(self, rows: np.ndarray) -> LabeledImages:
        """The images of these rows; a row may occur several times."""
        return LabeledImages(self.pixels[rows], None if self.labels is None else self.labels[rows])

    def with_pixels(self, pixels: np.ndarray) -> LabeledImages:
        """Other pixels under the same labels."""
        return LabeledImages(pixels, self.labels)


@dataclass(frozen=True)
class CorruptionSource:
    """What corrupted sets are made from."""

    honest: LabeledImages
    """Real images that are neither training nor reference images, in random order."""
    train: LabeledImages
    """The extractor's training images, in random order."""
    prototypes: np.ndarray | None
    """Row of each class's most typical honest image; None without labels."""
    seed: int
    second_honest: LabeledImages | None = None
    """Another honest set: noticing it is a false alarm."""


Make = Callable[[CorruptionSource], LabeledImages]


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption at one strength."""

    kind: str
    strength: str
    make: Make = field(repr=False)
    ordered: bool = True
    """Whether the kind's strengths go from weak to strong."""


def corruptions(source: CorruptionSource) -> list[Corruption]:
    """All corruptions of a source, kinds together, weak before strong; first the honest control."""
    result = (
        [] if source.second_honest is None else [Corruption("honest", "another draw", _again, ordered=False)]
    )
    result += [Corruption("blur", f"sigma {s:g} px", _painted(blurred, s)) for s in SIGMAS_PX]
    result += [Corruption("noise", f"{s} of 255 levels", _seeded(noisy, s)) for s in NOISE_LEVELS]
    result += [Corruption("JPEG", f"quality {q}", _painted(jpeg, q)) for q in QUALITIES]
    result += [Corruption("resize filter", name, _painted(halved, name), ordered=False) for name in FILTERS]
    result += [Corruption("salt and pepper", f"{x:.0%} of pixels", _seeded(salted, x)) for x in SALTED]
    result += [Corruption("checkerboard", f"+-{a} levels", _painted(checkered, a)) for a in AMPLITUDES]
    result += [Corruption("low contrast", f"times {c:g}", _painted(faded, c)) for c in CONTRASTS]
    result += [Corruption("posterized", f"{n} levels", _painted(posterized, n)) for n in GRAY_LEVELS]
    result += [Corruption("blocks shuffled", f"{n} x {n}", _seeded(shuffled, n)) for n in ACROSS]
    result += [
        Corruption("halves swapped", "left and right", _painted(rolled, 2), ordered=False),
        Corruption("halves swapped", "top and bottom", _painted(rolled, 1), ordered=False),
        Corruption("upside down", "all", _painted(lambda pixels, _: pixels[:, ::-1], None), ordered=False),
    ]
    if source.honest.labels is not None:
        result += _dropped(np.unique(source.honest.labels))
    result += [Corruption("duplicates", f"each {k} times", _repeated(k)) for k in TIMES]
    if source.prototypes is not None:
        result.append(Corruption("one fine image", "per class", _one_each, ordered=False))
    result += [Corruption("copies", f"{share:.0%} of training", _copied(share)) for share in SHARES]
    weak_px, weak = SIGMAS_PX[0], NOISE_LEVELS[0]
    return [
        *result,
        Corruption(
            "disguised copies", f"blur, sigma {weak_px:g} px", _disguised(blurred, weak_px), ordered=False
        ),
        Corruption(
            "disguised copies", f"noise, {weak} of 255 levels", _disguised_by_noise(weak), ordered=False
        ),
    ]


def blurred(pixels: np.ndarray, sigma_px: float) -> np.ndarray:
    """Gaussian blur within each image and channel, its edge repeated.

    Args:
        pixels: (N, H, W, C) uint8.
        sigma_px: standard deviation, pixels.

    Returns:
        The same shape, uint8.
    """
    soft = gaussian_filter(pixels.astype(np.float64), (0, sigma_px, sigma_px, 0), mode="nearest")
    return _rounded(soft)


def noisy(pixels: np.ndarray, levels: float, seed: int) -> np.ndarray:
    """Gaussian noise, clipped to 0..255.

    Args:
        pixels: (N, H, W, C) uint8.
        levels: standard deviation, gray levels.
        seed: of the noise.

    Returns:
        The same shape, uint8.
    """
    noise = np.random.default_rng(seed).standard_normal(pixels.shape)
    return _rounded(pixels + levels * noise)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Each image written as JPEG and read again.

    Args:
        pixels: (N, H, W, C) uint8.
        quality: 1..95.

    Returns:
        The same shape, uint8.
    """

    def through(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, format="JPEG", quality=quality)
        return Image.open(file)

    return _each(pixels, through)


def halved(pixels: np.ndarray, resampling: str) -> np.ndarray:
    """Each image resized to half its size and back.

    Args:
        pixels: (N, H, W, C) uint8.
        resampling: a name in `FILTERS`, for both.

    Returns:
        The same shape, uint8.
    """
    how = FILTERS[resampling]

    def through(image: Image.Image) -> Image.Image:
        half = (max(image.width // 2, 1), max(image.height // 2, 1))
        return image.resize(half, how).resize(image.size, how)

    return _each(pixels, through)


def salted(pixels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Some pixels black or white, in all channels.

    Args:
        pixels: (N, H, W, C) uint8.
        share: of the pixels, in [0, 1].
        seed: of the choice.

    Returns:
        The same shape, uint8.
    """
    drawn = np.random.default_rng(seed).random((*pixels.shape[:3], 1))
    result = np.where(drawn < share / 2, 0, np.where(drawn > 1 - share / 2, 255, pixels))
    return result.astype(np.uint8)


def checkered(pixels: np.ndarray, levels: float) -> np.ndarray:
    """Neighboring pixels brighter and darker in turn: the artifact of transposed convolutions.

    Args:
        pixels: (N, H, W, C) uint8.
        levels: amplitude, gray levels.

    Returns:
        The same shape, uint8.
    """
    rows, columns = np.indices(pixels.shape[1:3])
    board = 1 - 2 * ((rows + columns) % 2)  # (H, W), 1 and -1
    return _rounded(pixels + levels * np.asarray(board)[:, :, None])


def faded(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Lower contrast: each image moved towards its mean gray level.

    Args:
        pixels: (N, H, W, C) uint8.
        factor: of the contrast, in [0, 1].

    Returns:
        The same shape, uint8.
    """
    mean = pixels.mean((1, 2, 3), keepdims=True)
    return _rounded(mean + factor * (pixels - mean))


def posterized(pixels: np.ndarray, levels: int) -> np.ndarray:
    """Few gray levels left, evenly spaced.

    Args:
        pixels: (N, H, W, C) uint8.
        levels: how many, at least 2.

    Returns:
        The same shape, uint8.
    """
    step = 255 / (levels - 1)
    return _rounded(np.rint(pixels / step) * step)


def shuffled(pixels: np.ndarray, across: int, seed: int) -> np.ndarray:
    """Each image cut into blocks, which are put together in a random order of its own.

    A strip that is left over at the right and at the bottom stays.

    Args:
        pixels: (N, H, W, C) uint8.
        across: blocks along each side.
        seed: of the orders.

    Returns:
        The same shape, uint8.
    """
    count, height, width, channels = pixels.shape
    tall, wide = max(height // across, 1), max(width // across, 1)
    rows, columns = min(across, height), min(across, width)
    inside = pixels[:, : rows * tall, : columns * wide]
    tiles = inside.reshape(count, rows, tall, columns, wide, channels).swapaxes(2, 3)
    tiles = tiles.reshape(count, rows * columns, tall, wide, channels)  # (N, T, h, w, C)
    order = np.random.default_rng(seed).random((count, rows * columns)).argsort(1)  # (N, T)
    tiles = np.take_along_axis(tiles, order[:, :, None, None, None], 1)
    result = pixels.copy()
    tiles = tiles.reshape(count, rows, columns, tall, wide, channels).swapaxes(2, 3)
    result[:, : rows * tall, : columns * wide] = tiles.reshape(inside.shape)
    return result


def rolled(pixels: np.ndarray, axis: int) -> np.ndarray:
    """The two halves of each image swapped.

    Args:
        pixels: (N, H, W, C) uint8.
        axis: 1 swaps top and bottom, 2 left and right.

    Returns:
        The same shape, uint8.
    """
    return np.roll(pixels, pixels.shape[axis] // 2, axis)


def _each(pixels: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    changed = [np.asarray(change(grids.to_pil(image))) for image in pixels]
    return np.stack(changed).reshape(pixels.shape)


def _rounded(levels: np.ndarray) -> np.ndarray:
    return np.rint(levels).clip(0, 255).astype(np.uint8)


# --- each strength as a function of the source ---


def _again(source: CorruptionSource) -> LabeledImages:
    assert source.second_honest is not None
    return source.second_honest


def _painted(change: Callable[[np.ndarray, T], np.ndarray], strength: T) -> Make:
    return lambda source: source.honest.with_pixels(change(source.honest.pixels, strength))


def _seeded(change: Callable[[np.ndarray, T, int], np.ndarray], strength: T) -> Make:
    return lambda source: source.honest.with_pixels(change(source.honest.pixels, strength, source.seed))


def _dropped(classes: np.ndarray) -> list[Corruption]:
    """The last class, the last half of them and all but the first left out; equal strengths once."""
    count = len(classes)
    if count < 2:
        return []

    def without(gone: Sequence[int]) -> Make:
        def make(source: CorruptionSource) -> LabeledImages:
            assert source.honest.labels is not None
            return source.honest.at(np.flatnonzero(~np.isin(source.honest.labels, gone)))

        return make

    strengths = sorted({1, count // 2, count - 1})
    return [
        Corruption("dropped classes", f"{gone} of {count}", without(classes[count - gone :].tolist()))
        for gone in strengths
    ]


def _repeated(times: int) -> Make:
    def make(source: CorruptionSource) -> LabeledImages:
        count = len(source.honest)
        return source.honest.at(np.arange(count) // times)  # the last one perhaps less often

    return make


def _one_each(source: CorruptionSource) -> LabeledImages:
    assert source.prototypes is not None
    return source.honest.at(np.resize(source.prototypes, len(source.honest)))


def _copied(share: float) -> Make:
    def make(source: CorruptionSource) -> LabeledImages:
        count = min(round(share * len(source.honest)), len(source.train))
        copies, rest = source.train.at(np.arange(count)), source.honest
        if share == 1:
            return copies
        pixels = np.concatenate([copies.pixels, rest.pixels[count:]])
        labels = (
            None
            if copies.labels is None or rest.labels is None
            else np.concatenate([copies.labels, rest.labels[count:]])
        )
        return LabeledImages(pixels, labels)

    return make


def _disguised(change: Callable[[np.ndarray, T], np.ndarray], strength: T) -> Make:
    def make(source: CorruptionSource) -> LabeledImages:
        copies = _copied(1.0)(source)
        return copies.with_pixels(change(copies.pixels, strength))

    return make


def _disguised_by_noise(levels: float) -> Make:
    return lambda source: _disguised(lambda pixels, s: noisy(pixels, s, source.seed), levels)(source)
