"""ModeCoverage that are known and can be counted: eight Gaussians on a ring, a thousand triples of digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from triptych.core.config import Record
from triptych.data.datasets import ring, stacked_mnist
from triptych.evaluation.known_mode_classifiers import (
    MAX_SIGMAS,
    StackedDigitsClassifier,
    channels,
    coordinates,
)
from triptych.metrics.class_coverage import ModeCoverage, class_diversity_of_counts
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.inputs import ImageSet

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset


class ModeCount(Record):
    """How many of a source's known modes the samples cover, and how evenly."""

    n: int
    """Samples."""
    near: float | None
    """Share of them within 3 sigma of a mode's mean; None where a classifier assigns the modes."""
    modes: ModeCoverage
    """Of the samples that belong to a mode."""
    kl: float | None
    """KL(samples' histogram || uniform), nats; None where no sample belongs to a mode."""
    kl_expected: float | None
    """What it would be on average if the samples were the data's own."""

    def __str__(self) -> str:
        m = self.modes
        text = (
            f"{m.covered} of {m.total} modes have at least {m.min_share:.0%} of their share; {m.seen} were "
            f"seen in {self.n:,} samples ({m.seen_expected:,.0f} expected of the data's own)"
        )
        if self.kl is not None:
            text += f"; KL to the uniform distribution {self.kl:.3g} nats ({self.kl_expected:.3g} expected)"
        if self.near is not None:
            text += f"; {self.near:.1%} of the samples lie within 3 sigma of a mode"
        return text


def ring_modes(pixels: np.ndarray) -> ModeCount:
    """Modes of `points:ring` among samples: each counts for the nearest mean, if that is within 3 sigma.

    Args:
        pixels: (N, 1, 1, 2) uint8.

    Returns:
        The mode count.
    """
    apart = ring.distances(coordinates(pixels))  # (N, 8)
    near = apart.min(1) < MAX_SIGMAS
    counts = np.bincount(apart.argmin(1)[near], minlength=apart.shape[1])
    return _counted(counts, len(pixels), float(near.mean()))


def stacked_modes(pixels: np.ndarray, extractor: Extractor) -> ModeCount:
    """Modes of `stacked:mnist` among samples, and KL to the uniform distribution.

    Args:
        pixels: (N, H, W, 3) uint8.
        extractor: a classifier of single digits, applied to each color channel.

    Returns:
        The mode count.

    Raises:
        ValueError: for other shapes, and for a classifier of other than ten classes.

    References:
        Metz, Poole, Pfau, Sohl-Dickstein (2017): Unrolled generative adversarial networks, section 3.3.1.
    """
    if pixels.ndim != 4 or pixels.shape[3] != 3 or extractor.classes != 10:
        raise ValueError(
            f"expected (N, H, W, 3) images and a classifier of ten digits, got {pixels.shape} and one of "
            f"{extractor.classes} classes"
        )
    digits = np.stack([extractor.probabilities(one).argmax(1) for one in channels(pixels)], axis=1)  # (N, 3)
    counts = np.bincount(stacked_mnist.mode_numbers(digits), minlength=stacked_mnist.MODES)
    return _counted(counts, len(pixels), None)


def mode_count(samples: ImageSet, dataset: Dataset) -> ModeCount | None:
    """The modes among samples of a source that has known ones.

    Args:
        samples: of a model, with their extractor.
        dataset: its source.

    Returns:
        The mode count; None for other sources and extractors.
    """
    if dataset.source == "points:ring":
        return ring_modes(samples.pixels)
    if not isinstance(samples.extractor, StackedDigitsClassifier):
        return None
    modes = samples.probabilities.argmax(1)  # (N,): the product is largest where each digit's is
    return _counted(np.bincount(modes, minlength=stacked_mnist.MODES), len(samples), None)


def _counted(counts: np.ndarray, n: int, near: float | None) -> ModeCount:
    diversity = class_diversity_of_counts(counts, np.ones(len(counts), np.int64), n)
    return ModeCount(
        n=n, near=near, modes=diversity.modes, kl=diversity.kl, kl_expected=diversity.kl_expected
    )
