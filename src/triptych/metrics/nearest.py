"""The nearest pictures of each picture, exactly, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np

from triptych.metrics.distances import Exact, Points, Tile, exact_pairs, ladder
from triptych.metrics.threads import side_by_side

SPARE = 3  # candidates kept beyond the k nearest: rounding then seldom leaves a doubt
ROWS = 1024  # queries still in doubt that are looked at in one go
CROWD = 16  # candidates to a row of one block above which they are thinned out first


def nearest_by_group(
    queries: Points, points: Points, k: int, rungs: Sequence[Exact] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest points of each query in each group of them; where both are one object, of the others.

    Returns distances (N, G, k), ascending, and the points' numbers (N, G, k): of equal distances the
    lowest numbers, unless both are one object. A group with fewer has inf and -1, and so may
    have whatever is not among the k nearest of the whole set, nor of the set without any one group.
    """
    one = queries is points
    rungs = rungs or (ladder(points) if one else ladder(queries, points))
    itself = np.arange(len(queries)) if one else np.full(len(queries), -1)
    distances, numbers, doubtful = _Search(queries, points, k, itself, rungs[0], one).run()
    for rung in rungs[1:]:
        again, doubtful = np.flatnonzero(doubtful), np.zeros(len(queries), bool)
        for start in range(0, len(again), ROWS):
            rows = again[start : start + ROWS]
            some = Points([queries.take(rows)])
            found = _Search(some, points, k, itself[rows], rung, False).run()
            distances[rows], numbers[rows], doubtful[rows] = found
    return distances, numbers


def kth_without_each(distances: np.ndarray, k: int) -> np.ndarray:
    """(N, G) k-th smallest of (N, G, m >= k) distances without each group; of all where there is one."""
    groups = distances.shape[1]
    columns = []
    for g in range(groups):
        others = np.delete(distances, g, axis=1) if groups > 1 else distances
        columns.append(np.partition(others.reshape(len(others), -1), k - 1, axis=1)[:, k - 1])
    return np.stack(columns, axis=1)


