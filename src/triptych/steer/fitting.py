"""Directions out of numbers: codes and readings in, vectors out. No model, no pictures.

With codes w of covariance S and readings r, the least-squares slopes are B = S^-1 Cov(w, r). For normal
noise they are the mean gradient of the readings (Stein 1981): a small step d changes reading k by B_k . d
on average, however bent the generator. So a step that shall change one reading alone is a solution of
linear equations, and of all solutions the shortest is taken, measured by how unusual it is for a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_SHARE = 1e-4  # of the largest variance: flatter directions of the codes count as flat
SAME = 1e-3  # held slopes whose singular value is below this share of the largest say nothing new


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


def white_slopes(white: np.ndarray, readings: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    """Least-squares slopes of readings (N, K) on white codes (N, R), an offset besides: (R, K).

    ridge: a penalty on the slopes' squares, in pictures: so many pictures' worth of belief in 0.
    """
    white = white - white.mean(0)
    square = white.T @ white + ridge * np.eye(white.shape[1])
    return np.linalg.solve(square, white.T @ (readings - readings.mean(0)))


def steepest_alone(
    slopes: np.ndarray, target: np.ndarray, held: Sequence[int], noise: float = 0.0
) -> np.ndarray:
    """The shortest step that raises one reading by 1 and leaves the held ones: d = P b / (b . P b).

    b is the target's slopes, P projects out the span H of the held ones' (Shen et al. 2020, section 3.2,
    "conditional manipulation", for all others at once). Fitted slopes are off: at noise c > 0 P is
    c (c I + H H^T)^-1, which projects out what stands clear of c and leaves what may be chance.

    slopes: (R, K). target: weights (K,) of the readings that shall rise. held: numbers of readings.
    Returns (R,). Raises ValueError where the target moves with the held ones only.
    """
    wanted, others = slopes @ target, slopes[:, list(held)]  # (R,), (R, H)
    basis, scales, _ = np.linalg.svd(others, full_matrices=False)
    new = scales > SAME * scales.max(initial=0.0)
    basis, scales = basis[:, new], scales[new]
    taken = scales**2 / (scales**2 + noise)  # (H,): 1 is all of it
    free = wanted - basis @ (taken * (basis.T @ wanted))
    gain = float(wanted @ free)
    if gain <= 1e-9 * float(wanted @ wanted):
        raise ValueError("every step that moves this moves something else that shall stay")
    return free / gain


def step_back(slopes: np.ndarray, changes: np.ndarray, held: Sequence[int], noise: float = 0.0) -> np.ndarray:
    """The step (R,) that undoes changes (H,) of the held readings, as far as their slopes can be trusted."""
    others = slopes[:, list(held)]
    square = others.T @ others + noise * np.eye(others.shape[1])
    return -others @ np.linalg.lstsq(square, changes, rcond=SAME**2)[0]


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
