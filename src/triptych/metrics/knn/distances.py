"""Distances between features: exact ones, and bounds that make most of the exact ones unnecessary.

The exact distance is summed in float64 from the differences, never from |a|^2 + |b|^2 - 2 a.b: duplicates
are then at distance 0, ties stay ties, and no result depends on the chunk size or the number of threads.

That sum is slow for wide features, while matrix products are fast but inexact. So a chunk is first compared
by products with a rigorous error bound; pairs that the bound does not decide are compared at the next
precision: float32 products, float64 products, the exact sum. Every decision is that of the exact distances,
to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

CHUNK_ROWS = 1024  # images on either side of a block of distances
WIDE = 32  # narrower features are compared exactly from the start
CACHED = 2**16  # numbers converted at a time: 0.5 MB, which stays in the processor's cache
UNIT64 = 2.0**-53
TINY = 1e-30  # squared distance in scaled units: more than all float32 underflow together


@dataclass(frozen=True)
class _Chunk:
    """A range of consecutive rows."""

    first: int
    stop: int

    @property
    def rows(self) -> slice:
        """The rows as a slice."""
        return slice(self.first, self.stop)

    def __len__(self) -> int:
        return self.stop - self.first


class _Features:
    """A set of features, (N, D), in its own dtype: never copied or converted as a whole."""

    def __init__(self, features: np.ndarray) -> None:
        self.features, self.width = features, features.shape[1]

    def __len__(self) -> int:
        return len(self.features)

    def chunks(self) -> list[_Chunk]:
        """All rows in order, CHUNK_ROWS at a time."""
        starts = range(0, len(self), CHUNK_ROWS)
        return [_Chunk(start, min(start + CHUNK_ROWS, len(self))) for start in starts]

    def of(self, chunk: _Chunk) -> np.ndarray:
        """(rows, D) in the original dtype."""
        return self.features[chunk.rows]

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """(len(numbers), D) float64."""
        return self.features[numbers].astype(np.float64)


def exact_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Exact Euclidean distances.

    Args:
        a: (n, D) features of any real dtype.
        b: (m, D) features of any real dtype.

    Returns:
        (n, m) float64.
    """
    return _summed(np.array(a, np.float64, order="C"), np.array(b, np.float64, order="C"))


