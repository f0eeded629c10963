"""Modes that are known and can be counted: eight Gaussians on a ring, a thousand triples of digits."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from triptych.core.images import to_float
from triptych.core.record import Record
from triptych.data import points, stacked
from triptych.metrics.diversity import SURE, Modes, diversity_of_counts
from triptych.metrics.features import Extractor

if TYPE_CHECKING:
    from triptych.data import Dataset

REACH = 3.0  # sigma: farther from every middle, a point belongs to no mode (98.9 % of the data's own do)


class ModeCount(Record):
    """Which of a source's modes the samples show, and how evenly."""

    n: int
    """Samples."""
    near: float | None
    """Share of them within 3 sigma of a mode's middle; None where modes are recognised, not measured."""
    modes: Modes
    """Of the samples that belong to a mode."""
    kl: float | None
    """KL(samples' histogram || even), nats; None where no sample belongs to a mode."""
    kl_expected: float | None
    """What it would be on average if the samples were the data's own."""

    def __str__(self) -> str:
        m = self.modes
        text = (
            f"{m.covered} of {m.of} modes have at least {m.due:.0%} of their share; {m.seen} were seen in "
            f"{self.n:,} samples ({m.seen_expected:,.0f} expected of the data's own)"
        )
        if self.kl is not None:
            text += f"; KL to an even spread {self.kl:.3g} nats ({self.kl_expected:.3g} expected)"
        if self.near is not None:
            text += f"; {self.near:.1%} of the samples lie within 3 sigma of a mode"
        return text


def ring_modes(pixels: np.ndarray) -> ModeCount:
    """Modes of `points:ring` among samples: each counts for the nearest middle, if that is within 3 sigma.

    pixels: (N, 1, 1, 2) uint8. Raises ValueError on other shapes.
    """
    apart = points.distances(_coordinates(pixels))  # (N, 8)
    near = apart.min(1) < REACH
    counts = np.bincount(apart.argmin(1)[near], minlength=apart.shape[1])
    return _counted(counts, len(pixels), float(near.mean()))


def stacked_modes(pixels: np.ndarray, judge: Extractor) -> ModeCount:
    """Modes of `stacked:mnist` among samples, and KL to the even spread (Metz et al. 2017, section 3.3.1).

    pixels: (N, H, W, 3) uint8. judge: a classifier of single digits, which reads each colour by itself.
    Raises ValueError on other shapes and for a judge of other than ten classes.
    """
    if pixels.ndim != 4 or pixels.shape[3] != 3 or judge.classes != 10:
        raise ValueError(
            f"expected (N, H, W, 3) pictures and a judge of ten digits, got {pixels.shape} and one of "
            f"{judge.classes} classes"
        )
    digits = np.stack([judge.probabilities(one).argmax(1) for one in _channels(pixels)], axis=1)  # (N, 3)
    counts = np.bincount(stacked.mode_numbers(digits), minlength=stacked.MODES)
    return _counted(counts, len(pixels), None)


def mode_count(pixels: np.ndarray, dataset: Dataset, judge: Extractor) -> ModeCount | None:
    """The modes among samples of a source that has known ones; None for other sources and judges."""
    if dataset.source == "points:ring":
        return ring_modes(pixels)
    return stacked_modes(pixels, judge.single) if isinstance(judge, StackedJudge) else None


def _counted(counts: np.ndarray, n: int, near: float | None) -> ModeCount:
    found = diversity_of_counts(counts, np.ones(len(counts), np.int64), n)
    return ModeCount(n=n, near=near, modes=found.modes, kl=found.kl, kl_expected=found.kl_expected)


def _coordinates(pixels: np.ndarray) -> np.ndarray:
    """(N, 1, 1, 2) uint8 -> (N, 2) float64 in [-1, 1]."""
    if pixels.ndim != 4 or pixels.shape[1:] != (1, 1, 2):
        raise ValueError(f"expected points (N, 1, 1, 2) uint8, got {pixels.shape} {pixels.dtype}")
    return to_float(np.array(pixels))[:, :, 0, 0].double().numpy()


def _channels(pixels: np.ndarray) -> list[np.ndarray]:
    """Each colour as pictures of one channel: three times (N, H, W, 1)."""
    return [np.ascontiguousarray(pixels[..., [k]]) for k in range(3)]


class RingJudge:
    """Points as they are: the coordinates are the features, and the mixture is known.

    Beside the eight Gaussians it thinks of a thin even spread over everything, which it calls no class:
    it is surer than 0.9 of exactly the points within 3 sigma of a middle.
    """

    name, resize, width, accuracy = "coordinates", "none", 2, 1.0
    classes = len(points.DIRECTIONS)
    hash = hashlib.sha256(f"ring {points.RADIUS} {points.SIGMA} {REACH}".encode()).hexdigest()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 2) float32 of (N, 1, 1, 2) uint8."""
        return _coordinates(pixels).astype(np.float32)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 8) float64: the posterior, with what falls to the even spread shared out evenly."""
        inside = np.exp(-0.5 * points.distances(_coordinates(pixels)) ** 2)  # (N, 8)
        even = np.exp(-0.5 * REACH**2) * (1 - SURE) / (SURE - 1 / self.classes)
        return (inside + even / self.classes) / (inside.sum(1, keepdims=True) + even)


class StackedJudge:
    """A classifier of single digits that reads each colour by itself, for pictures of three digits."""

    classes = stacked.MODES

    def __init__(self, single: Extractor) -> None:
        self.single, self.name, self.hash = single, f"{single.name}-stacked", single.hash
        self.width, self.resize = 3 * single.width, single.resize
        self.accuracy = None if single.accuracy is None else single.accuracy**3  # the draws are independent

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 3 D) float32 of (N, H, W, 3) uint8: red's features, then green's, then blue's."""
        return np.concatenate([self.single(one) for one in _channels(pixels)], axis=1)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 1000) float64: the product of the three digits' probabilities."""
        red, green, blue = (self.single.probabilities(one) for one in _channels(pixels))  # (N, 10) each
        return np.einsum("na,nb,nc->nabc", red, green, blue).reshape(len(pixels), -1)
