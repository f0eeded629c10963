"""Precision, recall, density and coverage: who lies within whose nearest neighbours.

One walk over the distances serves all four, and their values with any one group left out as well.
A picture's radius, the distance to its k-th neighbour, can only grow when a group leaves, so a pair
inside the full radius stays inside; only pairs between the full and the largest radius are looked at
group by group. Few pairs are near enough to matter: their distances are exact, the others' bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from triptych.metrics.distances import Block, Points, Tile, ladder
from triptych.metrics.nearest import kth_without_each, nearest_by_group
from triptych.metrics.pair import checked_alike
from triptych.metrics.threads import side_by_side

VERSION = 1
PRECISION_K, DENSITY_K = 3, 5


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = PRECISION_K) -> tuple[float, float]:
    """How many fakes lie where the real pictures are, and the reverse (Kynkaanniemi et al. 2019, eq. 1-3).

    Precision: share of fakes within (<=) the distance from some real picture to its k-th real
    neighbour, itself not counted. Recall: the same with the roles exchanged. Both depend on N and k.

    real: (N, D), fake: (M, D), more than k pictures each. Returns (precision, recall) in [0, 1].
    Raises ValueError on NaN, unlike widths and too few pictures.
    """
    groups = _single_groups(real, fake, k, "precision and recall")
    scores = _walk(*groups, precision_k=k, density_k=None)
    return scores["precision"][0], scores["recall"][0]


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int = DENSITY_K) -> tuple[float, float]:
    """Density and coverage of fakes among real pictures (Naeem et al. 2020, eq. 5 and 6).

    Density: in how many real neighbourhoods (<, radius to the k-th real neighbour) a fake lies, over
    k: about 1 for equal distributions, may exceed 1. Coverage: share of real neighbourhoods with at
    least one fake in them: 1 - prod_{i=1..k} (N - i)/(2N - i) for equal distributions and N = M.

    real: (N, D), fake: (M, D), more than k real pictures and at least 1 fake. Returns (density >= 0,
    coverage in [0, 1]). Raises ValueError on NaN, unlike widths and too few pictures.
    """
    groups = _single_groups(real, fake, k, "density and coverage")
    scores = _walk(*groups, precision_k=None, density_k=k)
    return scores["density"][0], scores["coverage"][0]


def neighbour_scores(
    real: np.ndarray, fake: np.ndarray, precision_k: int = PRECISION_K, density_k: int = DENSITY_K
) -> dict[str, float]:
    """Precision, recall, density and coverage by name, in one walk: half the time of one after another."""
    groups = _single_groups(real, fake, max(precision_k, density_k), "a neighbour score")
    return {name: values[0] for name, values in _walk(*groups, precision_k, density_k).items()}


def neighbour_scores_without_each(
    real: Sequence[np.ndarray],
    fake: Sequence[np.ndarray],
    precision_k: int = PRECISION_K,
    density_k: int = DENSITY_K,
) -> dict[str, tuple[float, list[float]]]:
    """Precision, recall, density and coverage, each whole and with the g-th group of both sets left out.

    real, fake: G >= 2 groups each, (n_g, D) float64; more than k pictures must remain without any one
    group. Every distance is computed once. Returns {name: (value, [value without group g])}.
    """
    largest = max(precision_k, density_k)
    for name, groups in (("real", real), ("fake", fake)):
        left = sum(map(len, groups)) - max(map(len, groups))
        if left <= largest:
            raise ValueError(f"{left} {name} pictures are left without one group, {largest + 1} are needed")
    walked = _walk(Points(real), Points(fake), precision_k, density_k)
    return {name: (values[0], values[1:]) for name, values in walked.items()}


def _single_groups(real: np.ndarray, fake: np.ndarray, k: int, metric: str) -> tuple[Points, Points]:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    sets = checked_alike({"real": real, "fake": fake}, k + 1, metric)
    return Points([sets["real"]]), Points([sets["fake"]])


@dataclass(frozen=True)
class _Radii:
    """Distance of each point to its k-th neighbour: with all groups, and without each one."""

    full: np.ndarray  # (N,)
    without: np.ndarray  # (N, G): >= full; below every distance where the point itself is left out
    largest: np.ndarray  # (N,)

    @classmethod
    def of(cls, nearest: np.ndarray, k: int, group: np.ndarray) -> _Radii:
        """From (N, G, >= k) group-wise nearest distances."""
        nearest = nearest[:, :, :k]
        full = np.partition(nearest.reshape(len(nearest), -1), k - 1, axis=1)[:, k - 1]
        without = kth_without_each(nearest, k)
        largest = without.max(1)
        if nearest.shape[1] > 1:  # with one group nothing is ever left out
            without[np.arange(len(group)), group] = -1.0
        return cls(full, without, largest)


class _Tally:
    """For each picture: with how many of the other set it shares a ball, in all and without each group."""

    def __init__(self, pictures: Points, groups: int) -> None:
        self._pictures = pictures
        self._own = np.zeros((len(pictures), groups), np.int64)  # by the other's group, full radius
        self._extra = np.zeros((len(pictures), groups), np.int64)  # inside only since group g left

    def add(self, numbers: np.ndarray, group: int, gainers: np.ndarray, gained: np.ndarray) -> None:
        """numbers: one for each pair inside. gainers, gained (P,), (P, G): pairs inside without some group.

        group: of the other picture; a pair is never inside without it.
        """
        self._own[:, group] += np.bincount(numbers, minlength=len(self._own))
        gained[:, group] = False
        np.add.at(self._extra, gainers, gained)

    def means(self, of: str) -> list[float]:
        """[whole, without group 0, ...] over the pictures: the "share" with any, or the mean "number"."""
        whole = self._own.sum(1)
        without = whole[:, None] - self._own + self._extra
        if of == "share":
            whole, without = whole > 0, without > 0
        pictures = self._pictures
        means = [int(whole.sum()) / len(pictures)]
        if pictures.groups > 1:
            outside = pictures.group[:, None] != np.arange(pictures.groups)  # (N, G)
            means += ((without * outside).sum(0) / (len(pictures) - pictures.sizes)).tolist()
        return means


class _Balls:
    """Balls about the pictures of one set, and who of the other set lies in them."""

    def __init__(self, radii: _Radii, about: str, strict: bool, real: Points, fake: Points) -> None:
        """about: "real" or "fake". strict: the rim does not count."""
        self._radii, self._about_real = radii, about == "real"
        self._inside = np.less if strict else np.less_equal
        groups = radii.without.shape[1]
        self.reals, self.fakes = _Tally(real, groups), _Tally(fake, groups)
        self._lock = Lock()

    def look(self, block: Block, real: Tile, fake: Tile) -> None:
        """Count the pairs of a block, rows real and columns fake."""
        radii, centres = self._radii, real if self._about_real else fake
        near = block.near_rows if self._about_real else block.near_columns
        i, j = near(radii.largest[centres.rows])
        centre = centres.first + (i if self._about_real else j)
        full = radii.full[centre]
        distances = block.decide(i, j, full, radii.largest[centre])
        inside = self._inside(distances, full)
        gainers = np.flatnonzero(~inside & self._inside(distances, radii.largest[centre]))
        gained = self._inside(distances[gainers, None], radii.without[centre[gainers]])  # (P, G)
        i, j = i + real.first, j + fake.first
        with self._lock:
            self.reals.add(i[inside], fake.group, i[gainers], gained.copy())
            self.fakes.add(j[inside], real.group, j[gainers], gained)


def _walk(
    real: Points, fake: Points, precision_k: int | None, density_k: int | None
) -> dict[str, list[float]]:
    """The asked scores, each [whole, without group 0, ...], in one walk over the cross distances."""
    nearest, _ = nearest_by_group(real, real, max(precision_k or 0, density_k or 0))
    balls: dict[str, _Balls] = {}
    if precision_k:
        radii = _Radii.of(nearest, precision_k, real.group)
        balls["precision"] = _Balls(radii, "real", False, real, fake)
        radii = _Radii.of(nearest_by_group(fake, fake, precision_k)[0], precision_k, fake.group)
        balls["recall"] = _Balls(radii, "fake", False, real, fake)
    if density_k:
        radii = _Radii.of(nearest, density_k, real.group)
        balls["density"] = _Balls(radii, "real", True, real, fake)
    rungs = ladder(real, fake)

    def strip(tile: Tile) -> None:
        rows = rungs[0].side(real, tile)
        for other in fake.tiles():
            block = Block(rungs, real, rows, fake, other)
            for some in balls.values():
                some.look(block, tile, other)

    side_by_side(strip, real.tiles(), len(real) * len(fake) * real.width)
    scores: dict[str, list[float]] = {}
    if precision_k:
        scores["precision"] = balls["precision"].fakes.means("share")
        scores["recall"] = balls["recall"].reals.means("share")
    if density_k:
        scores["density"] = [count / density_k for count in balls["density"].fakes.means("number")]
        scores["coverage"] = balls["density"].reals.means("share")
    return scores
