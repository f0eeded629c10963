"""Classifier two-sample test: which images it is trained and tested on, and the interval of its accuracy.

References:
    Lopez-Paz, Oquab (2017): Revisiting classifier two-sample tests.
    Bayle, Bayle, Janson, Mackey (2020): Cross-validation confidence intervals for test error.
"""

from __future__ import annotations

import numpy as np

from triptych.metrics.stats.binomial import clopper_pearson
from triptych.metrics.stats.intervals import Estimate

THUMB = 8  # px: near duplicates are searched in images averaged down to this size
COPY = 0.25  # of the distance to the nearest other real image: what is nearer is a near duplicate


def distinct_rows(pixels: np.ndarray) -> np.ndarray:
    """Rows that equal no earlier row, in ascending order.

    Args:
        pixels: (N, H, W, C) uint8.

    Returns:
        Row numbers, (K,).
    """
    first: dict[bytes, int] = {}
    for row, image in enumerate(pixels):
        first.setdefault(np.ascontiguousarray(image).tobytes(), row)
    return np.array(list(first.values()), dtype=np.int64)


def matched_rows(
    real: int, fake: int, most: int, labels: tuple[np.ndarray, np.ndarray] | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Equally many rows of both sets, shuffled, with the same class distribution where labels are known.

    Args:
        real: number of real images.
        fake: number of samples.
        most: number of rows to take from each set, at most.
        labels: classes of both sets, (real,) and (fake,) int; None if unknown.
        seed: seed of the shuffle.

    Returns:
        Rows of real images and of samples, (n,) each, n = min(real, fake, most). With labels, rows at the
        same position have the same class, except for those beyond what the smaller count of a class allows.
    """
    rng, count = np.random.default_rng(seed), min(real, fake, most)
    rows = rng.permutation(real), rng.permutation(fake)
    if labels is None:
        return rows[0][:count], rows[1][:count]
    ranks = []  # {(class, number within the class): row} of each set
    for own, order in zip(labels, rows, strict=True):
        seen: dict[int, int] = {}
        keys = []
        for row in order:
            label = int(own[row])
            seen[label] = seen.get(label, -1) + 1
            keys.append((label, seen[label]))
        ranks.append(dict(zip(keys, order.tolist(), strict=True)))
    both = [key for key in ranks[0] if key in ranks[1]]
    pairs = [[rank[key] for key in both] for rank in ranks]
    rest = [[row for key, row in rank.items() if key not in set(both)] for rank in ranks]
    chosen = [
        np.array([*pair, *left][:count], dtype=np.int64) for pair, left in zip(pairs, rest, strict=True)
    ]
    again = rng.permutation(count)
    return chosen[0][again], chosen[1][again]


def align_near_duplicates(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Order the samples so that near duplicates of real images are at the position of that real image.

    Otherwise a network that memorized a real image in one fold would classify its copy in another fold as
    real, and the accuracy for a model that copies (or for the same folder twice) would fall below 0.5.

    Args:
        real: (N, H, W, C) uint8.
        fake: (N, H, W, C) uint8, as many.

    Returns:
        Row numbers of the samples, (N,), a permutation; 0, 1, 2, ... if there are no near duplicates.
    """
    a, b = _thumbnails(real), _thumbnails(fake)
    own = _squared_distances(a, a)
    np.fill_diagonal(own, np.inf)
    limit = COPY**2 * own.min(1)  # (N,)
    apart = _squared_distances(b, a)  # (fakes, reals)
    nearest = apart.argmin(1)
    distance = apart[np.arange(len(b)), nearest]
    places = np.full(len(a), -1)
    for row in np.argsort(distance, kind="stable"):
        if distance[row] <= limit[nearest[row]] and places[nearest[row]] < 0:
            places[nearest[row]] = row
    places[places < 0] = np.setdiff1d(np.arange(len(b)), places)
    return places


def cross_fit_accuracy(right: np.ndarray) -> Estimate:
    """Accuracy on held-out images, with a 95% interval that is valid under cross-fitting.

    Given its network, the accuracy on one fold is binomial. But two folds depend on each other: chance
    patterns in the images of the first are what the second's network has learned, and vice versa. For a
    linear classifier of sets that do not differ the correlation reaches 1, and the variance twice the
    binomial one, however many folds there are (Bayle et al. 2020 need a stable learner, which one that fits
    chance is not). So the interval is Clopper-Pearson's for half as many images.

    Args:
        right: (2, n) bool, whether each of n real images and n samples was classified correctly.

    Returns:
        The mean accuracy over both sets with its interval.
    """
    value, count = float(right.mean()), right.shape[1]
    low, high = clopper_pearson(value * count, count)
    method = "exact binomial for half the held-out images (cross-fitting counts them up to twice)"
    return Estimate(value, low, high, method, None)


def _thumbnails(pixels: np.ndarray) -> np.ndarray:
    """Images averaged down to about 8 x 8, (N, H, W, C) -> (N, features) float64."""
    step = max(min(pixels.shape[1:3]) // THUMB, 1)
    rows, columns = (side // step * step for side in pixels.shape[1:3])
    cut = pixels[:, :rows, :columns].astype(np.float32)
    n, _, _, channels = cut.shape
    blocks = cut.reshape(n, rows // step, step, columns // step, step, channels)
    return np.asarray(blocks.mean((2, 4)).reshape(n, -1), dtype=np.float64)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T  # (N, M)
    return np.asarray(np.maximum(squares, 0.0))
