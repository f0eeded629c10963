"""How many images of one set lie within balls around the images of another, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Literal

import numpy as np

from triptych.core.threads import side_by_side
from triptych.metrics.knn.distances import _Chunk, _Features, _Pairs, _precisions


@dataclass(frozen=True)
class Balls:
    """A ball around each row of one of two sets."""

    radii: np.ndarray  # one for each row of that set
    around: Literal["a", "b"]  # the set whose rows are the centers
    strict: bool  # whether a row at exactly the radius is outside (<) rather than inside (<=)


@dataclass(frozen=True)
class Counts:
    """For each row, with how many rows of the other set it forms a pair of center and contained row."""

    a: np.ndarray  # (N,) int64
    b: np.ndarray  # (M,) int64


def count_within(a: np.ndarray, b: np.ndarray, balls: Sequence[Balls]) -> list[Counts]:
    """Count the pairs of which one row lies in the ball around the other, for several sets of balls.

    All are counted in one pass over the distances between both sets. Few pairs are close enough to matter:
    their distances are exact, the others' bounded.

    Args:
        a: (N, D), any real dtype.
        b: (M, D), any real dtype.
        balls: the sets of balls.

    Returns:
        The counts for each set of balls.
    """
    rows, columns = _Features(a), _Features(b)
    counters = [_Counter(x, len(rows), len(columns)) for x in balls]
    precisions = _precisions(rows, columns)

    def count(chunk: _Chunk) -> None:
        operand = precisions[0].operand(rows, chunk)
        for other in columns.chunks():
            pairs = _Pairs(precisions, rows, operand, columns, other)
            for counter in counters:
                counter.add(pairs, chunk, other)

    side_by_side(count, rows.chunks(), len(rows) * len(columns) * rows.width)
    return [counter.counts for counter in counters]


class _Counter:
    """Running counts for one set of balls."""

    def __init__(self, balls: Balls, rows: int, columns: int) -> None:
        self._radii, self._around_rows = balls.radii, balls.around == "a"
        self._inside = np.less if balls.strict else np.less_equal
        self.counts = Counts(np.zeros(rows, np.int64), np.zeros(columns, np.int64))
        self._lock = Lock()

    def add(self, pairs: _Pairs, rows: _Chunk, columns: _Chunk) -> None:
        """Count the pairs of two chunks."""
        radii = self._radii[rows.rows, None] if self._around_rows else self._radii[None, columns.rows]
        i, j = pairs.candidates(radii)
        radii = radii[i, 0] if self._around_rows else radii[0, j]  # (P,)
        inside = self._inside(pairs.distances(i, j, radii), radii)
        of_rows, of_columns = (
            np.bincount(numbers[inside], minlength=len(chunk)) for numbers, chunk in ((i, rows), (j, columns))
        )
        with self._lock:
            self.counts.a[rows.rows] += of_rows
            self.counts.b[columns.rows] += of_columns
