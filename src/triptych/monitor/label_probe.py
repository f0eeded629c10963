"""Reads labels from pictures: light, closed, and good enough to tell whether a label shows at all."""

from __future__ import annotations

import numpy as np

from triptych.monitor.feature_space import distances
from triptych.monitor.thresholds import SPEAKS

GRID, TURNS = 4, 8  # edges are summed over 4 x 4 cells and 8 directions
LARGEST_PX = 32  # larger pictures are thinned: it is cheap that counts
RIDGE = 0.1
FLAT = 0.1  # of its block's spread: what hardly varies tells no label, and a generator is soon off it
FAIR = 30  # held-out pictures of each class: with fewer, silence may be the reader's


def edges(pixels: np.ndarray) -> np.ndarray:
    """Strength of edges by place and direction: (N, H, W, C) uint8 -> (N, 128).

    Dalal and Triggs 2005, "Histograms of oriented gradients", without their blocks.
    """
    step = max(1, pixels.shape[1] // LARGEST_PX)
    gray = pixels[:, ::step, ::step].astype(np.float32).mean(axis=3) / 255  # (N, H, W)
    down, right = np.gradient(gray, axis=(1, 2))
    strength, turn = np.hypot(down, right), (np.arctan2(down, right) / (2 * np.pi) % 1) * TURNS
    count, height, width = gray.shape
    row, column = (np.arange(size) * GRID // size for size in (height, width))
    cell = (np.arange(count)[:, None, None] * GRID + row[:, None]) * GRID + column  # (N, H, W)
    low = np.floor(turn)
    found = np.zeros(count * GRID * GRID * TURNS)
    for direction, share in ((low, 1 - (turn - low)), (low + 1, turn - low)):  # shared by the two nearest
        place = cell * TURNS + direction.astype(np.int64) % TURNS
        found += np.bincount(place.ravel(), (share * strength).ravel(), len(found))
    return found.reshape(count, -1).astype(np.float32)


class Reader:
    """Kernel ridge regression from a picture to its label (Gaussian kernel of the median distance).

    pixels: (N, H, W, C) uint8; features: (N, D), theirs in the watch's space; labels: (N,). The first `held`
    are held out, to say how well labels can be read from real pictures (`real`), and whether that says
    anything (`reads`): a rare class is never guessed, and of a few pictures all is chance.
    """

    def __init__(
        self, pixels: np.ndarray, features: np.ndarray, labels: np.ndarray, classes: int, held: int
    ) -> None:
        self.classes = classes
        blocks = self._blocks(pixels, features)
        raw = np.concatenate(blocks, axis=1)
        self.mean, self.scale = raw.mean(axis=0), np.concatenate([_scales(block) for block in blocks])
        seen = self._scaled(raw)
        self.seen = seen[held:]
        square = distances(self.seen, self.seen) ** 2
        self.gamma = 1.0 / max(float(np.median(square)), 1e-12)
        self.prior = np.bincount(labels[held:], minlength=classes) / len(self.seen)
        kernel = np.exp(-self.gamma * square) + RIDGE * np.eye(len(square))
        self.weights = np.linalg.solve(kernel, np.eye(classes)[labels[held:]] - self.prior)
        guesses = self._read(seen[:held])
        self.real = association(labels[:held], guesses, classes)  # of real ones, held out
        counts = np.bincount(labels[:held], minlength=classes)
        asked = counts.min() >= FAIR and len(np.unique(guesses)) > 1
        # beyond chance, whose standard deviation is about sqrt(2) / held; or silent, and fairly asked
        self.reads = bool(self.real > max(SPEAKS, 3 / held) or (asked and self.real < SPEAKS))

    def __call__(self, pixels: np.ndarray, features: np.ndarray) -> np.ndarray:
        """The class of each picture, (N,)."""
        return self._read(self._scaled(np.concatenate(self._blocks(pixels, features), axis=1)))

    def _blocks(self, pixels: np.ndarray, features: np.ndarray) -> list[np.ndarray]:
        small = min(pixels.shape[1:3]) < GRID  # points: there are no edges
        return [features] if small else [features, edges(pixels)]

    def _scaled(self, raw: np.ndarray) -> np.ndarray:
        return ((raw - self.mean) / self.scale).astype(np.float32)

    def _read(self, scaled: np.ndarray) -> np.ndarray:
        kernel = np.exp(-self.gamma * distances(scaled, self.seen) ** 2)
        return (kernel @ self.weights + self.prior).argmax(axis=1)


def _scales(block: np.ndarray) -> np.ndarray:
    """What each feature of (N, D) is divided by: its standard deviation; infinite where it is flat."""
    spread = block.std(axis=0)
    return np.where(spread > FLAT * np.sqrt(np.square(spread).mean()), spread, np.inf)


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