class _Search:
    """One walk over all distances by the values of one rung, keeping the best candidates of each query."""

    def __init__(
        self, queries: Points, points: Points, k: int, itself: np.ndarray, rung: Exact, both_ways: bool
    ) -> None:
        """itself: (N,) the query's number among the points or -1. both_ways: queries are the points."""
        self._queries, self._points, self._k, self._rung = queries, points, k, rung
        self._itself, self._both_ways, self._lock = itself, both_ways, Lock()
        shape = (len(queries), points.groups, k + (SPARE if rung.error else 0))
        self._values = np.full(shape, np.inf, rung.dtype)  # ascending
        self._numbers = np.full(shape, -1, np.int32)
        self._ceiling = np.full(len(queries), np.inf, rung.dtype)  # values from here on cannot matter
        self._norms = np.zeros(len(points))
        self._query_norms = self._norms if both_ways else np.zeros(len(queries))

    def run(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances (N, G, k), numbers (N, G, k), and which rows, (N,), this rung leaves in doubt."""
        tiles = self._queries.tiles()
        work = len(self._queries) * len(self._points) * self._points.width
        side_by_side(self._strip, tiles[::-1] if self._both_ways else tiles, work)  # longest first
        parts = [self._settled(tile) for tile in tiles]
        distances, numbers, doubtful = (np.concatenate(x) for x in zip(*parts, strict=True))
        return distances, numbers, doubtful

    def _strip(self, tile: Tile) -> None:
        rows = self._rung.side(self._queries, tile)
        self._query_norms[tile.rows] = rows.norms
        for other in self._points.tiles():
            if self._both_ways and other.first > tile.first:
                break  # distances are symmetric to the bit: half the blocks serve for all
            columns = self._rung.side(self._points, other)
            self._norms[other.rows] = columns.norms
            values = self._rung.values(rows, columns)
            place = self._itself[tile.rows] - other.first
            mine = np.flatnonzero((place >= 0) & (place < len(other)))
            values[mine, place[mine]] = np.inf  # not its own neighbour, a copy of it is
            self._keep(tile, other, values)
            if self._both_ways and other.first < tile.first:
                self._keep(other, tile, values, axis=0)

    def _keep(self, rows: Tile, of: Tile, values: np.ndarray, axis: int = 1) -> None:
        """Let the points of one tile, `of`, into the lists of the queries of another, `rows`.

        values: with axis 1 (rows, of), with axis 0 (of, rows).
        """
        lists, numbers = self._values[rows.rows, of.group], self._numbers[rows.rows, of.group]  # views
        length = lists.shape[1]
        limit = np.minimum(lists[:, -1], self._ceiling[rows.rows])  # another thread can only lower it
        below = values < np.expand_dims(limit, axis)
        if np.count_nonzero(below) > CROWD * len(rows) and len(of) > length:
            limit = np.partition(values, length - 1, axis).take([length - 1], axis)
            below = values <= limit
        i, j = np.divmod(np.flatnonzero(below), values.shape[1])
        if axis == 0:
            order = np.argsort(j, kind="stable")
            i, j = j[order], i[order]
        if not len(i):
            return
        count = np.bincount(i, minlength=len(rows))
        touched, row = np.flatnonzero(count), (np.cumsum(count > 0) - 1)[i]
        place = np.arange(len(i)) - (np.cumsum(count) - count)[i]
        new = np.full((len(touched), count.max()), np.inf, lists.dtype)
        new[row, place] = values[i, j] if axis else values[j, i]
        named = np.full(new.shape, -1, np.int32)
        named[row, place] = of.first + j
        with self._lock:
            new = np.concatenate([lists[touched], new], axis=1)
            order = np.argsort(new, axis=1, kind="stable")[:, :length]
            lists[touched] = np.take_along_axis(new, order, axis=1)
            named = np.concatenate([numbers[touched], named], axis=1)
            numbers[touched] = np.take_along_axis(named, order, axis=1)
            self._lower_ceiling(rows.first + touched)

    def _lower_ceiling(self, rows: np.ndarray) -> None:
        """Whichever group is left out, the k of the nearest but one group are there."""
        if self._points.groups == 1:
            return  # the end of the list serves
        kth = np.partition(self._values[rows, :, self._k - 1], 1, axis=1)[:, 1]
        far = self._rung.farthest(kth, self._query_norms[rows] + self._rung.most)
        ceiling = np.nextafter(self._rung.threshold(far), np.inf, dtype=self._rung.dtype)
        self._ceiling[rows] = np.minimum(self._ceiling[rows], ceiling)

    def _settled(self, tile: Tile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Exact distances of the candidates that matter, and whether an unseen one might."""
        rung, values, numbers = self._rung, self._values[tile.rows], self._numbers[tile.rows]
        distances, doubtful = values, np.zeros(len(tile), bool)
        if rung.error:
            norms = self._query_norms[tile.rows, None, None] + self._norms[numbers]
            far = kth_without_each(rung.farthest(values, norms), self._k).max(1)
            ceiling = rung.threshold(far)[:, None]
            i, g, place = np.nonzero((values <= ceiling[:, None]) & np.isfinite(values))
            distances = np.full(values.shape, np.inf)
            found = exact_pairs(self._queries, tile.first + i, self._points, numbers[i, g, place])
            distances[i, g, place] = found
        order = np.lexsort((numbers, distances), axis=-1)[..., : self._k]
        distances = np.take_along_axis(distances, order, axis=-1)
        numbers = np.take_along_axis(numbers, order, axis=-1)
        if rung.error:
            last, kth = values[..., -1], distances[..., -1]  # (rows, G)
            unseen = np.isfinite(last) & (last <= ceiling) & (last <= rung.threshold(kth))
            unseen &= (kth > 0) | (self._itself[tile.rows, None] < 0)  # another copy changes no radius
            doubtful[unseen.any(1)] = True
        numbers[np.isinf(distances)] = -1
        return distances, numbers, doubtful
