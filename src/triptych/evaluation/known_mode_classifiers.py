"""Classifiers for sources whose modes are known: ring points, stacked digits."""

from __future__ import annotations

import hashlib

import numpy as np

from triptych.core.images import to_float
from triptych.data.datasets import ring, stacked_mnist
from triptych.metrics.class_coverage import CONFIDENT
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.inputs import ImageSet

MAX_SIGMAS = 3.0  # farther from every mean, a point belongs to no mode (98.9% of the data belong to one)


def coordinates(pixels: np.ndarray) -> np.ndarray:
    """Points stored as images, (N, 1, 1, 2) uint8 -> (N, 2) float64 in [-1, 1]."""
    if pixels.ndim != 4 or pixels.shape[1:] != (1, 1, 2):
        raise ValueError(f"expected points (N, 1, 1, 2) uint8, got {pixels.shape} {pixels.dtype}")
    return to_float(np.array(pixels))[:, :, 0, 0].double().numpy()


def channels(pixels: np.ndarray) -> list[np.ndarray]:
    """Each color channel as images of one channel: three times (N, H, W, 1)."""
    return [np.ascontiguousarray(pixels[..., [k]]) for k in range(3)]


class RingClassifier:
    """The coordinates are the features, and the posterior of the known mixture gives the probabilities.

    Beside the eight Gaussians the mixture has a thin uniform component over the plane, which counts as no
    class: probabilities exceed 0.9 for exactly the points within 3 sigma of a mean.
    """

    name, resize, width, accuracy = "coordinates", "none", 2, 1.0
    classes = len(ring.DIRECTIONS)
    hash = hashlib.sha256(f"ring {ring.RADIUS} {ring.SIGMA} {MAX_SIGMAS}".encode()).hexdigest()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 2) float32 of (N, 1, 1, 2) uint8."""
        return coordinates(pixels).astype(np.float32)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 8) float64: the posterior; the uniform component is divided equally among the classes."""
        inside = np.exp(-0.5 * ring.distances(coordinates(pixels)) ** 2)  # (N, 8)
        even = np.exp(-0.5 * MAX_SIGMAS**2) * (1 - CONFIDENT) / (CONFIDENT - 1 / self.classes)
        return (inside + even / self.classes) / (inside.sum(1, keepdims=True) + even)


class StackedDigitsClassifier:
    """A classifier of single digits applied to each color channel, for images of three digits."""

    classes = stacked_mnist.MODES

    def __init__(self, single: Extractor) -> None:
        self.single, self.name, self.hash = single, f"{single.name}-stacked", single.hash
        self.width, self.resize = 3 * single.width, single.resize
        self.accuracy = None if single.accuracy is None else single.accuracy**3  # the draws are independent

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 3 D) float32 of (N, H, W, 3) uint8: red's features, then green's, then blue's."""
        return np.concatenate([self.single(one) for one in channels(pixels)], axis=1)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 1000) float64: the product of the three digits' probabilities."""
        return _product([self.single.probabilities(one) for one in channels(pixels)])

    def features_and_probabilities(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both, in one pass over each channel."""
        sets = [ImageSet(one, self.single, with_probabilities=True) for one in channels(pixels)]
        features = np.concatenate([images.features for images in sets], axis=1)
        return features, _product([images.probabilities for images in sets])


def _product(digits: list[np.ndarray]) -> np.ndarray:
    """Probabilities of three independent digits, (N, 10) each -> (N, 1000)."""
    red, green, blue = digits
    return np.einsum("na,nb,nc->nabc", red, green, blue).reshape(len(red), -1)
