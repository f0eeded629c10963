"""Precision, recall, density and coverage: who lies within whose k-nearest-neighbor balls."""

from __future__ import annotations

import numpy as np

from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.knn.radius import Balls, count_within
from triptych.metrics.knn.search import k_nearest_others
from triptych.metrics.metric import Metric
from triptych.metrics.stats.intervals import (
    MIN_IMAGES,
    Estimate,
    errors_from_blocks,
    interval,
    wilson_interval,
)
from triptych.metrics.validation import checked_pair, checked_sets

VERSION = 1
PRECISION_K, DENSITY_K = 3, 5


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = PRECISION_K) -> tuple[float, float]:
    """Improved precision and recall.

    Precision: proportion of generated images within (<=) the distance from some real image to its k-th
    nearest real neighbor, not counting itself. Recall: the same with the sets exchanged. Both depend on
    the sample sizes and on k.

    Raises ValueError if features contain NaN or infinity, differ in width or are too few.

    Args:
        real: features (N, D) of real images, N > k.
        fake: features (M, D) of generated images, M > k.
        k: number of neighbors, at least 1.

    Returns:
        (precision, recall), each in [0, 1].

    References:
        Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models",
        eq. 1-3.
    """
    sets = _checked(real, fake, k, "precision and recall")
    scores = _scores(*sets, precision_k=k, density_k=None)
    return scores["precision"], scores["recall"]


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int = DENSITY_K) -> tuple[float, float]:
    """Density and coverage.

    Density: the mean number of real balls (<, radius to the k-th nearest real neighbor) that contain a
    generated image, divided by k: about 1 for equal distributions; it may exceed 1. Coverage: proportion
    of real balls that contain at least one generated image: 1 - prod_{i=1..k} (N - i)/(2N - i) for equal
    distributions and N = M.

    Raises ValueError if features contain NaN or infinity, differ in width or are too few.

    Args:
        real: features (N, D) of real images, N > k.
        fake: features (M, D) of generated images, M > k.
        k: number of neighbors, at least 1.

    Returns:
        (density, coverage), density >= 0 and coverage in [0, 1].

    References:
        Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", eq. 5 and 6.
    """
    sets = _checked(real, fake, k, "density and coverage")
    scores = _scores(*sets, precision_k=None, density_k=k)
    return scores["density"], scores["coverage"]


def prdc_scores(
    real: np.ndarray, fake: np.ndarray, precision_k: int = PRECISION_K, density_k: int = DENSITY_K
) -> dict[str, float]:
    """Precision, recall, density and coverage in one pass: half the time of two separate calls.

    Raises ValueError if features contain NaN or infinity, differ in width or are too few.

    Args:
        real: features (N, D) of real images, more than either k.
        fake: features (M, D) of generated images, more than either k.
        precision_k: number of neighbors for precision and recall.
        density_k: number of neighbors for density and coverage.

    Returns:
        The four scores by name; see `precision_recall` and `density_coverage`.
    """
    sets = _checked(real, fake, max(precision_k, density_k), "a nearest-neighbor score")
    return _scores(*sets, precision_k, density_k)


def _checked(real: np.ndarray, fake: np.ndarray, k: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    sets = checked_sets({"real": real, "fake": fake}, k + 1, metric)
    return sets["real"], sets["fake"]


def _scores(
    real: np.ndarray, fake: np.ndarray, precision_k: int | None, density_k: int | None
) -> dict[str, float]:
    """The requested scores, in one pass over the distances between both sets."""
    near, _ = k_nearest_others(real, max(precision_k or 0, density_k or 0))
    balls: dict[str, Balls] = {}
    if precision_k:
        balls["precision"] = Balls(near[:, precision_k - 1], "a", strict=False)
        balls["recall"] = Balls(k_nearest_others(fake, precision_k)[0][:, -1], "b", strict=False)
    if density_k:
        balls["density"] = Balls(near[:, density_k - 1], "a", strict=True)
    counts = dict(zip(balls, count_within(real, fake, list(balls.values())), strict=True))
    scores: dict[str, float] = {}
    if precision_k:
        scores["precision"] = _share_above_zero(counts["precision"].b)
        scores["recall"] = _share_above_zero(counts["recall"].a)
    if density_k:
        scores["density"] = int(counts["density"].b.sum()) / len(fake) / density_k
        scores["coverage"] = _share_above_zero(counts["density"].a)
    return scores


def _share_above_zero(counts: np.ndarray) -> float:
    return int((counts > 0).sum()) / len(counts)


def prdc_estimates(
    real: np.ndarray, fake: np.ndarray, precision_k: int = PRECISION_K, density_k: int = DENSITY_K
) -> dict[str, Estimate]:
    """Precision, recall, density and coverage with 95% intervals for their expectations.

    Raises ValueError for NaN, unlike widths and too few images.

    Args:
        real: features (N, D), N >= 20 and enough that half of them have neighbors.
        fake: features (M, D), likewise.
        precision_k: neighbor of precision and recall, >= 1.
        density_k: neighbor of density and coverage, >= 1.

    Returns:
        The values with their intervals, by name.
    """
    real, fake = checked_pair(real, fake, MIN_IMAGES, "a score with an interval")
    values = prdc_scores(real, fake, precision_k, density_k)
    errors = errors_from_blocks(
        lambda r, f: prdc_scores(r, f, precision_k, density_k), real, fake, max(precision_k, density_k)
    )
    trials = {"precision": len(fake), "recall": len(real), "coverage": len(real)}  # means of zeros and ones
    return {
        name: wilson_interval(value, errors[name], trials[name])
        if name in trials
        else interval(value, errors[name], lowest=0.0)
        for name, value in values.items()
    }


def _metric(name: str, k: int) -> Metric:
    """The entry of one of the four, which are computed together."""

    def values(inputs: EvaluationInputs) -> dict[str, float]:
        return inputs.once("prdc", lambda: prdc_scores(inputs.real.features, inputs.fake.features))

    def estimates(inputs: EvaluationInputs) -> dict[str, Estimate]:
        real, fake = inputs.real, inputs.fake
        return inputs.once("prdc estimates", lambda: prdc_estimates(real.features, fake.features))

    return Metric(
        name,
        "higher",
        VERSION,
        value=lambda x: values(x)[name],
        estimate_with=lambda x: estimates(x)[name],
        parameters={"k": k},
    )


PRECISION, RECALL = _metric("precision", PRECISION_K), _metric("recall", PRECISION_K)
DENSITY, COVERAGE = _metric("density", DENSITY_K), _metric("coverage", DENSITY_K)
