"""Directions out of numbers: codes and readings in, vectors out. No model, no pictures.

With codes w of covariance S and readings r, the least-squares slopes are B = S^-1 Cov(w, r). For normal
noise they are the mean gradient of the readings (Stein 1981): a small step d changes reading k by B_k . d
on average, however bent the generator. So a step that shall change one reading alone is a solution of
linear equations, as short as may be, measured by how unusual it is for a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

LEAST_SHARE = 1e-4  # of the largest variance: flatter directions of the codes count as flat
RIDGES = np.logspace(-10, 2, 49)  # shares of the held slopes' sum of squares


@dataclass(frozen=True)
class Cloud:
    """Codes as numbers: their mean and a factor of their covariance."""

    mean: np.ndarray  # (D,)
    root: np.ndarray  # (D, R): covariance = root root^T, R <= D

    @classmethod
    def of(cls, codes: np.ndarray) -> Cloud:
        """From codes (N, D); directions in which they hardly vary are left out."""
        mean = codes.mean(0)
        _, scales, rows = np.linalg.svd(codes - mean, full_matrices=False)
        spread = scales / max(len(codes) - 1, 1) ** 0.5
        kept = spread**2 > LEAST_SHARE * spread[0] ** 2
        return cls(mean, rows[kept].T * spread[kept])

    @classmethod
    def normal(cls, width: int) -> Cloud:
        """Standard normal noise, known without a sample."""
        return cls(np.zeros(width), np.eye(width))

    @property
    def width(self) -> int:
        """R: in how many directions the codes vary."""
        return self.root.shape[1]

    def white(self, codes: np.ndarray) -> np.ndarray:
        """Codes (N, D) as uncorrelated numbers of variance 1: (N, R)."""
        return (codes - self.mean) @ (self.root / (self.root**2).sum(0))

    def spread_along(self, step: np.ndarray) -> float:
        """The standard deviation of codes along a step (D,)."""
        return float(np.linalg.norm(self.root.T @ (step / np.linalg.norm(step))))

    def unit(self, white: np.ndarray) -> np.ndarray:
        """A step in white numbers (R,) at the length of one standard deviation of the codes along it.

        Or (B R,), a block a layer: then in the layer that moves most, and the others in proportion.

        Its own length, in white numbers, is at least 1, and 1 only where codes spread alike or along an axis
        of their cloud: most of a cloud's spread along a line belongs to codes that lie off it.
        """
        steps = white.reshape(-1, self.width) @ self.root.T  # (B, D)
        return white / max(np.linalg.norm(d) / self.spread_along(d) for d in steps if d.any())


def within(values: np.ndarray, labels: Tensor | None) -> np.ndarray:
    """Values (N, K), each label's moved so that it has the mean of all; labels (N,), None: as they are."""
    if labels is None:
        return values
    told, moved = labels.numpy(), values.copy()
    for label in np.unique(told):
        moved[told == label] += values.mean(0) - values[told == label].mean(0)
    return moved


def white_slopes(white: np.ndarray, readings: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    """Least-squares slopes of readings (N, K) on white codes (N, R), an offset besides: (R, K).

    ridge: a penalty on the slopes' squares, in pictures: so many pictures' worth of belief in 0.
    """
    white = white - white.mean(0)
    square = white.T @ white + ridge * np.eye(white.shape[1])
    return np.linalg.solve(square, white.T @ (readings - readings.mean(0)))


def steepest_alone(slopes: np.ndarray, target: int, held: Sequence[int], chance: float = 0.0) -> np.ndarray:
    """The step that raises one reading by 1 and moves the held ones least: (R,).

    With b the target's slopes and H the held ones': d = argmin |H^T d|^2 + c |d|^2 over b . d = 1. At
    c = 0 that leaves the held readings where they are (Shen et al. 2020, section 3.2, "conditional
    manipulation", for all others at once), however far it must go for it. Fitted slopes are off by chance,
    the more the farther the step, and where codes have fewer numbers than there are readings nothing is
    free of all of them: so c is the one (of `RIDGES`) with the least largest change to be reckoned with,
    max_k |H_k . d| + chance |d|.

    slopes: (R, K). target, held: numbers of readings. chance: how far off slopes are, per unit of a step.
    Raises ValueError for a target without slopes.
    """
    wanted, others = slopes[:, target], slopes[:, list(held)]  # (R,), (R, H)
    if not float(wanted @ wanted) > 0:
        raise ValueError("no step moves this on average")
    size = max(float((others**2).sum()), float(wanted @ wanted))
    rows, scales, _ = np.linalg.svd(others, full_matrices=False)  # (R, H): what is held, far fewer than R
    inside = rows.T @ wanted  # (H,)
    outside = wanted - rows @ inside
    along = [rows @ (inside / (scales**2 + c)) + outside / c for c in RIDGES * size]
    steps = [step / (wanted @ step) for step in along]
    return steps[int(np.argmin([largest_change(others, d, chance) for d in steps]))]


def largest_change(others: np.ndarray, step: np.ndarray, chance: float) -> float:
    """max_k |H_k . d| + chance |d|: how much a step may move the most moved reading, of slopes H (R, H)."""
    return float(np.abs(others.T @ step).max(initial=0.0) + chance * np.linalg.norm(step))


def corrected(slopes: np.ndarray, step: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Slopes (R, K) that give the changes `seen` (K,) along a unit step, and across it what they gave before.

    B + u (m - B^T u)^T (Broyden 1965, "A class of methods for solving nonlinear simultaneous equations").
    """
    return slopes + np.outer(step, seen - slopes.T @ step)


def share_explained(white: np.ndarray, readings: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """R^2 of each reading on pictures that the slopes were not fitted to: (K,); below 0: worse than none."""
    guessed = (white - white.mean(0)) @ slopes
    centred = readings - readings.mean(0)
    left, whole = ((centred - guessed) ** 2).sum(0), (centred**2).sum(0)
    return np.where(whole > 0, 1 - left / np.maximum(whole, 1e-300), 0.0)


def closed_form(reader: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The unit directions that change a linear layer's output most: eigenvectors of A^T A.

    Shen and Zhou 2021, "Closed-form factorization of latent semantics in GANs", eq. 4-6.
    reader: A, (outputs, D). Returns (count, D), the strongest first, and their eigenvalues (count,). The
    sign of each, free in the paper, is chosen so that its largest entry is positive.
    """
    values, vectors = np.linalg.eigh(reader.T @ reader)
    order = np.argsort(values)[::-1][:count]
    found = vectors[:, order].T  # (count, D)
    largest = np.take_along_axis(found, np.abs(found).argmax(1)[:, None], 1)
    return found * np.sign(largest), values[order]
