"""Precision, recall, density and coverage: who lies within whose nearest neighbours.

One walk over the distances serves all four. Few pairs are near enough to matter: their distances are
exact, the others' bounded.
"""

from __future__ import annotations

from threading import Lock

import numpy as np

from triptych.core.threads import side_by_side
from triptych.metrics.knn.distances import Block, Points, Tile, ladder
from triptych.metrics.knn.search import nearest
from triptych.metrics.validation import checked_sets

VERSION = 1
PRECISION_K, DENSITY_K = 3, 5


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = PRECISION_K) -> tuple[float, float]:
    """How many fakes lie where the real pictures are, and the reverse (Kynkaanniemi et al. 2019, eq. 1-3).

    Precision: share of fakes within (<=) the distance from some real picture to its k-th real
    neighbour, itself not counted. Recall: the same with the roles exchanged. Both depend on N and k.

    real: (N, D), fake: (M, D), more than k pictures each. Returns (precision, recall) in [0, 1].
    Raises ValueError on NaN, unlike widths and too few pictures.
    """
    sets = _points(real, fake, k, "precision and recall")
    scores = _walk(*sets, precision_k=k, density_k=None)
    return scores["precision"], scores["recall"]


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int = DENSITY_K) -> tuple[float, float]:
    """Density and coverage of fakes among real pictures (Naeem et al. 2020, eq. 5 and 6).

    Density: in how many real neighbourhoods (<, radius to the k-th real neighbour) a fake lies, over
    k: about 1 for equal distributions, may exceed 1. Coverage: share of real neighbourhoods with at
    least one fake in them: 1 - prod_{i=1..k} (N - i)/(2N - i) for equal distributions and N = M.

    real: (N, D), fake: (M, D), more than k real pictures and at least 1 fake. Returns (density >= 0,
    coverage in [0, 1]). Raises ValueError on NaN, unlike widths and too few pictures.
    """
    sets = _points(real, fake, k, "density and coverage")
    scores = _walk(*sets, precision_k=None, density_k=k)
    return scores["density"], scores["coverage"]


def prdc_scores(
    real: np.ndarray, fake: np.ndarray, precision_k: int = PRECISION_K, density_k: int = DENSITY_K
) -> dict[str, float]:
    """Precision, recall, density and coverage by name, in one walk: half the time of one after another."""
    sets = _points(real, fake, max(precision_k, density_k), "a neighbour score")
    return _walk(*sets, precision_k, density_k)


def _points(real: np.ndarray, fake: np.ndarray, k: int, metric: str) -> tuple[Points, Points]:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    sets = checked_sets({"real": real, "fake": fake}, k + 1, metric)
    return Points(sets["real"]), Points(sets["fake"])


class _Balls:
    """Balls about the pictures of one set, and who of the other set lies in them."""

    def __init__(self, radii: np.ndarray, about: str, strict: bool, real: Points, fake: Points) -> None:
        """radii: one a picture of the set `about`, "real" or "fake". strict: the rim does not count."""
        self._radii, self._about_real = radii, about == "real"
        self._inside = np.less if strict else np.less_equal
        self.of_real = np.zeros(len(real), np.int64)  # with how many of the other set it shares a ball
        self.of_fake = np.zeros(len(fake), np.int64)
        self._lock = Lock()

    def look(self, block: Block, real: Tile, fake: Tile) -> None:
        """Count the pairs of a block, rows real and columns fake."""
        radii = self._radii[real.rows, None] if self._about_real else self._radii[None, fake.rows]
        i, j = block.near(radii)
        radii = radii[i, 0] if self._about_real else radii[0, j]  # (P,)
        inside = self._inside(block.distances(i, j, radii), radii)
        rows, columns = (
            np.bincount(numbers[inside], minlength=len(tile)) for numbers, tile in ((i, real), (j, fake))
        )
        with self._lock:
            self.of_real[real.rows] += rows
            self.of_fake[fake.rows] += columns


def _walk(real: Points, fake: Points, precision_k: int | None, density_k: int | None) -> dict[str, float]:
    """The asked scores in one walk over the cross distances."""
    near, _ = nearest(real, real, max(precision_k or 0, density_k or 0))
    balls: dict[str, _Balls] = {}
    if precision_k:
        balls["precision"] = _Balls(near[:, precision_k - 1], "real", False, real, fake)
        radii = nearest(fake, fake, precision_k)[0][:, -1]
        balls["recall"] = _Balls(radii, "fake", False, real, fake)
    if density_k:
        balls["density"] = _Balls(near[:, density_k - 1], "real", True, real, fake)
    rungs = ladder(real, fake)

    def strip(tile: Tile) -> None:
        rows = rungs[0].side(real, tile)
        for other in fake.tiles():
            block = Block(rungs, real, rows, fake, other)
            for some in balls.values():
                some.look(block, tile, other)

    side_by_side(strip, real.tiles(), len(real) * len(fake) * real.width)
    scores: dict[str, float] = {}
    if precision_k:
        scores["precision"] = _share(balls["precision"].of_fake)
        scores["recall"] = _share(balls["recall"].of_real)
    if density_k:
        scores["density"] = int(balls["density"].of_fake.sum()) / len(fake) / density_k
        scores["coverage"] = _share(balls["density"].of_real)
    return scores


def _share(counts: np.ndarray) -> float:
    """How many are above 0."""
    return int((counts > 0).sum()) / len(counts)
