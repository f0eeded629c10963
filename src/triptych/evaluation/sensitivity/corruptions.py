"""Ways to spoil a set of real pictures, each at graded strengths: what a metric is asked to notice."""

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
    """Pictures, (N, H, W, C) uint8, and what each was meant to be, (N,) int64, where that is known."""

    pixels: np.ndarray
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.pixels)

    def at(self, rows: np.ndarray) -> LabeledImages:
        """The pictures of these numbers, a number perhaps several times."""
        return LabeledImages(self.pixels[rows], None if self.labels is None else self.labels[rows])

    def with_pixels(self, pixels: np.ndarray) -> LabeledImages:
        """Other pixels under the same labels."""
        return LabeledImages(pixels, self.labels)


@dataclass(frozen=True)
class CorruptionSource:
    """What spoilt sets are made of."""

    honest: LabeledImages
    """Real pictures that neither the judge nor the reference has seen, in random order."""
    train: LabeledImages
    """The judge's training pictures, in random order."""
    prototypes: np.ndarray | None
    """Number of the honest picture the judge likes best, for each class; None without labels."""
    seed: int
    second_honest: LabeledImages | None = None
    """Another honest set: what is noticed of it is a false alarm."""


Make = Callable[[CorruptionSource], LabeledImages]


@dataclass(frozen=True)
class Corruption:
    """One way to spoil pictures at one strength."""

    kind: str
    strength: str
    make: Make = field(repr=False)
    ordered: bool = True
    """Whether the kind's grades go from weak to strong."""


def corruptions(stock: CorruptionSource) -> list[Corruption]:
    """All that can be done to a stock, kinds together, weak before strong; first the honest control."""
    made = (
        [] if stock.second_honest is None else [Corruption("honest", "another draw", _again, ordered=False)]
    )
    made += [Corruption("blur", f"sigma {s:g} px", _painted(blurred, s)) for s in SIGMAS_PX]
    made += [Corruption("noise", f"{s} of 255 levels", _seeded(noisy, s)) for s in NOISE_LEVELS]
    made += [Corruption("JPEG", f"quality {q}", _painted(jpeg, q)) for q in QUALITIES]
    made += [Corruption("resize filter", name, _painted(halved, name), ordered=False) for name in FILTERS]
    made += [Corruption("salt and pepper", f"{x:.0%} of pixels", _seeded(salted, x)) for x in SALTED]
    made += [Corruption("checkerboard", f"+-{a} levels", _painted(checkered, a)) for a in AMPLITUDES]
    made += [Corruption("low contrast", f"times {c:g}", _painted(faded, c)) for c in CONTRASTS]
    made += [Corruption("posterized", f"{n} levels", _painted(posterized, n)) for n in GRAY_LEVELS]
    made += [Corruption("blocks shuffled", f"{n} x {n}", _seeded(shuffled, n)) for n in ACROSS]
    made += [
        Corruption("halves swapped", "left and right", _painted(rolled, 2), ordered=False),
        Corruption("halves swapped", "top and bottom", _painted(rolled, 1), ordered=False),
        Corruption("upside down", "all", _painted(lambda pixels, _: pixels[:, ::-1], None), ordered=False),
    ]
    if stock.honest.labels is not None:
        made += _dropped(np.unique(stock.honest.labels))
    made += [Corruption("duplicates", f"each {k} times", _repeated(k)) for k in TIMES]
    if stock.prototypes is not None:
        made.append(Corruption("one fine picture", "per class", _one_each, ordered=False))
    made += [Corruption("copies", f"{share:.0%} of training", _copied(share)) for share in SHARES]
    weak_px, weak = SIGMAS_PX[0], NOISE_LEVELS[0]
    return [
        *made,
        Corruption(
            "disguised copies", f"blur, sigma {weak_px:g} px", _disguised(blurred, weak_px), ordered=False
        ),
        Corruption(
            "disguised copies", f"noise, {weak} of 255 levels", _disguised_by_noise(weak), ordered=False
        ),
    ]


def blurred(pixels: np.ndarray, sigma_px: float) -> np.ndarray:
    """Gaussian blur within each picture and channel, its edge repeated. (N, H, W, C) uint8 -> the same."""
    soft = gaussian_filter(pixels.astype(np.float64), (0, sigma_px, sigma_px, 0), mode="nearest")
    return _rounded(soft)


