"""Precision and recall as a curve: how much of each distribution the other one holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from triptych.metrics.validation import checked_pair

VERSION = 1
CLUSTERS, ANGLES, RUNS = 20, 1001, 10
BETA = 8.0
STARTS = 10  # of each clustering: the best start of as many is kept


def prd_curve(
    real: np.ndarray,
    fake: np.ndarray,
    clusters: int = CLUSTERS,
    angles: int = ANGLES,
    runs: int = RUNS,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall along the PRD curve (Sajjadi et al. 2018).

    Both sets are cut into clusters by k-means on their union, p and q are their shares of real and
    fake pictures in each, and for slopes t = tan(angle) with angles evenly in (0, pi/2):
    precision(t) = sum min(t p, q), recall(t) = precision(t) / t. The mean over `runs` clusterings.

    Both sets must weigh the same in the clustering: centres follow the larger set, the smaller one
    is cut too coarsely, and the curve rises. So of a larger set each run takes a seeded choice of as
    many pictures as the smaller one has. Equal distributions do not quite reach (1, 1): at N
    pictures each the corner lies about sqrt(clusters / (pi N)) inside.

    real: (N, D), fake: (M, D), at least `clusters` pictures each. angles: >= 3. Returns (precision,
    recall), (angles,) each in [0, 1], precision ascending and recall descending. Raises ValueError
    on NaN, unlike widths and too few pictures.
    """
    precision, recall = _curves([real], [fake], clusters, angles, runs, seed)
    return precision[0], recall[0]


def f_score(precision: np.ndarray, recall: np.ndarray, beta: float) -> float:
    """The highest F_beta on a PRD curve: (1 + beta^2) p r / (beta^2 p + r) (Sajjadi et al. 2018).

    beta > 1 weighs recall higher, beta < 1 precision. precision, recall: (A,) in [0, 1].
    """
    top = (1 + beta**2) * precision * recall
    bottom = beta**2 * precision + recall
    return float(np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0).max())


def prd_f_scores(
    real: np.ndarray, fake: np.ndarray, clusters: int = CLUSTERS, runs: int = RUNS, seed: int = 0
) -> tuple[float, float]:
    """(F_8, F_1/8) of the PRD curve: recall and precision as two numbers; see `prd_curve`."""
    curve = prd_curve(real, fake, clusters, ANGLES, runs, seed)
    return f_score(*curve, BETA), f_score(*curve, 1 / BETA)


def prd_leave_one_out(
    real: Sequence[np.ndarray],
    fake: Sequence[np.ndarray],
    clusters: int = CLUSTERS,
    runs: int = RUNS,
    seed: int = 0,
) -> dict[str, tuple[float, list[float]]]:
    """F_8 and F_1/8, each whole and with the g-th group of both sets left out.

    The clusters are those of all pictures: made anew, they would differ by k-means' luck, which a
    jackknife takes for spread of the data. An interval from these values therefore takes the cut
    into clusters as given.

    real, fake: G groups each, (n_g, D). Returns {"F_8": (value, [value without group g]), "F_1/8": ...}.
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
    """Precision and recall, (1 + G, angles) each: whole, then without each group (for one: whole alone)."""
    if len(real) != len(fake) or min(clusters, runs) < 1 or angles < 3:
        raise ValueError(
            "PRD needs as many real as fake groups, at least 1 cluster and run and 3 angles, got "
            f"{len(real)} and {len(fake)} groups, clusters={clusters}, runs={runs}, angles={angles}"
        )
    sets = checked_pair(np.concatenate(real), np.concatenate(fake), clusters, f"PRD with {clusters} clusters")
    groups = [np.repeat(np.arange(len(x)), [len(y) for y in x]) for x in (real, fake)]
    size = min(map(len, sets))
    made = []
    for run in range(runs):
        draw = np.random.default_rng([seed, run])
        rows = [_choice(len(x), size, draw) for x in sets]
        union = np.concatenate([x[r] for x, r in zip(sets, rows, strict=True)])
        cells = _cells(union, clusters, int(draw.integers(2**31)))
        p, q = (
            _shares(own, group[r], clusters, len(real))
            for own, group, r in zip((cells[:size], cells[size:]), groups, rows, strict=True)
        )
        made.append(_curve(p, q, angles))
    return np.mean([m[0] for m in made], axis=0), np.mean([m[1] for m in made], axis=0)


def _choice(count: int, size: int, draw: np.random.Generator) -> np.ndarray:
    return np.arange(count) if count == size else np.sort(draw.choice(count, size, replace=False))


def _cells(features: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """(N,) the cluster of each picture. On one thread: sums in another order could move a picture."""
    from sklearn.cluster import MiniBatchKMeans  # a second to import

    with threadpool_limits(1):
        return MiniBatchKMeans(clusters, n_init=STARTS, random_state=seed).fit_predict(features)


def _shares(cells: np.ndarray, groups: np.ndarray, clusters: int, count: int) -> np.ndarray:
    """(1 + G, clusters): share of pictures in each cluster, whole and without each group (G > 1)."""
    each = np.zeros((count, clusters))
    np.add.at(each, (groups, cells), 1.0)
    whole = each.sum(0)
    counts = np.stack([whole, *(whole - each if count > 1 else [])])
    return counts / counts.sum(1, keepdims=True)


def _curve(p: np.ndarray, q: np.ndarray, angles: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall, (K, angles) each, of shares p and q, (K, clusters)."""
    margin = 1e-10  # at 0 and pi/2 themselves the slope or its inverse is not finite
    slopes = np.tan(np.linspace(margin, np.pi / 2 - margin, angles))
    precision = np.stack([np.minimum(t * p, q).sum(1) for t in slopes], axis=1)  # (K, angles)
    recall = precision / slopes
    return np.minimum(precision, 1.0), np.minimum(recall, 1.0)
