"""Latent geometry: sharpness of the samples, paths of interpolations in feature space, a linear probe.

Textbooks distinguish GANs and VAEs by these properties ("sharp or blurred", "a latent space with or without
structure"); here each is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from triptych.core import rng as streams
from triptych.core.config import Record
from triptych.inference.pipeline import Pipeline
from triptych.metrics.class_coverage import CONFIDENT
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.inputs import ImageSet
from triptych.metrics.spectral import sharpness
from triptych.metrics.stats.quantiles import t_quantile

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

PAIRS, STEPS = 48, 16  # interpolations between two noises, and steps of each
PROBED = 1500  # images whose class the linear probe predicts from their noise
MAX_CLASSES = 100  # of more, too few images each are probed


class LatentGeometry(Record):
    """Measured properties of one model. Intervals are 95%, over interpolations (t)."""

    sharpness: float
    """Mean over samples of the variance of the Laplacian."""
    sharpness_real: float
    """The same of real test images."""
    path_ratio: float
    """Length of a spherical interpolation's path in feature space over the distance of its ends, mean:
    1 is straight; the longer, the more other images lie on the path."""
    path_ratio_low: float
    path_ratio_high: float
    max_step_share: float
    """Mean over interpolations of (longest step / path length): 1 / steps is uniform, 1 is one jump."""
    uniform_step_share: float
    """1 / steps: the least `leap` there can be."""
    confident_ends: float | None
    """Share of the ends whose most probable class has a probability above 0.9; None without classes."""
    confident_midpoints: float | None
    """The same of the midpoints: high where images between two images are like the data too."""
    linear_probe: float | None
    """Share of images whose class a linear classifier predicts from their noise, on held-out noise; None
    without classes (or with over 100), and for conditional models, which are given the class."""
    linear_probe_chance: float | None
    """What always guessing the most frequent class would get."""


def measure_latent_geometry(
    model: Pipeline, dataset: Dataset, extractor: Extractor, samples: np.ndarray
) -> LatentGeometry:
    """Measure sharpness, and the paths that spherical interpolation of the noise takes in feature space.

    Args:
        model: the model.
        dataset: its source.
        extractor: gives features, and the classes that the linear probe predicts.
        samples: of the model, (N, H, W, C) uint8, N >= 2.

    Returns:
        The measurements. A ValueError refuses a model that draws one image whatever the noise, and points.
    """
    ratios, step_shares, ends, midpoints = _paths(model, extractor)
    reach = t_quantile(len(ratios) - 1) * ratios.std(ddof=1) / len(ratios) ** 0.5
    unprobed = model.model.conditional or not 0 < extractor.classes <= MAX_CLASSES
    probe, chance = (None, None) if unprobed else _linear_probe(model, extractor)
    return LatentGeometry(
        sharpness=sharpness(samples),
        sharpness_real=sharpness(np.asarray(dataset.test.pixels[: len(samples)])),
        path_ratio=float(ratios.mean()),
        path_ratio_low=float(ratios.mean() - reach),
        path_ratio_high=float(ratios.mean() + reach),
        max_step_share=float(step_shares.mean()),
        uniform_step_share=1 / STEPS,
        confident_ends=ends,
        confident_midpoints=midpoints,
        linear_probe=probe,
        linear_probe_chance=chance,
    )


def _paths(
    model: Pipeline, extractor: Extractor
) -> tuple[np.ndarray, np.ndarray, float | None, float | None]:
    """Path ratio and largest step's share of each interpolation, (PAIRS,) each, where the image changes at
    all; the share of confident ends, and that of confident midpoints (None without classes)."""
    noises = streams.noise(range(2 * PAIRS), model.model.noise_shape)
    shares = torch.linspace(0, 1, STEPS + 1)
    arcs = torch.cat([streams.slerp(noises[2 * k], noises[2 * k + 1], shares) for k in range(PAIRS)])
    classes = model.labels_for(range(PAIRS))  # on one arc the label stays: only the noise changes
    labels = None if classes is None else classes.repeat_interleave(STEPS + 1)
    seeds = [k for k in range(PAIRS) for _ in range(STEPS + 1)]  # and the sampler's own noise
    images = ImageSet(model.generate(arcs, labels, seeds=seeds), extractor, with_probabilities=True)
    features = images.features.astype(np.float64).reshape(PAIRS, STEPS + 1, -1)
    steps = np.linalg.norm(np.diff(features, axis=1), axis=2)  # (PAIRS, STEPS)
    apart = np.linalg.norm(features[:, -1] - features[:, 0], axis=1)  # (PAIRS,)
    moved = (apart > 0) & (steps.sum(1) > 0)
    if moved.sum() < 2:
        raise ValueError("the model draws one image whatever the noise: there is no path to measure")
    ratios, largest = steps.sum(1)[moved] / apart[moved], steps.max(1)[moved] / steps.sum(1)[moved]
    if not extractor.classes:
        return ratios, largest, None, None
    confident = (images.probabilities.max(1) > CONFIDENT).reshape(PAIRS, STEPS + 1)
    return ratios, largest, float(confident[:, [0, -1]].mean()), float(confident[:, STEPS // 2].mean())


def _linear_probe(model: Pipeline, extractor: Extractor) -> tuple[float, float]:
    """Accuracy of a linear classifier of the class from the noise, and of the best constant guess."""
    from sklearn.linear_model import LogisticRegression

    noise = streams.noise(range(PROBED), model.model.noise_shape)
    classes = extractor.probabilities(model.generate(noise)).argmax(1)
    inputs, half = noise.flatten(1).numpy(), PROBED // 2
    counts = np.bincount(classes[half:], minlength=extractor.classes)
    if len(np.unique(classes[:half])) < 2:  # collapsed to one class: nothing to tell apart
        return float((classes[half:] == classes[0]).mean()), float(counts.max() / counts.sum())
    probe = LogisticRegression(C=0.1, max_iter=300).fit(inputs[:half], classes[:half])
    return float(probe.score(inputs[half:], classes[half:])), float(counts.max() / counts.sum())
