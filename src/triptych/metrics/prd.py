"""Precision-recall curve of two distributions (PRD)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.metric import LeaveOneOut, Metric
from triptych.metrics.validation import checked_pair

VERSION = 1
CLUSTERS, ANGLES, RUNS = 20, 1001, 10
BETA = 8.0
STARTS = 10  # initializations of each clustering, of which the best is kept


def prd_curve(
    real: np.ndarray,
    fake: np.ndarray,
    clusters: int = CLUSTERS,
    angles: int = ANGLES,
    runs: int = RUNS,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall along the PRD curve.

    The union of both sets is clustered by k-means; p and q are the shares of real and generated images in
    each cluster. For slopes t = tan(angle), with angles evenly spaced in (0, pi/2), precision(t) =
    sum min(t p, q) and recall(t) = precision(t) / t. The curve is the mean over `runs` clusterings.

    Both sets must have the same weight in the clustering: centers follow the larger set, the smaller one is
    clustered too coarsely, and the curve rises. So each run draws from the larger set as many images as the
    smaller one has. Equal distributions do not quite reach (1, 1): at N images each the corner lies about
    sqrt(clusters / (pi N)) inside.

    Raises ValueError if features contain NaN or infinity, differ in width or are too few, or an option is
    out of range.

    Args:
        real: features (N, D) of real images, N >= clusters.
        fake: features (M, D) of generated images, M >= clusters.
        clusters: number of clusters, at least 1.
        angles: number of points of the curve, at least 3.
        runs: number of clusterings, at least 1.
        seed: seed of subsampling and clustering.

    Returns:
        (precision, recall), (angles,) each in [0, 1]; precision ascends and recall descends.

    References:
        Sajjadi et al. 2018, "Assessing Generative Models via Precision and Recall", algorithm 1.
    """
    precision, recall = _curves([real], [fake], clusters, angles, runs, seed)
    return precision[0], recall[0]


def f_score(precision: np.ndarray, recall: np.ndarray, beta: float) -> float:
    """Maximum F_beta score along a PRD curve: (1 + beta^2) p r / (beta^2 p + r).

    Args:
        precision: (A,) in [0, 1].
        recall: (A,) in [0, 1].
        beta: > 1 weighs recall more, < 1 precision.

    Returns:
        The maximum, in [0, 1].

    References:
        Sajjadi et al. 2018, "Assessing Generative Models via Precision and Recall", section 4.2.
    """
    top = (1 + beta**2) * precision * recall
    bottom = beta**2 * precision + recall
    return float(np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0).max())


def prd_f_scores(
    real: np.ndarray, fake: np.ndarray, clusters: int = CLUSTERS, runs: int = RUNS, seed: int = 0
) -> tuple[float, float]:
    """The PRD curve in two numbers: F_8, which weighs recall, and F_1/8, which weighs precision.

    Args:
        real: features (N, D) of real images, N >= clusters.
        fake: features (M, D) of generated images, M >= clusters.
        clusters: number of clusters, at least 1.
        runs: number of clusterings, at least 1.
        seed: seed of subsampling and clustering.

    Returns:
        (F_8, F_1/8), each in [0, 1].
    """
    curve = prd_curve(real, fake, clusters, ANGLES, runs, seed)
    return f_score(*curve, BETA), f_score(*curve, 1 / BETA)


def prd_leave_one_out(
    real: Sequence[np.ndarray],
    fake: Sequence[np.ndarray],
    clusters: int = CLUSTERS,
    runs: int = RUNS,
    seed: int = 0,
) -> dict[str, tuple[float, list[float]]]:
    """F_8 and F_1/8 of all groups, and with the g-th group of both sets left out, for each g.

    The clusters are those of all images: recomputed, they would differ by the luck of k-means, which a
    jackknife takes for sampling error. An interval from these values therefore takes the clustering as given.

    Args:
        real: G groups of features, (n_g, D) each.
        fake: G groups of features, (m_g, D) each.
        clusters: number of clusters, at least 1.
        runs: number of clusterings, at least 1.
        seed: seed of subsampling and clustering.

    Returns:
        {"F_8": (value, [value without group g]), "F_1/8": ...}.
    """
    precision, recall = _curves(real, fake, clusters, ANGLES, runs, seed)
    scores = {}
    for name, beta in (("F_8", BETA), ("F_1/8", 1 / BETA)):
        value, *without = (f_score(p, r, beta) for p, r in zip(precision, recall, strict=True))
        scores[name] = (value, without)
    return scores


