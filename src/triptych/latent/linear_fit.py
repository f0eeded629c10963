"""Directions from arrays: latent codes and attribute values in, vectors out. No model, no images.

With codes w of covariance S and attributes a, the least-squares slopes are B = S^-1 Cov(w, a). For normal
noise they are the mean gradient of the attributes (Stein 1981): a small step d changes attribute k by B_k .
d on average, however nonlinear the generator. So a step that changes one attribute alone solves linear
equations; the shortest one is measured by how unusual it is for a code. *Whitened* codes are uncorrelated,
of variance 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

MIN_VARIANCE = 1e-4  # of the largest variance: directions of the codes with less count as flat
RIDGES = np.logspace(
    -10, 2, 49
)  # tried by `orthogonalized_direction`, as shares of the slopes' sum of squares


@dataclass(frozen=True)
class LatentDistribution:
    """Mean of the codes, and a factor of their covariance."""

    mean: np.ndarray  # (D,)
    factor: np.ndarray  # (D, R): covariance = factor factor^T, R <= D

    @classmethod
    def from_codes(cls, codes: np.ndarray) -> LatentDistribution:
        """From codes (N, D); directions in which they hardly vary are left out."""
        mean = codes.mean(0)
        _, singular, rows = np.linalg.svd(codes - mean, full_matrices=False)
        std = singular / max(len(codes) - 1, 1) ** 0.5
        kept = std**2 > MIN_VARIANCE * std[0] ** 2
        return cls(mean, rows[kept].T * std[kept])

    @classmethod
    def standard_normal(cls, width: int) -> LatentDistribution:
        """Of standard normal noise, known without a sample."""
        return cls(np.zeros(width), np.eye(width))

    @property
    def rank(self) -> int:
        """R: in how many directions the codes vary."""
        return self.factor.shape[1]

    def whiten(self, codes: np.ndarray) -> np.ndarray:
        """Codes (N, D) as uncorrelated numbers of variance 1: (N, R)."""
        return (codes - self.mean) @ (self.factor / (self.factor**2).sum(0))

    def std_along(self, step: np.ndarray) -> float:
        """The standard deviation of the codes along a step (D,)."""
        return float(np.linalg.norm(self.factor.T @ (step / np.linalg.norm(step))))

    def unit_step(self, whitened: np.ndarray) -> np.ndarray:
        """Scale a step to the length of one standard deviation of the codes along it.

        Its length in whitened coordinates is at least 1, and 1 only along a principal axis or where the codes
        vary alike in all directions.

        Args:
            whitened: (R,), or (B R,) for B layers: the layer that moves most gets unit length, the others are
                in proportion.

        Returns:
            The scaled step, in whitened coordinates too.
        """
        steps = whitened.reshape(-1, self.rank) @ self.factor.T  # (B, D)
        return whitened / max(np.linalg.norm(d) / self.std_along(d) for d in steps if d.any())


def equalize_label_means(values: np.ndarray, labels: Tensor | None) -> np.ndarray:
    """Shift the values of each label so that its mean is the mean of all.

    Args:
        values: (N, K).
        labels: (N,); None leaves the values as they are.

    Returns:
        (N, K).
    """
    if labels is None:
        return values
    groups, shifted = labels.numpy(), values.copy()
    for label in np.unique(groups):
        shifted[groups == label] += values.mean(0) - values[groups == label].mean(0)
    return shifted


def least_squares_slopes(whitened: np.ndarray, attributes: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    """Fit slopes of attributes on whitened codes, with an intercept.

    Args:
        whitened: (N, R).
        attributes: (N, K).
        ridge: The ridge penalty, in pseudo-observations.

    Returns:
        (R, K).
    """
    whitened = whitened - whitened.mean(0)
    square = whitened.T @ whitened + ridge * np.eye(whitened.shape[1])
    return np.linalg.solve(square, whitened.T @ (attributes - attributes.mean(0)))


def orthogonalized_direction(
    slopes: np.ndarray, target: int, constrained: Sequence[int], error: float = 0.0
) -> np.ndarray:
    """Find the step that raises one attribute by 1 and changes the constrained ones least.

    With b the target's slopes and H the constrained ones': d = argmin |H^T d|^2 + c |d|^2 subject to b . d =
    1. At c = 0 the constrained attributes stay where they are ("conditional manipulation", for all others at
    once), however far the step must go for it. Fitted slopes have errors, which matter the more the longer
    the step, and where codes have fewer dimensions than there are attributes no step is free of all of them:
    so c is the one of `RIDGES` with the smallest bound on the largest change, max_k |H_k . d| + error |d|.

    Args:
        slopes: (R, K).
        target: The index of the target attribute.
        constrained: The indices of those that should not change.
        error: Error of a slope, per unit of a step's length.

    Returns:
        (R,).

    Raises:
        ValueError: The target has no slopes.

    References:
        Shen, Gu, Tang and Zhou 2020, "Interpreting the latent space of GANs for semantic face editing",
        section 3.2.
    """
    wanted, others = slopes[:, target], slopes[:, list(constrained)]  # (R,), (R, H)
    if not float(wanted @ wanted) > 0:
        raise ValueError("no step changes this attribute on average")
    size = max(float((others**2).sum()), float(wanted @ wanted))
    rows, singular, _ = np.linalg.svd(others, full_matrices=False)  # (R, H): far fewer than R
    inside = rows.T @ wanted  # (H,)
    outside = wanted - rows @ inside
    along = [rows @ (inside / (singular**2 + c)) + outside / c for c in RIDGES * size]
    steps = [step / (wanted @ step) for step in along]
    return steps[int(np.argmin([max_side_effect(others, d, error) for d in steps]))]


def max_side_effect(others: np.ndarray, step: np.ndarray, error: float) -> float:
    """Bound the largest change of the constrained attributes: max_k |H_k . d| + error |d|.

    Args:
        others: (R, H) their slopes.
        step: (R,).
        error: Error of a slope, per unit of the step's length.

    Returns:
        The bound, in the unit of the attributes.
    """
    return float(np.abs(others.T @ step).max(initial=0.0) + error * np.linalg.norm(step))


def broyden_update(slopes: np.ndarray, step: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Correct slopes by measured changes: B + u (m - B^T u)^T.

    Args:
        slopes: (R, K), B.
        step: (R,), u, of unit length.
        measured: (K,), m: changes of the attributes along it.

    Returns:
        (R, K): slopes that give `measured` along the step, and across it what they gave before.

    References:
        Broyden 1965, "A class of methods for solving nonlinear simultaneous equations".
    """
    return slopes + np.outer(step, measured - slopes.T @ step)


