"""The k nearest neighbors of each image, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np

from triptych.core.threads import side_by_side
from triptych.metrics.knn.distances import _Chunk, _exact_pairs, _Features, _Precision, _precisions

SPARE = 3  # candidates kept beyond the k nearest, so that rounding seldom leaves a row undecided
ROWS = 1024  # undecided queries that are searched again at a time
CROWD = 16  # candidates per row of one block above which they are thinned out first


def k_nearest(queries: np.ndarray, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest points of each query.

    Args:
        queries: (N, D), any real dtype.
        points: (M, D), any real dtype.
        k: number of neighbors, at least 1.

    Returns:
        Distances (N, k), ascending, and the numbers of the points (N, k); of equal distances the lowest
        numbers. Where M < k: inf and -1.
    """
    return _nearest(_Features(queries), _Features(points), k)


def k_nearest_others(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest other points of each point: a point is not its own neighbor, a duplicate of it is.

    Args:
        points: (N, D), any real dtype.
        k: number of neighbors, at least 1.

    Returns:
        Distances (N, k), ascending, and the numbers of the points (N, k). Where N - 1 < k: inf and -1.
    """
    features = _Features(points)
    return _nearest(features, features, k)


def _nearest(
    queries: _Features, points: _Features, k: int, precisions: Sequence[_Precision] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`k_nearest_others` where both sets are one object, else `k_nearest`."""
    same = queries is points
    precisions = precisions or (_precisions(points) if same else _precisions(queries, points))
    itself = np.arange(len(queries)) if same else np.full(len(queries), -1)
    distances, numbers, undecided = _Search(queries, points, k, itself, precisions[0], same).run()
    for precision in precisions[1:]:
        again, undecided = np.flatnonzero(undecided), np.zeros(len(queries), bool)
        for start in range(0, len(again), ROWS):
            rows = again[start : start + ROWS]
            part = _Features(queries.take(rows))
            result = _Search(part, points, k, itself[rows], precision, False).run()
            distances[rows], numbers[rows], undecided[rows] = result
    return distances, numbers


class _Search:
    """One pass over all distances at one precision, keeping the best candidates of each query."""

    def __init__(
        self,
        queries: _Features,
        points: _Features,
        k: int,
        itself: np.ndarray,
        precision: _Precision,
        symmetric: bool,
    ) -> None:
        """itself: (N,) the query's number among the points or -1. symmetric: queries are the points."""
        self._queries, self._points, self._k, self._precision = queries, points, k, precision
        self._itself, self._symmetric, self._lock = itself, symmetric, Lock()
        shape = (len(queries), k + (SPARE if precision.error else 0))
        self._values = np.full(shape, np.inf, precision.dtype)  # ascending
        self._numbers = np.full(shape, -1, np.int32)
        self._norms = np.zeros(len(points))
        self._query_norms = self._norms if symmetric else np.zeros(len(queries))

    def run(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances (N, k), numbers (N, k), and which rows, (N,), this precision leaves undecided."""
        chunks = self._queries.chunks()
        work = len(self._queries) * len(self._points) * self._points.width
        side_by_side(self._search_chunk, chunks[::-1] if self._symmetric else chunks, work)  # longest first
        parts = [self._decide(chunk) for chunk in chunks]
        distances, numbers, undecided = (np.concatenate(x) for x in zip(*parts, strict=True))
        return distances, numbers, undecided

    def _search_chunk(self, chunk: _Chunk) -> None:
        rows = self._precision.operand(self._queries, chunk)
        self._query_norms[chunk.rows] = rows.norms
        for other in self._points.chunks():
            if self._symmetric and other.first > chunk.first:
                break  # distances are symmetric to the bit: half the blocks suffice
            columns = self._precision.operand(self._points, other)
            self._norms[other.rows] = columns.norms
            values = self._precision.values(rows, columns)
            place = self._itself[chunk.rows] - other.first
            mine = np.flatnonzero((place >= 0) & (place < len(other)))
            values[mine, place[mine]] = np.inf  # not its own neighbor, a duplicate of it is
            self._keep(chunk, other, values)
            if self._symmetric and other.first < chunk.first:
                self._keep(other, chunk, values, axis=0)

    def _keep(self, rows: _Chunk, of: _Chunk, values: np.ndarray, axis: int = 1) -> None:
        """Insert the points of one chunk, `of`, into the candidates of the queries of another, `rows`.

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

    def _decide(self, chunk: _Chunk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Exact distances of the candidates that matter, and whether a discarded point might be nearer."""
        precision, values, numbers = self._precision, self._values[chunk.rows], self._numbers[chunk.rows]
        distances, undecided = values, np.zeros(len(chunk), bool)
        if precision.error:
            norms = self._query_norms[chunk.rows, None] + self._norms[numbers]
            far = np.partition(precision.max_distance(values, norms), self._k - 1, axis=1)[:, self._k - 1]
            i, place = np.nonzero((values <= precision.max_value(far)[:, None]) & np.isfinite(values))
            distances = np.full(values.shape, np.inf)
            exact = _exact_pairs(self._queries, chunk.first + i, self._points, numbers[i, place])
            distances[i, place] = exact
        order = np.lexsort((numbers, distances), axis=-1)[:, : self._k]
        distances = np.take_along_axis(distances, order, axis=-1)
        numbers = np.take_along_axis(numbers, order, axis=-1)
        if precision.error:
            last, kth = values[:, -1], distances[:, -1]  # (rows,)
            undecided = np.isfinite(last) & (last <= precision.max_value(kth))
            undecided &= (kth > 0) | (self._itself[chunk.rows] < 0)  # another duplicate changes no radius
        numbers[np.isinf(distances)] = -1
        return distances, numbers, undecided
