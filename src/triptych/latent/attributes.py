"""What is in a picture, read from the picture itself: the factors that directions are found for.

A reader gives every picture one number an attribute. Attributes belong to factors: the classes of one
factor ("kind=star", "kind=ring") exclude each other, so a step for one must move the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from triptych.core import rng
from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean
from triptych.data.datasets import shapes, shapes_inverse
from triptych.evaluation.classifier import extractor_for, fit_classifier, folder_name, steps_for, trained_once
from triptych.evaluation.ground_truth import TOLERANCE, has_known_factors, inverse_renderer_accuracy
from triptych.metrics.extractors.base import Extractor, NetworkExtractor
from triptych.metrics.extractors.domain_cnn import DomainCNN

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

TRIED = 500  # test pictures on which the exact reader of `shapes` is tried
MOST_ATTRIBUTES = 12  # small classifiers trained beside those asked for by name
FACTOR_STEPS = 1500  # at most, of each


@dataclass(frozen=True)
class Attribute:
    """One number that a reader gives. Attributes of one factor exclude or determine each other."""

    name: str
    factor: str
    least: float = 0.01
    """The smallest spread that changes are told in: a hundredth of what goes from 0 to 1, such as a
    probability; a class that next to no picture shows would else be moved infinitely by one that does."""


def units_of(readings: np.ndarray, attributes: Sequence[Attribute]) -> np.ndarray:
    """(K,): the standard deviation of each reading (N, K), or its attribute's least where that is more."""
    return np.maximum(readings.std(0), [a.least for a in attributes])


class Reader(Protocol):
    """Pictures in, one number an attribute out."""

    @property
    def name(self) -> str:
        """Who reads."""

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """What is read: K attributes."""

    @property
    def accuracy(self) -> dict[str, str]:
        """How well each factor is read on real test pictures, in words."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, H, W, C) uint8 -> (N, K) float64."""


class ShapesReader:
    """Reads `shapes` by drawing again. Classes are 0 or 1; places and radius in shares of the side.

    A color is one of the six of the palette, each an attribute of its own, so that no hue has to be
    measured around a circle. A turn is read within its kind's period p as the sine and cosine of
    2 pi turn / p, both 0 for kinds without a turn: it may be disturbed but is no target.
    """

    name = "shapes reader"

    def __init__(self, accuracy: dict[str, str]) -> None:
        self.accuracy = accuracy
        classes = {"kind": shapes.KINDS, "color": tuple(shapes.COLORS), "ground": tuple(shapes.GROUNDS)}
        named = [Attribute(f"{factor}={c}", factor) for factor, names in classes.items() for c in names]
        named += [Attribute(name, name) for name in ("radius", "x", "y")]
        self.attributes = (*named, Attribute("turn sine", "turn"), Attribute("turn cosine", "turn"))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8 -> (N, 21)."""
        return columns_of(shapes_inverse.read(pixels).factors)


def columns_of(factors: dict[str, np.ndarray]) -> np.ndarray:
    """The causes of shapes, as `shapes_reader.read` gives them, as the attributes of `ShapesReader`."""
    counts = {"kind": len(shapes.KINDS), "color": len(shapes.COLORS), "ground": len(shapes.GROUNDS)}
    told = [np.eye(count)[factors[name]] for name, count in counts.items()]
    told += [factors[name][:, None].astype(np.float64) for name in ("radius", "x", "y")]
    periods = np.array([shapes_inverse.PERIODS.get(kind, np.inf) for kind in shapes.KINDS])[factors["kind"]]
    angle, turns = 2 * np.pi * factors["turn"] / periods, np.isfinite(periods)
    told += [(np.sin(angle) * turns)[:, None], (np.cos(angle) * turns)[:, None]]
    return np.concatenate(told, 1)


class ClassReader:
    """A judge's class probabilities, and how bright and how full of contrast a picture is."""

    def __init__(self, judge: Extractor, names: Sequence[str]) -> None:
        self.name, self._judge = judge.name, judge
        named = [Attribute(f"class={name}", "class") for name in names]
        named += [Attribute(level, level, least=1.0) for level in ("brightness", "contrast")]  # a gray level
        self.attributes = tuple(named)
        right = "not stated" if judge.accuracy is None else f"{judge.accuracy:.1%} of test pictures right"
        self.accuracy = {"class": right, "brightness": "exact", "contrast": "exact"}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, H, W, C) uint8 -> (N, classes + 2); brightness and contrast: mean and spread of the levels."""
        levels = pixels.reshape(len(pixels), -1).astype(np.float64)
        return np.column_stack([self._judge.probabilities(pixels), levels.mean(1), levels.std(1)])


class FactorReader:
    """One small classifier for each 0/1 factor of a source's training pictures: `celeba`'s attributes.

    Each gives the probability that its factor is 1. It is trained once and kept in the cache.
    """

    def __init__(self, dataset: Dataset, names: Sequence[str]) -> None:
        self.name = f"{dataset.name} factor classifiers"
        self.attributes = tuple(Attribute(name, name) for name in names)
        self.accuracy: dict[str, str] = {}
        self._judges = [_factor_judge(dataset, name) for name in names]
        for name, judge in zip(names, self._judges, strict=True):
            ones = float(np.asarray(dataset.test.factors[name]).mean())
            usual, right = max(ones, 1 - ones), f"{judge.accuracy:.1%} of test pictures right"
            self.accuracy[name] = f"{right} (the commoner answer: {usual:.1%})"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, H, W, C) uint8 -> (N, factors)."""
        return np.column_stack([judge.probabilities(pixels)[:, 1] for judge in self._judges])


