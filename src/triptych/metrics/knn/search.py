"""The nearest pictures of each picture, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np

from triptych.core.threads import side_by_side
from triptych.metrics.knn.distances import Exact, Points, Tile, exact_pairs, ladder

SPARE = 3  # candidates kept beyond the k nearest: rounding then seldom leaves a doubt
ROWS = 1024  # queries still in doubt that are looked at in one go
CROWD = 16  # candidates to a row of one block above which they are thinned out first


def nearest(
    queries: Points, points: Points, k: int, rungs: Sequence[Exact] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest points of each query; where both are one object, of the others.

    Returns distances (N, k), ascending, and the points' numbers (N, k): of equal distances the lowest
    numbers, unless both are one object. Where there are fewer than k: inf and -1.
    """
    one = queries is points
    rungs = rungs or (ladder(points) if one else ladder(queries, points))
    itself = np.arange(len(queries)) if one else np.full(len(queries), -1)
    distances, numbers, doubtful = _Search(queries, points, k, itself, rungs[0], one).run()
    for rung in rungs[1:]:
        again, doubtful = np.flatnonzero(doubtful), np.zeros(len(queries), bool)
        for start in range(0, len(again), ROWS):
            rows = again[start : start + ROWS]
            some = Points(queries.take(rows))
            found = _Search(some, points, k, itself[rows], rung, False).run()
            distances[rows], numbers[rows], doubtful[rows] = found
    return distances, numbers


class _Search:
    """One walk over all distances by the values of one rung, keeping the best candidates of each query."""

    def __init__(
        self, queries: Points, points: Points, k: int, itself: np.ndarray, rung: Exact, both_ways: bool
    ) -> None:
        """itself: (N,) the query's number among the points or -1. both_ways: queries are the points."""
        self._queries, self._points, self._k, self._rung = queries, points, k, rung
        self._itself, self._both_ways, self._lock = itself, both_ways, Lock()
        shape = (len(queries), k + (SPARE if rung.error else 0))
        self._values = np.full(shape, np.inf, rung.dtype)  # ascending
        self._numbers = np.full(shape, -1, np.int32)
        self._norms = np.zeros(len(points))
        self._query_norms = self._norms if both_ways else np.zeros(len(queries))

    def run(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances (N, k), numbers (N, k), and which rows, (N,), this rung leaves in doubt."""
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
        lists, numbers = self._values[rows.rows], self._numbers[rows.rows]  # views
        length = lists.shape[1]
        limit = lists[:, -1].copy()  # another thread can only lower it
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

    def _settled(self, tile: Tile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Exact distances of the candidates that matter, and whether an unseen one might."""
        rung, values, numbers = self._rung, self._values[tile.rows], self._numbers[tile.rows]
        distances, doubtful = values, np.zeros(len(tile), bool)
        if rung.error:
            norms = self._query_norms[tile.rows, None] + self._norms[numbers]
            far = np.partition(rung.farthest(values, norms), self._k - 1, axis=1)[:, self._k - 1]
            i, place = np.nonzero((values <= rung.threshold(far)[:, None]) & np.isfinite(values))
            distances = np.full(values.shape, np.inf)
            found = exact_pairs(self._queries, tile.first + i, self._points, numbers[i, place])
            distances[i, place] = found
        order = np.lexsort((numbers, distances), axis=-1)[:, : self._k]
        distances = np.take_along_axis(distances, order, axis=-1)
        numbers = np.take_along_axis(numbers, order, axis=-1)
        if rung.error:
            last, kth = values[:, -1], distances[:, -1]  # (rows,)
            doubtful = np.isfinite(last) & (last <= rung.threshold(kth))
            doubtful &= (kth > 0) | (self._itself[tile.rows] < 0)  # another copy changes no radius
        numbers[np.isinf(distances)] = -1
        return distances, numbers, doubtful