def _exact_pairs(a: _Features, i: np.ndarray, b: _Features, j: np.ndarray) -> np.ndarray:
    """(P,) exact distances of rows i of a to rows j of b: the bits of `exact_distances`."""
    distances, step = np.empty(len(i)), max(CACHED // a.width, 1)
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        distances[part] = _summed(a.take(i[part])[:, None], b.take(j[part])[:, None])[:, 0, 0]  # (P, 1, 1)
    return distances


def _summed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    mode = "donot_use_mm_for_euclid_dist"
    return torch.cdist(torch.from_numpy(a), torch.from_numpy(b), compute_mode=mode).numpy()


@dataclass(frozen=True)
class _Operand:
    """A chunk of features, prepared for one precision."""

    chunk: _Chunk
    features: np.ndarray  # (rows, D)
    norms: np.ndarray  # (rows,) squared, float64


class _Precision:
    """One way to compare chunks; this base class is the exact one: its values are the distances."""

    error = 0.0  # of a value, in units of the sum of both squared norms
    dtype: type[np.floating] = np.float64
    min_share = 1 / 4  # of a block's pairs from which the whole block is cheaper than pair by pair

    def operand(self, points: _Features, chunk: _Chunk) -> _Operand:
        """The features unchanged."""
        return _Operand(chunk, points.of(chunk), np.zeros(len(chunk)))

    def values(self, a: _Operand, b: _Operand) -> np.ndarray:
        """(rows, columns), increasing in the distance."""
        return exact_distances(a.features, b.features)

    def max_value(self, distance: np.ndarray) -> np.ndarray:
        """Upper bound of the value of any pair that is at most `distance` apart."""
        return distance

    def max_distance(self, values: np.ndarray, norms: np.ndarray) -> np.ndarray:
        """Upper bound of the distance of pairs with these values and these sums of squared norms."""
        return values


class _Products(_Precision):
    """Lower bounds of squared distances, from matrix products in float32 or float64.

    With u the unit roundoff, features x centered and rounded once, and products p of D terms summed
    in any order (Higham 2002, section 3.1): |d^2 - (|x|^2 + |y|^2 - 2 p)| is at most
    e (|x|^2 + |y|^2), e = m u / (1 - m u), where m is D plus the other roundings: 4.2 for those of x and
    y, 64 for norms summed in parts of 64 terms, 6.1 for the three terms and their sums; the sums of the
    parts add D roundings of float64. A value is the lower end of that range; the upper end is
    2 e (|x|^2 + |y|^2) above it.
    """

    min_share = 1 / 64

    def __init__(self, scaling: _Scaling, dtype: type[np.floating]) -> None:
        self._scaling, self.dtype = scaling, dtype
        unit, width = float(np.finfo(dtype).eps) / 2, len(scaling.center)
        terms = (width + 96) * unit + width * UNIT64
        self.error = terms / (1 - terms)
        # an exact distance is itself rounded: D sums of squares of differences, and a root
        self._exact_error = 4 * (width + 16) * UNIT64

    def operand(self, points: _Features, chunk: _Chunk) -> _Operand:
        """Features centered and scaled."""
        scaling, rows = self._scaling, points.of(chunk)
        features = np.empty((len(chunk), points.width), self.dtype)
        step = max(CACHED // points.width, 1)
        single = scaling.single and self.dtype is np.float32 and rows.dtype == np.float32
        for part in (slice(start, start + step) for start in range(0, len(chunk), step)):
            if single:
                centered = rows[part] - scaling.center.astype(np.float32)
            else:
                centered = rows[part].astype(np.float64) - scaling.center
            centered *= scaling.scale
            features[part] = centered
        norms = np.zeros(len(chunk))
        for start in range(0, points.width, 64):
            columns = features[:, start : start + 64]
            norms += np.einsum("ij,ij->i", columns, columns)
        return _Operand(chunk, features, norms)

    def values(self, a: _Operand, b: _Operand) -> np.ndarray:
        """(rows, columns) lower bounds of squared distances, in scaled units."""
        low = a.features @ b.features.T  # (rows, columns)
        low *= -2
        low += ((1 - self.error) * a.norms).astype(self.dtype)[:, None]
        low += ((1 - self.error) * b.norms).astype(self.dtype)
        return low

    def max_value(self, distance: np.ndarray) -> np.ndarray:
        """Upper bound of the value of any pair that is at most `distance` apart."""
        above = (distance * self._scaling.scale) ** 2 * (1 + self._exact_error) + TINY
        return (above * (1 + 4 * float(np.finfo(self.dtype).eps))).astype(self.dtype)

    def max_distance(self, values: np.ndarray, norms: np.ndarray) -> np.ndarray:
        """Upper bound of the distance of pairs with these values and these sums of squared norms."""
        squared = np.maximum(values + (2 * self.error * norms + 2 * TINY), 0.0)
        return np.sqrt(squared) * ((1 + self._exact_error) / self._scaling.scale)


@dataclass(frozen=True)
class _Scaling:
    """The center that features are moved to, and a power of two that scales the largest to about 1."""

    center: np.ndarray  # (D,) float64
    scale: float
    single: bool  # whether a float32 may be centered and scaled in float32, rounding only once

    @classmethod
    def of(cls, *sets: _Features) -> _Scaling | None:
        """For all sets together; None where squares might overflow float64, or all points are equal."""
        with np.errstate(over="ignore", invalid="ignore"):
            count = sum(map(len, sets))
            parts = [points.of(chunk) for points in sets for chunk in points.chunks()]
            center = sum(part.sum(0, dtype=np.float64) for part in parts) / count
            single = all(part.dtype == np.float32 for part in parts)
            if single:
                center = center.astype(np.float32).astype(np.float64)
            largest = max(_extent(part, center) for part in parts)
        if not 1e-100 < largest < 1e100:
            return None
        scale = 2.0 ** -int(np.frexp(largest)[1])
        return cls(center, scale, single and 1e-30 < scale < 1e30)


def _extent(rows: np.ndarray, center: np.ndarray) -> float:
    """The largest absolute deviation from the center."""
    parts = np.array_split(rows, len(rows) // 128 + 1)
    return max(float(np.abs(part.astype(np.float64) - center).max(initial=0.0)) for part in parts)


def _precisions(*sets: _Features) -> list[_Precision]:
    """The precisions for distances within and between these sets, in ascending order, the exact one last."""
    scaling = _Scaling.of(*sets) if sets[0].width >= WIDE else None
    if scaling is None:
        return [_Precision()]
    precisions = [_Products(scaling, np.float32), _Products(scaling, np.float64), _Precision()]
    return precisions if sets[0].width * 2**-24 < 0.1 else precisions[1:]


class _Pairs:
    """The pairs of two chunks: which may lie within a distance, and which do."""

    def __init__(
        self, precisions: Sequence[_Precision], a: _Features, rows: _Operand, b: _Features, columns: _Chunk
    ) -> None:
        self._precisions, self._a, self._b = precisions, a, b
        self.rows, self.columns = rows, precisions[0].operand(b, columns)
        self.values = precisions[0].values(self.rows, self.columns)  # (rows, columns)

    def candidates(self, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows i and columns j of a superset of the pairs that lie within the radius.

        radii: one for each row, (rows, 1), or one for each column, (columns,).
        """
        within = self.values <= self._precisions[0].max_value(radii)
        i, j = np.divmod(np.flatnonzero(within), self.values.shape[1])
        return i, j

    def distances(self, i: np.ndarray, j: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Distances of pairs i, j, (P,): -1 if certainly within the radius, inf if beyond, else exact."""
        result, values = np.full(len(i), np.nan), self.values[i, j]
        for level, precision in enumerate(self._precisions):
            open_ = np.flatnonzero(np.isnan(result))
            if level and len(open_) < precision.min_share * self.values.size:
                break
            if level:
                operands = (
                    precision.operand(self._a, self.rows.chunk),
                    precision.operand(self._b, self.columns.chunk),
                )
                values = precision.values(*operands)[i[open_], j[open_]]
            if level == len(self._precisions) - 1:
                result[open_] = values
                return result
            norms = self.rows.norms[i[open_]] + self.columns.norms[j[open_]]
            within = precision.max_distance(values, norms) < radii[open_]
            beyond = values > precision.max_value(radii[open_])
            result[open_] = np.where(within, -1.0, np.where(beyond, np.inf, np.nan))
        rows, columns = self.rows.chunk.first + i[open_], self.columns.chunk.first + j[open_]
        result[open_] = _exact_pairs(self._a, rows, self._b, columns)
        return result