def _factor_judge(dataset: Dataset, name: str) -> NetworkExtractor:
    import torch

    spec = dataset.spec
    labels, truth = (np.asarray(s.factors[name]).astype(np.int64) for s in (dataset.train, dataset.test))
    steps = min(steps_for(len(labels)), FACTOR_STEPS)

    def fresh() -> DomainCNN:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.mix(dataset.fingerprint, "factor weights", name))
            return DomainCNN(spec.channels, spec.size, 2, 64)

    def train() -> DomainCNN:
        source = rng.generator(dataset.fingerprint, "factor", name)
        return fit_classifier(fresh(), dataset.train.pixels, labels, steps, source, junk=False)

    def accuracy(judge: NetworkExtractor) -> float:
        return float((judge.logits(np.asarray(dataset.test.pixels)).argmax(1) == truth).mean())

    # The source's own fingerprint is of its pictures, not of its factors.
    told = hashlib.sha256(dataset.fingerprint.encode() + labels.tobytes() + truth.tobytes()).hexdigest()
    called = f"{dataset.name}-{name}"
    folder = folder_name(called, told, spec.size, spec.channels, steps)
    return trained_once(folder, called, told, spec.size, fresh, train, accuracy)


def read_by_factor(dataset: Dataset) -> list[str]:
    """The 0/1 factors of a source that small classifiers learn to read; none where it is read otherwise."""
    if has_known_factors(dataset):
        return []
    return [name for name, values in dataset.train.factors.items() if set(np.unique(values)) == {0, 1}]


def reader_for(
    dataset: Dataset, attributes: Sequence[str] | None = None, judge: Extractor | None = None
) -> Reader:
    """Who reads pictures of a source: the exact reader of `shapes`, or classifiers of 0/1 factors or classes.

    attributes: of a source with 0/1 factors, which of them to learn to read for certain. The first twelve
    others are read beside them: a direction for one is held to what it does to others. judge: the
    source's classifier, where it is at hand. Raises UsageError for a source about whose pictures nothing is
    known, and for unknown factors.
    """
    if has_known_factors(dataset):
        return ShapesReader(_shapes_accuracy(dataset))
    if told := read_by_factor(dataset):
        wanted = list(dict.fromkeys(attributes or ()))
        if unknown := sorted(set(wanted) - set(told)):
            hint = did_you_mean(unknown[0], told)
            raise UsageError(
                f"{dataset.name} has no 0/1 factor {unknown[0]!r}.{hint} There are: {', '.join(told)}"
            )
        others = [name for name in told if name not in wanted]
        return FactorReader(dataset, wanted + others[:MOST_ATTRIBUTES])
    if dataset.train.labels is not None and dataset.spec.classes > 1:
        return ClassReader(judge or extractor_for(dataset), dataset.class_names)
    raise UsageError(
        f"nothing is known about the pictures of {dataset.name}: directions from labels need class folders "
        "or factors. Without them: --method closed-form"
    )


def _shapes_accuracy(dataset: Dataset) -> dict[str, str]:
    split = dataset.test
    facts = inverse_renderer_accuracy(
        shapes_inverse.read(np.asarray(split.pixels[:TRIED])), split.factors, dataset.spec.size, TOLERANCE
    )
    return {
        "kind": f"{facts.kind:.1%} of {facts.n} test pictures right",
        "color": f"{facts.color:.1%} right",
        "ground": f"{facts.ground:.1%} right",
        "radius": f"off by {facts.radius_px:.3f} px on average",
        "x": f"off by {facts.x_px:.3f} px on average",
        "y": f"off by {facts.y_px:.3f} px on average",
        "turn": f"off by {facts.turn_degrees:.1f} degrees in the median",
    }