def noisy(pixels: np.ndarray, levels: float, seed: int) -> np.ndarray:
    """Gaussian noise of so many gray levels, clipped to 0..255. (N, H, W, C) uint8 -> the same shape."""
    noise = np.random.default_rng(seed).standard_normal(pixels.shape)
    return _rounded(pixels + levels * noise)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Each picture written as JPEG at a quality in 1..95 and read again. (N, H, W, C) uint8 -> the same."""

    def through(picture: Image.Image) -> Image.Image:
        file = BytesIO()
        picture.save(file, format="JPEG", quality=quality)
        return Image.open(file)

    return _each(pixels, through)


def halved(pixels: np.ndarray, resampling: str) -> np.ndarray:
    """Each picture at half its size and back, both by one of FILTERS. (N, H, W, C) uint8 -> the same."""
    how = FILTERS[resampling]

    def through(picture: Image.Image) -> Image.Image:
        half = (max(picture.width // 2, 1), max(picture.height // 2, 1))
        return picture.resize(half, how).resize(picture.size, how)

    return _each(pixels, through)


def salted(pixels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """So many of the pixels black or white, in all channels. (N, H, W, C) uint8 -> the same shape."""
    drawn = np.random.default_rng(seed).random((*pixels.shape[:3], 1))
    made = np.where(drawn < share / 2, 0, np.where(drawn > 1 - share / 2, 255, pixels))
    return made.astype(np.uint8)


def checkered(pixels: np.ndarray, levels: float) -> np.ndarray:
    """Neighboring pixels brighter and darker by so many gray levels in turn: what transposed convolutions
    leave. (N, H, W, C) uint8 -> the same shape.
    """
    rows, columns = np.indices(pixels.shape[1:3])
    board = 1 - 2 * ((rows + columns) % 2)  # (H, W), 1 and -1
    return _rounded(pixels + levels * np.asarray(board)[:, :, None])


def faded(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Each image drawn towards its mean gray level. (N, H, W, C) uint8 -> the same shape."""
    mean = pixels.mean((1, 2, 3), keepdims=True)
    return _rounded(mean + factor * (pixels - mean))


def posterized(pixels: np.ndarray, levels: int) -> np.ndarray:
    """Only so many gray levels left, evenly spaced. (N, H, W, C) uint8 -> the same shape."""
    step = 255 / (levels - 1)
    return _rounded(np.rint(pixels / step) * step)


def shuffled(pixels: np.ndarray, across: int, seed: int) -> np.ndarray:
    """Each image cut into across x across blocks, put together in an order of its own.

    A strip that is left over at the right and at the bottom stays. (N, H, W, C) uint8 -> the same shape.
    """
    count, height, width, channels = pixels.shape
    tall, wide = max(height // across, 1), max(width // across, 1)
    rows, columns = min(across, height), min(across, width)
    inside = pixels[:, : rows * tall, : columns * wide]
    tiles = inside.reshape(count, rows, tall, columns, wide, channels).swapaxes(2, 3)
    tiles = tiles.reshape(count, rows * columns, tall, wide, channels)  # (N, T, h, w, C)
    order = np.random.default_rng(seed).random((count, rows * columns)).argsort(1)  # (N, T)
    tiles = np.take_along_axis(tiles, order[:, :, None, None, None], 1)
    made = pixels.copy()
    tiles = tiles.reshape(count, rows, columns, tall, wide, channels).swapaxes(2, 3)
    made[:, : rows * tall, : columns * wide] = tiles.reshape(inside.shape)
    return made


def rolled(pixels: np.ndarray, axis: int) -> np.ndarray:
    """Both halves of each image in each other's place. axis: 1, top and bottom; 2, left and right."""
    return np.roll(pixels, pixels.shape[axis] // 2, axis)


def _each(pixels: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    made = [np.asarray(change(grids.to_pil(picture))) for picture in pixels]
    return np.stack(made).reshape(pixels.shape)


def _rounded(levels: np.ndarray) -> np.ndarray:
    return np.rint(levels).clip(0, 255).astype(np.uint8)


# --- each strength as a function of the stock ---


def _again(stock: CorruptionSource) -> LabeledImages:
    assert stock.second_honest is not None
    return stock.second_honest


def _painted(change: Callable[[np.ndarray, T], np.ndarray], strength: T) -> Make:
    return lambda stock: stock.honest.with_pixels(change(stock.honest.pixels, strength))


def _seeded(change: Callable[[np.ndarray, T, int], np.ndarray], strength: T) -> Make:
    return lambda stock: stock.honest.with_pixels(change(stock.honest.pixels, strength, stock.seed))


def _dropped(classes: np.ndarray) -> list[Corruption]:
    """The last class, the last half of them and all but the first left out; equal grades once."""
    count = len(classes)
    if count < 2:
        return []

    def without(gone: Sequence[int]) -> Make:
        def make(stock: CorruptionSource) -> LabeledImages:
            assert stock.honest.labels is not None
            return stock.honest.at(np.flatnonzero(~np.isin(stock.honest.labels, gone)))

        return make

    grades = sorted({1, count // 2, count - 1})
    return [
        Corruption("dropped classes", f"{gone} of {count}", without(classes[count - gone :].tolist()))
        for gone in grades
    ]


def _repeated(times: int) -> Make:
    def make(stock: CorruptionSource) -> LabeledImages:
        count = len(stock.honest)
        return stock.honest.at(np.arange(count) // times)  # the last one perhaps less often

    return make


def _one_each(stock: CorruptionSource) -> LabeledImages:
    assert stock.prototypes is not None
    return stock.honest.at(np.resize(stock.prototypes, len(stock.honest)))


def _copied(share: float) -> Make:
    def make(stock: CorruptionSource) -> LabeledImages:
        count = min(round(share * len(stock.honest)), len(stock.train))
        copies, rest = stock.train.at(np.arange(count)), stock.honest
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
    def make(stock: CorruptionSource) -> LabeledImages:
        copies = _copied(1.0)(stock)
        return copies.with_pixels(change(copies.pixels, strength))

    return make


def _disguised_by_noise(levels: float) -> Make:
    return lambda stock: _disguised(lambda pixels, s: noisy(pixels, s, stock.seed), levels)(stock)
