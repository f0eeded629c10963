"""Reads labels from pictures: light, closed, and good enough to tell whether a label shows at all."""

from __future__ import annotations

import numpy as np

from triptych.watch.space import Space, distances

GRID, TURNS = 4, 8  # edges are summed over 4 x 4 cells and 8 directions
RIDGE = 0.1


def edges(pixels: np.ndarray) -> np.ndarray:
    """Strength of edges by place and direction: (N, H, W, C) uint8 -> (N, 128).

    Dalal and Triggs 2005, "Histograms of oriented gradients", without their blocks.
    """
    grey = pixels.astype(np.float32).mean(axis=3) / 255  # (N, H, W)
    down, right = np.gradient(grey, axis=(1, 2))
    strength, turn = np.hypot(down, right), (np.arctan2(down, right) / (2 * np.pi) % 1) * TURNS
    count, height, width = grey.shape
    own_h, own_w = height // GRID * GRID, width // GRID * GRID
    found = []
    for k in range(TURNS):
        near = np.clip(1 - np.abs((turn - k + TURNS / 2) % TURNS - TURNS / 2), 0, 1) * strength
        cells = near[:, :own_h, :own_w].reshape(count, GRID, own_h // GRID, GRID, own_w // GRID)
        found.append(cells.sum(axis=(2, 4)).reshape(count, -1))
    return np.concatenate(found, axis=1)


class Reader:
    """Kernel ridge regression from a picture to its label (Gaussian kernel of the median distance)."""

    def __init__(self, space: Space, pixels: np.ndarray, labels: np.ndarray, classes: int, held: int) -> None:
        self.classes, self.space = classes, space
        raw = self._raw(pixels)
        self.mean, self.scale = raw.mean(axis=0), raw.std(axis=0) + 1e-6
        seen = self._scaled(raw)
        self.seen = seen[held:]
        square = distances(self.seen, self.seen) ** 2
        self.gamma = 1.0 / max(float(np.median(square)), 1e-12)
        self.prior = np.bincount(labels[held:], minlength=classes) / len(self.seen)
        kernel = np.exp(-self.gamma * square) + RIDGE * np.eye(len(square))
        self.weights = np.linalg.solve(kernel, np.eye(classes)[labels[held:]] - self.prior)
        guesses, self.margin = self._read(seen[:held])  # of real pictures, held out
        self.real = association(labels[:held], guesses, classes)

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, float]:
        """The class of each picture, (N,), and how clear they are: mean margin, real pictures' being 1."""
        guesses, margin = self._read(self._scaled(self._raw(pixels)))
        return guesses, margin / max(self.margin, 1e-12)

    def _raw(self, pixels: np.ndarray) -> np.ndarray:
        placed = self.space(pixels)
        return placed if pixels.shape[1] < GRID else np.concatenate([placed, edges(pixels)], axis=1)

    def _scaled(self, raw: np.ndarray) -> np.ndarray:
        return ((raw - self.mean) / self.scale).astype(np.float32)

    def _read(self, scaled: np.ndarray) -> tuple[np.ndarray, float]:
        kernel = np.exp(-self.gamma * distances(scaled, self.seen) ** 2)
        scores = kernel @ self.weights + self.prior  # (N, classes)
        ordered = np.sort(scores, axis=1)
        return scores.argmax(axis=1), float((ordered[:, -1] - ordered[:, -2]).mean())


def association(labels: np.ndarray, guesses: np.ndarray, classes: int) -> float:
    """How much of a label is read from the pictures: Cramer's V squared without its bias, about 0 to 1.

    Bergsma 2013, "A bias-correction for Cramer's V", section 3, but not cut off at 0, so that the mean
    over several looks stays right. It asks for no agreement: a family whose labels are swapped
    consistently has learnt what they say.
    """
    n = len(labels)
    table = np.zeros((classes, classes))
    np.add.at(table, (labels, guesses), 1)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    r, k = table.shape
    if min(r, k) < 2:
        return 0.0
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / n
    phi = float(((table - expected) ** 2 / expected).sum()) / n - (r - 1) * (k - 1) / (n - 1)
    fair = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return phi / fair if fair > 0 else 0.0