def _curves(
    real: Sequence[np.ndarray],
    fake: Sequence[np.ndarray],
    clusters: int,
    angles: int,
    runs: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall, (1 + G, angles) each: of all groups, then without each (G = 1: of all only)."""
    if len(real) != len(fake) or min(clusters, runs) < 1 or angles < 3:
        raise ValueError(
            "PRD needs as many real as fake groups, at least 1 cluster and run and 3 angles, got "
            f"{len(real)} and {len(fake)} groups, clusters={clusters}, runs={runs}, angles={angles}"
        )
    sets = checked_pair(np.concatenate(real), np.concatenate(fake), clusters, f"PRD with {clusters} clusters")
    groups = [np.repeat(np.arange(len(x)), [len(y) for y in x]) for x in (real, fake)]
    size = min(map(len, sets))
    curves = []
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        rows = [_subset(len(x), size, rng) for x in sets]
        union = np.concatenate([x[r] for x, r in zip(sets, rows, strict=True)])
        assigned = _assignments(union, clusters, int(rng.integers(2**31)))
        p, q = (
            _shares(own, group[r], clusters, len(real))
            for own, group, r in zip((assigned[:size], assigned[size:]), groups, rows, strict=True)
        )
        curves.append(_curve(p, q, angles))
    return np.mean([c[0] for c in curves], axis=0), np.mean([c[1] for c in curves], axis=0)


def _subset(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    return np.arange(count) if count == size else np.sort(rng.choice(count, size, replace=False))


def _assignments(features: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """(N,) cluster of each image. On one thread: sums in another order could reassign an image."""
    from sklearn.cluster import MiniBatchKMeans  # takes a second to import

    with threadpool_limits(1):
        return MiniBatchKMeans(clusters, n_init=STARTS, random_state=seed).fit_predict(features)


def _shares(assigned: np.ndarray, groups: np.ndarray, clusters: int, count: int) -> np.ndarray:
    """(1 + G, clusters) shares of images in each cluster: of all groups, then without each (if G > 1)."""
    each = np.zeros((count, clusters))
    np.add.at(each, (groups, assigned), 1.0)
    whole = each.sum(0)
    counts = np.stack([whole, *(whole - each if count > 1 else [])])
    return counts / counts.sum(1, keepdims=True)


def _curve(p: np.ndarray, q: np.ndarray, angles: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall, (K, angles) each, from cluster shares p and q, (K, clusters) each."""
    margin = 1e-10  # at 0 and pi/2 the slope or its inverse is not finite
    slopes = np.tan(np.linspace(margin, np.pi / 2 - margin, angles))
    precision = np.stack([np.minimum(t * p, q).sum(1) for t in slopes], axis=1)  # (K, angles)
    recall = precision / slopes
    return np.minimum(precision, 1.0), np.minimum(recall, 1.0)


def _metric(name: str, key: str) -> Metric:
    """The entry of one of the two, which are computed together."""

    def both(inputs: EvaluationInputs) -> dict[str, LeaveOneOut]:
        groups = inputs.real_groups(inputs.real.features), inputs.fake_groups(inputs.fake.features)
        return inputs.once("prd", lambda: prd_leave_one_out(*groups))

    return Metric(name, "higher", VERSION, leave_one_out=lambda x: both(x)[key], stage="sensitivity")


F8, F1_8 = _metric("PRD F8", "F_8"), _metric("PRD F1/8", "F_1/8")