def r_squared(whitened: np.ndarray, attributes: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Measure how well slopes predict attributes of samples that they were not fitted to.

    Args:
        whitened: (N, R).
        attributes: (N, K).
        slopes: (R, K).

    Returns:
        (K,) R^2; below 0: worse than the mean; 0 for an attribute that does not vary.
    """
    predicted = (whitened - whitened.mean(0)) @ slopes
    centered = attributes - attributes.mean(0)
    residual, total = ((centered - predicted) ** 2).sum(0), (centered**2).sum(0)
    return np.where(total > 0, 1 - residual / np.maximum(total, 1e-300), 0.0)


def closed_form_factorization(weight: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the unit directions that change a linear layer's output most: eigenvectors of A^T A.

    The sign of each, free in the paper, is chosen so that its largest entry is positive.

    Args:
        weight: A, (outputs, D).
        count: How many, at most D.

    Returns:
        (count, D), the strongest first, and their eigenvalues (count,).

    References:
        Shen and Zhou 2021, "Closed-form factorization of latent semantics in GANs", eq. 4-6.
    """
    values, vectors = np.linalg.eigh(weight.T @ weight)
    order = np.argsort(values)[::-1][:count]
    rows = vectors[:, order].T  # (count, D)
    largest = np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], 1)
    return rows * np.sign(largest), values[order]
