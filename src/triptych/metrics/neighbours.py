"""Precision, recall, density and coverage: who lies within whose nearest neighbours.

One walk over the distances serves all four, and their values with any one group left out as well.
A picture's radius, the distance to its k-th neighbour, can only grow when a group leaves, so a pair
inside the full radius stays inside; only pairs between the full and the largest radius are looked at
group by group.

Distances are summed in float64 from the differences themselves, never from |a|^2 + |b|^2 - 2 a.b:
copies are then at exactly 0, ties stay ties, and no result depends on the size of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from triptych.metrics.pair import checked_pair
from triptych.metrics.threads import one_thread

VERSION = 1
PRECISION_K, DENSITY_K = 3, 5
TILE = 2048  # a tile of distances holds at most TILE x TILE float64: 32 MB


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
    walked = _walk(_Points(real), _Points(fake), precision_k, density_k)
    return {name: (values[0], values[1:]) for name, values in walked.items()}


def _single_groups(real: np.ndarray, fake: np.ndarray, k: int, metric: str) -> tuple[_Points, _Points]:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    real, fake = checked_pair(real, fake, k + 1, metric)
    return _Points([real]), _Points([fake])


class _Points:
    """Features in one row of groups, cut into tiles that never cross from one group to the next."""

    def __init__(self, groups: Sequence[np.ndarray]) -> None:
        self.groups = len(groups)
        self.sizes = torch.tensor([len(g) for g in groups])
        self.features = torch.from_numpy(np.concatenate(groups))  # (N, D) float64
        self.group = torch.repeat_interleave(torch.arange(self.groups), self.sizes)  # (N,)

    def __len__(self) -> int:
        return len(self.features)

    def tiles(self) -> Iterator[tuple[slice, int]]:
        """(rows, group) of each tile, in order."""
        first = 0
        for g, size in enumerate(self.sizes.tolist()):
            for start in range(first, first + size, TILE):
                yield slice(start, min(start + TILE, first + size)), g
            first += size


@dataclass(frozen=True)
class _Radii:
    """Distance of each point to its k-th neighbour: with all groups, and without each one."""

    full: Tensor  # (N,)
    without: Tensor  # (N, G): >= full; below every distance where the point itself is left out
    largest: Tensor  # (N,)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _nearest_by_group(points: _Points, k: int) -> Tensor:
    """(N, G, k): the k smallest distances from each point to others in each group, ascending, inf-padded."""
    best = torch.full((len(points), points.groups, k), torch.inf, dtype=torch.float64)

    def keep(rows: slice, group: int, distances: Tensor) -> None:
        both = torch.cat([best[rows, group], distances], dim=1)
        best[rows, group] = both.topk(k, dim=1, largest=False).values

    for rows, g in points.tiles():
        for columns, h in points.tiles():
            if columns.start > rows.start:
                continue  # distances are symmetric to the bit: half the tiles serve both
            d = _distances(points.features[rows], points.features[columns])  # (rows, columns)
            if rows == columns:
                keep(rows, g, d.fill_diagonal_(torch.inf))  # not its own neighbour, a copy of it is
            else:
                keep(rows, h, d)
                keep(columns, g, d.T)
    return best


def _radii(nearest: Tensor, k: int, group: Tensor) -> _Radii:
    """Radii from (N, G, >= k) group-wise nearest distances."""
    nearest = nearest[:, :, :k]
    full = nearest.flatten(1).kthvalue(k, dim=1).values
    if nearest.shape[1] == 1:  # one group: nothing is ever left out
        return _Radii(full, full[:, None], full)
    columns = []
    for g in range(nearest.shape[1]):
        others = torch.cat([nearest[:, :g], nearest[:, g + 1 :]], dim=1)  # (N, G - 1, k)
        columns.append(others.flatten(1).kthvalue(k, dim=1).values)
    without = torch.stack(columns, dim=1)  # (N, G)
    largest = without.amax(1)
    without[torch.arange(len(group)), group] = -1.0
    return _Radii(full, without, largest)


class _Memberships:
    """For each query: in how many neighbourhoods of the centres it lies, in all and without each group."""

    def __init__(self, queries: _Points, radii: _Radii, strict: bool) -> None:
        self._queries, self._radii = queries, radii
        self._inside = torch.lt if strict else torch.le
        shape = (len(queries), radii.without.shape[1])
        self._own = torch.zeros(shape, dtype=torch.int64)  # by the centre's group, full radius
        self._extra = torch.zeros(shape, dtype=torch.int64)  # inside only since group g left

    def add(self, queries: slice, centres: slice, group: int, distances: Tensor) -> None:
        """distances: (queries, centres); group: of the centres."""
        full, largest = self._radii.full[centres], self._radii.largest[centres]
        inside = self._inside(distances, full)
        self._own[queries, group] += inside.sum(1)
        rows, columns = (self._inside(distances, largest) & ~inside).nonzero(as_tuple=True)
        if len(rows):
            near = distances[rows, columns][:, None]  # (pairs, 1)
            gained = self._inside(near, self._radii.without[centres][columns])  # (pairs, G)
            self._extra[queries].index_add_(0, rows, gained.long())

    def counts(self) -> tuple[Tensor, Tensor]:
        """(M,) over all groups, and (M, G): without group g."""
        whole = self._own.sum(1)
        return whole, whole[:, None] - self._own + self._extra

    def means(self, of: str) -> list[float]:
        """[whole, without group 0, ...] over the queries: the "share" inside any, or the mean "number"."""
        whole, without = self.counts()
        if of == "share":
            whole, without = (whole > 0).long(), (without > 0).long()
        return _left_out_means(whole, without, self._queries)


def _left_out_means(whole: Tensor, without: Tensor, points: _Points) -> list[float]:
    """[mean of `whole` (N,), then for each g the mean of column g of `without` (N, G) outside group g]."""
    means = [int(whole.sum()) / len(points)]
    if points.groups > 1:
        outside = points.group[:, None] != torch.arange(points.groups)  # (N, G)
        sums = (without * outside).sum(0)
        means += (sums.double() / (len(points) - points.sizes)).tolist()
    return means


@one_thread()
def _walk(
    real: _Points, fake: _Points, precision_k: int | None, density_k: int | None
) -> dict[str, list[float]]:
    """The asked scores, each [whole, without group 0, ...], in one walk over the cross distances."""
    nearest = _nearest_by_group(real, max(precision_k or 0, density_k or 0))
    fake_to_real, real_to_fake, density = None, None, None
    if precision_k:
        fake_to_real = _Memberships(fake, _radii(nearest, precision_k, real.group), strict=False)
        fake_radii = _radii(_nearest_by_group(fake, precision_k), precision_k, fake.group)
        real_to_fake = _Memberships(real, fake_radii, strict=False)
    if density_k:
        real_radii = _radii(nearest, density_k, real.group)
        density = _Memberships(fake, real_radii, strict=True)
    closest = torch.full((len(real), fake.groups), torch.inf, dtype=torch.float64)
    for rows, g in real.tiles():
        for columns, h in fake.tiles():
            d = _distances(real.features[rows], fake.features[columns])  # (real rows, fake columns)
            turned = d.T.contiguous()
            if fake_to_real and real_to_fake:
                fake_to_real.add(columns, rows, g, turned)
                real_to_fake.add(rows, columns, h, d)
            if density:
                density.add(columns, rows, g, turned)
                closest[rows, h] = torch.minimum(closest[rows, h], d.amin(1))
    scores: dict[str, list[float]] = {}
    if fake_to_real and real_to_fake:
        scores |= {"precision": fake_to_real.means("share"), "recall": real_to_fake.means("share")}
    if density and density_k:
        scores["density"] = [count / density_k for count in density.means("number")]
        scores["coverage"] = _coverage(real, real_radii, closest)
    return scores


def _coverage(real: _Points, radii: _Radii, closest: Tensor) -> list[float]:
    """closest: (N, G), distance of each real picture to the nearest fake of each group."""
    whole = closest.amin(1) < radii.full
    if closest.shape[1] == 1:
        return _left_out_means(whole.long(), whole[:, None], real)
    two = closest.topk(2, dim=1, largest=False)  # the nearest group, and the next where that one is left out
    groups = torch.arange(closest.shape[1])
    left = torch.where(two.indices[:, :1] == groups, two.values[:, 1:], two.values[:, :1])  # (N, G)
    return _left_out_means(whole.long(), (left < radii.without).long(), real)
