"""Attribute predictors: what is in an image, as numbers; directions are found for these attributes.

A predictor gives one number per attribute of an image. Attributes belong to factors: the classes of one
factor ("kind=star", "kind=ring") exclude each other, so that a step for one must change the others.
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

ACCURACY_IMAGES = 500  # test images on which the inverse renderer of `shapes` is measured
MAX_OTHER_ATTRIBUTES = 12  # classifiers trained beside those of the attributes chosen by name
MAX_FACTOR_STEPS = 1500  # of the training of each


@dataclass(frozen=True)
class Attribute:
    """One number that a predictor gives. Attributes of one factor exclude or determine each other."""

    name: str
    factor: str
    min_unit: float = 0.01
    """The smallest unit of changes: a hundredth of what goes from 0 to 1, such as a probability; the change
    of a class that hardly any image shows would be divided by almost 0 otherwise."""


def attribute_units(values: np.ndarray, attributes: Sequence[Attribute]) -> np.ndarray:
    """Give the unit in which changes of each attribute are measured.

    Args:
        values: (N, K) of unedited samples.
        attributes: K attributes.

    Returns:
        (K,): the standard deviation, or the attribute's `min_unit` where that is more.
    """
    return np.maximum(values.std(0), [a.min_unit for a in attributes])


class AttributePredictor(Protocol):
    """Predicts the attributes of images."""

    @property
    def name(self) -> str:
        """The predictor's name."""

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The K attributes."""

    @property
    def accuracy(self) -> dict[str, str]:
        """How accurate each factor is on real test images, in words."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, H, W, C) uint8 -> (N, K) float64."""


class ShapesPredictor:
    """Recovers the factors of `shapes` by inverse rendering.

    Classes are 0 or 1; positions and radius are shares of the side. Each of the six colors of the palette is
    an attribute of its own, so that no hue has to be measured around a circle. A rotation is given within its
    kind's period p as the sine and cosine of 2 pi turn / p, both 0 for kinds without one: it may change, but
    is no target by default.
    """

    name = "inverse renderer of shapes"

    def __init__(self, accuracy: dict[str, str]) -> None:
        self.accuracy = accuracy
        classes = {"kind": shapes.KINDS, "color": tuple(shapes.COLORS), "ground": tuple(shapes.GROUNDS)}
        named = [Attribute(f"{factor}={c}", factor) for factor, names in classes.items() for c in names]
        named += [Attribute(name, name) for name in ("radius", "x", "y")]
        self.attributes = (*named, Attribute("turn sine", "turn"), Attribute("turn cosine", "turn"))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8 -> (N, 21)."""
        return shape_attributes(shapes_inverse.read(pixels).factors)


def shape_attributes(factors: dict[str, np.ndarray]) -> np.ndarray:
    """The factors that `shapes_inverse.read` gives, as the attributes of `ShapesPredictor`: (N, 21)."""
    counts = {"kind": len(shapes.KINDS), "color": len(shapes.COLORS), "ground": len(shapes.GROUNDS)}
    columns = [np.eye(count)[factors[name]] for name, count in counts.items()]
    columns += [factors[name][:, None].astype(np.float64) for name in ("radius", "x", "y")]
    periods = np.array([shapes_inverse.PERIODS.get(kind, np.inf) for kind in shapes.KINDS])[factors["kind"]]
    angle, turns = 2 * np.pi * factors["turn"] / periods, np.isfinite(periods)
    columns += [(np.sin(angle) * turns)[:, None], (np.cos(angle) * turns)[:, None]]
    return np.concatenate(columns, 1)


class ClassPredictor:
    """Class probabilities of a domain classifier, and brightness and contrast.

    Args:
        classifier: The domain classifier.
        names: Of its classes.
    """

    def __init__(self, classifier: Extractor, names: Sequence[str]) -> None:
        self.name, self._classifier = classifier.name, classifier
        named = [Attribute(f"class={name}", "class") for name in names]
        named += [
            Attribute(level, level, min_unit=1.0) for level in ("brightness", "contrast")
        ]  # a gray level
        self.attributes = tuple(named)
        known = classifier.accuracy is not None
        right = f"{classifier.accuracy:.1%} of test images right" if known else "not stated"
        self.accuracy = {"class": right, "brightness": "exact", "contrast": "exact"}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, H, W, C) uint8 -> (N, classes + 2); brightness and contrast: mean and std of gray levels."""
        levels = pixels.reshape(len(pixels), -1).astype(np.float64)
        return np.column_stack([self._classifier.probabilities(pixels), levels.mean(1), levels.std(1)])


