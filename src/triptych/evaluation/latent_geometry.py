"""What a model is like beyond its scores: how sharp it draws, and whether its noise has a structure.

These are the properties by which textbooks set GANs and VAEs apart ("sharp or blurred", "a latent space
with or without structure"); here each is a number that the model itself is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import stdtrit

from triptych.core import rng as streams
from triptych.core.config import Record
from triptych.inference.pipeline import Pipeline
from triptych.metrics.class_coverage import CONFIDENT
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.spectral import sharpness

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

PAIRS, STEPS = 48, 16  # arcs between two noises, and pictures on each
PROBED = 1500  # pictures whose class is guessed from their noise
MOST_CLASSES = 100  # of more, too few pictures each are probed


class LatentGeometry(Record):
    """Measured properties of one model. Intervals are 95 %, over the arcs walked (t)."""

    sharpness: float
    """Mean over samples of the variance of the Laplacian."""
    sharpness_real: float
    """The same of real test pictures."""
    path_ratio: float
    """Length of the way in feature space along an arc through the noise, over the distance of its ends:
    1 is straight; the more, the more other pictures are passed on the way."""
    path_ratio_low: float
    path_ratio_high: float
    max_step_share: float
    """Mean share of the way that is made in its largest step: 1 / steps is even, 1 is one jump."""
    uniform_step_share: float
    """1 / steps: the least `leap` there can be."""
    confident_ends: float | None
    """Share of the arcs' ends that the judge is over 0.9 sure of; None without classes."""
    confident_midpoints: float | None
    """The same of the pictures half-way: high where the space between two pictures holds pictures too."""
    linear_probe: float | None
    """Share of pictures whose class a linear classifier reads off their noise, on noise it has not seen;
    None without classes (or with over 100), and for conditional models, to which the class is told."""
    linear_probe_chance: float | None
    """What always guessing the most frequent class would get."""


def measure_latent_geometry(
    model: Pipeline, dataset: Dataset, extractor: Extractor, samples: np.ndarray
) -> LatentGeometry:
    """Measure a model. drawn: samples of it, (N, H, W, C) uint8, at least 2; judge: of its source."""
    detours, leaps, ends, middles = _walk(model, extractor)
    error = detours.std(ddof=1) / len(detours) ** 0.5 * float(stdtrit(len(detours) - 1, 0.975))
    told = model.model.conditional or not 0 < extractor.classes <= MOST_CLASSES
    probe, chance = (None, None) if told else _probe(model, extractor)
    return LatentGeometry(
        sharpness=sharpness(samples),
        sharpness_real=sharpness(np.asarray(dataset.test.pixels[: len(samples)])),
        path_ratio=float(detours.mean()),
        path_ratio_low=float(detours.mean() - error),
        path_ratio_high=float(detours.mean() + error),
        max_step_share=float(leaps.mean()),
        uniform_step_share=1 / STEPS,
        confident_ends=_sure(extractor, ends),
        confident_midpoints=_sure(extractor, middles),
        linear_probe=probe,
        linear_probe_chance=chance,
    )


def _walk(model: Pipeline, judge: Extractor) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Detour and largest step of each arc, (PAIRS,) each; the pictures at its ends and in its middle."""
    noises = streams.noise(range(2 * PAIRS), model.model.noise_shape)
    shares = torch.linspace(0, 1, STEPS + 1)
    ways = torch.cat([streams.slerp(noises[2 * k], noises[2 * k + 1], shares) for k in range(PAIRS)])
    kept = model.labels_for(range(PAIRS))  # on one arc the label stays: only the noise changes
    labels = None if kept is None else kept.repeat_interleave(STEPS + 1)
    same = [k for k in range(PAIRS) for _ in range(STEPS + 1)]  # and the sampler's own noise
    pictures = model.generate(ways, labels, seeds=same)
    features = judge(pictures).astype(np.float64).reshape(PAIRS, STEPS + 1, -1)
    steps = np.linalg.norm(np.diff(features, axis=1), axis=2)  # (PAIRS, STEPS)
    apart = np.linalg.norm(features[:, -1] - features[:, 0], axis=1)  # (PAIRS,)
    moved = (apart > 0) & (steps.sum(1) > 0)
    if moved.sum() < 2:
        raise ValueError("the model draws one picture whatever the noise: there is no way to measure")
    by_arc = pictures.reshape(PAIRS, STEPS + 1, *pictures.shape[1:])
    ends = np.concatenate([by_arc[:, 0], by_arc[:, -1]])
    detours, leaps = steps.sum(1)[moved] / apart[moved], steps.max(1)[moved] / steps.sum(1)[moved]
    return detours, leaps, ends, by_arc[:, STEPS // 2]


def _sure(judge: Extractor, pictures: np.ndarray) -> float | None:
    if not judge.classes:
        return None
    return float((judge.probabilities(pictures).max(1) > CONFIDENT).mean())


def _probe(model: Pipeline, judge: Extractor) -> tuple[float, float]:
    """Accuracy of a linear reading of the class from the noise, and of the best constant guess."""
    from sklearn.linear_model import LogisticRegression

    noise = streams.noise(range(PROBED), model.model.noise_shape)
    classes = judge.probabilities(model.generate(noise)).argmax(1)
    inputs, half = noise.flatten(1).numpy(), PROBED // 2
    counts = np.bincount(classes[half:], minlength=judge.classes)
    if len(np.unique(classes[:half])) < 2:  # collapsed to one class: nothing to tell apart
        return float((classes[half:] == classes[0]).mean()), float(counts.max() / counts.sum())
    reader = LogisticRegression(C=0.1, max_iter=300).fit(inputs[:half], classes[:half])
    return float(reader.score(inputs[half:], classes[half:])), float(counts.max() / counts.sum())
