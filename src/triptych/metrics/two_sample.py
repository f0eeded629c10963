"""Which images a two-sample test is trained and tested on, and how sure its accuracy is. Arrays alone.

References:
    Lopez-Paz, Oquab (2017): Revisiting classifier two-sample tests.
    Bayle, Bayle, Janson, Mackey (2020): Cross-validation confidence intervals for test error.
"""

from __future__ import annotations

import numpy as np

from triptych.metrics.stats.binomial import clopper_pearson
from triptych.metrics.stats.intervals import Estimate

THUMB = 8  # pixels: copies are looked for in images averaged down to this
COPY = 0.25  # of the distance to the nearest other real image: nearer is a copy (a quarter of it, squared)


def distinct_rows(pixels: np.ndarray) -> np.ndarray:
    """Rows of images that no earlier row equals, ascending.

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
    """Equally many rows of both sets, by a fixed shuffle, with the same classes as far as there are any.

    Args:
        real: How many real images there are.
        fake: How many samples.
        most: How many to take of each, at most.
        labels: Classes of both, (real,) and (fake,) int; None: none are known.
        seed: Of the shuffle.

    Returns:
        Rows of real images and of samples, (n,) each, n = min(real, fake, most); where labels are given, rows
        at one place have one class, but for the last few where the classes do not suffice.
    """
    rng, count = np.random.default_rng(seed), min(real, fake, most)
    rows = rng.permutation(real), rng.permutation(fake)
    if labels is None:
        return rows[0][:count], rows[1][:count]
    ranks = []  # of each row: how many of its class stand before it
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
    found = [np.array([*pair, *left][:count], dtype=np.int64) for pair, left in zip(pairs, rest, strict=True)]
    again = rng.permutation(count)
    return found[0][again], found[1][again]


def align_near_duplicates(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """An order of the samples in which copies of real images stand at the real image's own place.

    Else a network that has learned a real image by heart in one fold would take its copy in another for
    real, and the accuracy of a model that copies (or of one folder saved twice) would fall below 0.5.

    Args:
        real: (N, H, W, C) uint8.
        fake: (N, H, W, C) uint8, as many.

    Returns:
        Row numbers of the samples, (N,), a permutation; where there are no copies, 0, 1, 2, ...
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
    """The share of held-out images named rightly, with a 95 % interval that holds under cross-fitting.

    Given its network, what one fold's images show is binomial. But two folds lean on each other: what the
    images of the first happen to have in common is what the second's network has learned, and the other way
    round. For a linear classifier of sets that do not differ the correlation goes up to 1, and the variance
    to twice the binomial one, however many folds there are (Bayle et al. need a stable learner, which one
    that learns chance is not). So the interval is Clopper and Pearson's of half as many images.

    Args:
        right: (2, n) bool, of n real images and of n samples.

    Returns:
        The mean over both sets with its interval.
    """
    value, count = float(right.mean()), right.shape[1]
    low, high = clopper_pearson(value * count, count)
    method = "exact binomial of half the held-out images (cross-fitting counts them up to twice)"
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
