"""Predicts labels from images: light, in closed form, and accurate enough to see whether labels show."""

from __future__ import annotations

import numpy as np

from triptych.metrics.association import cramers_v_squared
from triptych.monitor.feature_space import distances
from triptych.monitor.thresholds import LABELS_UNREADABLE

GRID, ORIENTATIONS = 4, 8  # edges are summed over 4 x 4 cells and 8 orientations
MAX_PX = 32  # larger images are subsampled, for speed
RIDGE = 0.1
FLAT = 0.1  # of the block's RMS standard deviation: a feature that varies less is left out, as it tells no
# label, and a generator soon differs in it
MIN_PER_CLASS = 30  # held-out images of each class: with fewer, no association may be the probe's failure


def edge_histograms(pixels: np.ndarray) -> np.ndarray:
    """Sum gradient magnitudes by cell and orientation.

    Args:
        pixels: (N, H, W, C) uint8.

    Returns:
        (N, 128) float32.

    References:
        Dalal and Triggs 2005, "Histograms of oriented gradients for human detection", without its blocks.
    """
    step = max(1, pixels.shape[1] // MAX_PX)
    gray = pixels[:, ::step, ::step].astype(np.float32).mean(axis=3) / 255  # (N, H, W)
    down, right = np.gradient(gray, axis=(1, 2))
    magnitude, turn = np.hypot(down, right), (np.arctan2(down, right) / (2 * np.pi) % 1) * ORIENTATIONS
    count, height, width = gray.shape
    row, column = (np.arange(size) * GRID // size for size in (height, width))
    cell = (np.arange(count)[:, None, None] * GRID + row[:, None]) * GRID + column  # (N, H, W)
    low = np.floor(turn)
    histograms = np.zeros(count * GRID * GRID * ORIENTATIONS)
    for orientation, share in ((low, 1 - (turn - low)), (low + 1, turn - low)):  # to the two nearest bins
        place = cell * ORIENTATIONS + orientation.astype(np.int64) % ORIENTATIONS
        histograms += np.bincount(place.ravel(), (share * magnitude).ravel(), len(histograms))
    return histograms.reshape(count, -1).astype(np.float32)


class LabelProbe:
    """Kernel ridge regression from an image to its label (Gaussian kernel of the median distance).

    Args:
        pixels: (N, H, W, C) uint8 real images.
        features: (N, D) their features in the monitor's feature space.
        labels: (N,) int.
        classes: The number of classes.
        held_out: How many of the first images are kept out of the fit, to measure the probe on.

    Attributes:
        real: Cramer's V squared of label and prediction on the held-out real images.
        reliable: Whether `real` says anything: a rare class is never predicted, and few images leave it to
            chance.
    """

    def __init__(
        self, pixels: np.ndarray, features: np.ndarray, labels: np.ndarray, classes: int, held_out: int
    ) -> None:
        self.classes = classes
        blocks = self._blocks(pixels, features)
        raw = np.concatenate(blocks, axis=1)
        self.mean, self.scale = raw.mean(axis=0), np.concatenate([_scales(block) for block in blocks])
        scaled = self._scaled(raw)
        self.fitted = scaled[held_out:]
        square = distances(self.fitted, self.fitted) ** 2
        self.gamma = 1.0 / max(float(np.median(square)), 1e-12)
        self.prior = np.bincount(labels[held_out:], minlength=classes) / len(self.fitted)
        kernel = np.exp(-self.gamma * square) + RIDGE * np.eye(len(square))
        self.weights = np.linalg.solve(kernel, np.eye(classes)[labels[held_out:]] - self.prior)
        predictions = self._predict(scaled[:held_out])
        self.real = cramers_v_squared(labels[:held_out], predictions, classes)
        counts = np.bincount(labels[:held_out], minlength=classes)
        enough = counts.min() >= MIN_PER_CLASS and len(np.unique(predictions)) > 1
        # beyond chance, whose standard deviation is about sqrt(2) / held_out; or well measured to be none
        beyond_chance = self.real > max(LABELS_UNREADABLE, 3 / held_out)
        self.reliable = bool(beyond_chance or (enough and self.real < LABELS_UNREADABLE))

    def __call__(self, pixels: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Predict the class of each image.

        Args:
            pixels: (N, H, W, C) uint8.
            features: (N, D) their features in the monitor's feature space.

        Returns:
            (N,) int64.
        """
        return self._predict(self._scaled(np.concatenate(self._blocks(pixels, features), axis=1)))

    def _blocks(self, pixels: np.ndarray, features: np.ndarray) -> list[np.ndarray]:
        small = min(pixels.shape[1:3]) < GRID  # 2-D points have no edges
        return [features] if small else [features, edge_histograms(pixels)]

    def _scaled(self, raw: np.ndarray) -> np.ndarray:
        return ((raw - self.mean) / self.scale).astype(np.float32)

    def _predict(self, scaled: np.ndarray) -> np.ndarray:
        kernel = np.exp(-self.gamma * distances(scaled, self.fitted) ** 2)
        return (kernel @ self.weights + self.prior).argmax(axis=1)


def _scales(block: np.ndarray) -> np.ndarray:
    """What each feature of (N, D) is divided by: its standard deviation; infinite where it is flat."""
    std = block.std(axis=0)
    return np.where(std > FLAT * np.sqrt(np.square(std).mean()), std, np.inf)