class FactorPredictor:
    """One small classifier per binary factor of a data set, such as CelebA's attributes.

    Each gives the probability that its factor is 1. It is trained once and kept in the cache.

    Args:
        dataset: The data set.
        names: Of its binary factors.
    """

    def __init__(self, dataset: Dataset, names: Sequence[str]) -> None:
        self.name = f"{dataset.name} factor classifiers"
        self.attributes = tuple(Attribute(name, name) for name in names)
        self.accuracy: dict[str, str] = {}
        self._classifiers = [_factor_classifier(dataset, name) for name in names]
        for name, classifier in zip(names, self._classifiers, strict=True):
            ones = float(np.asarray(dataset.test.factors[name]).mean())
            usual, right = max(ones, 1 - ones), f"{classifier.accuracy:.1%} of test images right"
            self.accuracy[name] = f"{right} (the more frequent value: {usual:.1%})"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, H, W, C) uint8 -> (N, factors)."""
        return np.column_stack([one.probabilities(pixels)[:, 1] for one in self._classifiers])


def _factor_classifier(dataset: Dataset, name: str) -> NetworkExtractor:
    import torch

    spec = dataset.spec
    labels, truth = (np.asarray(s.factors[name]).astype(np.int64) for s in (dataset.train, dataset.test))
    steps = min(steps_for(len(labels)), MAX_FACTOR_STEPS)

    def fresh() -> DomainCNN:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.mix(dataset.fingerprint, "factor weights", name))
            return DomainCNN(spec.channels, spec.size, 2, 64)

    def train() -> DomainCNN:
        source = rng.generator(dataset.fingerprint, "factor", name)
        return fit_classifier(fresh(), dataset.train.pixels, labels, steps, source, junk=False)

    def accuracy(classifier: NetworkExtractor) -> float:
        return float((classifier.logits(np.asarray(dataset.test.pixels)).argmax(1) == truth).mean())

    # the data set's own fingerprint is of its images, not of its factors
    fingerprint = hashlib.sha256(
        dataset.fingerprint.encode() + labels.tobytes() + truth.tobytes()
    ).hexdigest()
    full_name = f"{dataset.name}-{name}"
    folder = folder_name(full_name, fingerprint, spec.size, spec.channels, steps)
    return trained_once(folder, full_name, fingerprint, spec.size, fresh, train, accuracy)


def binary_factors(dataset: Dataset) -> list[str]:
    """The binary factors of a data set that classifiers are trained for; none where factors are known."""
    if has_known_factors(dataset):
        return []
    return [name for name, values in dataset.train.factors.items() if set(np.unique(values)) == {0, 1}]


def predictor_for(
    dataset: Dataset, attributes: Sequence[str] | None = None, classifier: Extractor | None = None
) -> AttributePredictor:
    """Choose a predictor: the inverse renderer of `shapes`, or classifiers of binary factors or of classes.

    Args:
        dataset: The data set.
        attributes: Which of a data set's binary factors are needed. The first twelve others are predicted
            beside them, as a direction for one should not change the others.
        classifier: The data set's domain classifier, where it is at hand.

    Returns:
        The predictor.

    Raises:
        UsageError: The data set has no classes and no factors, or an attribute is unknown.
    """
    if has_known_factors(dataset):
        return ShapesPredictor(_shapes_accuracy(dataset))
    if known := binary_factors(dataset):
        wanted = list(dict.fromkeys(attributes or ()))
        if unknown := sorted(set(wanted) - set(known)):
            hint = did_you_mean(unknown[0], known)
            raise UsageError(
                f"{dataset.name} has no binary factor {unknown[0]!r}.{hint} There are: {', '.join(known)}"
            )
        others = [name for name in known if name not in wanted]
        return FactorPredictor(dataset, wanted + others[:MAX_OTHER_ATTRIBUTES])
    if dataset.train.labels is not None and dataset.spec.classes > 1:
        return ClassPredictor(classifier or extractor_for(dataset), dataset.class_names)
    raise UsageError(
        f"{dataset.name} has neither classes nor factors: directions from labels need class folders or "
        "factors. Without them: --method closed-form"
    )


def _shapes_accuracy(dataset: Dataset) -> dict[str, str]:
    split = dataset.test
    facts = inverse_renderer_accuracy(
        shapes_inverse.read(np.asarray(split.pixels[:ACCURACY_IMAGES])),
        split.factors,
        dataset.spec.size,
        TOLERANCE,
    )
    return {
        "kind": f"{facts.kind:.1%} of {facts.n} test images right",
        "color": f"{facts.color:.1%} right",
        "ground": f"{facts.ground:.1%} right",
        "radius": f"off by {facts.radius_px:.3f} px on average",
        "x": f"off by {facts.x_px:.3f} px on average",
        "y": f"off by {facts.y_px:.3f} px on average",
        "turn": f"off by {facts.turn_degrees:.1f} degrees in the median",
    }
