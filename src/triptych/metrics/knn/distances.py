"""Distances between pictures' features: exact ones, and bounds that spare most of the exact ones.

The exact distance is summed in float64 from the differences themselves, never from
|a|^2 + |b|^2 - 2 a.b: copies are then at exactly 0, ties stay ties, and no result depends on the
size of a tile or on the number of threads.

That sum is slow for wide features, while matrix products are fast and round. So a tile of products
is made, with a bound on how far they are off; what that settles is settled, and only pairs too close
to call go up the ladder: float32 products, float64 products, the exact sum. Every decision is that of
the exact distances, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

TILE = 1024  # pictures on either side of a block of distances
WIDE = 32  # features narrower than this are summed exactly at once
CHUNK = 2**16  # features converted in one go: 0.5 MB, which stays in the processor's cache
UNIT64 = 2.0**-53
TINY = 1e-30  # squared, in units of the frame: more than all underflow in float32 together


@dataclass(frozen=True)
class Tile:
    """Some pictures of a set, one after another."""

    first: int
    stop: int

    @property
    def rows(self) -> slice:
        """Which ones."""
        return slice(self.first, self.stop)

    def __len__(self) -> int:
        return self.stop - self.first


class Points:
    """A set of features, (N, D), as they came: never copied or converted as a whole."""

    def __init__(self, features: np.ndarray) -> None:
        self.features, self.width = features, features.shape[1]

    def __len__(self) -> int:
        return len(self.features)

    def tiles(self) -> list[Tile]:
        """In order."""
        return [Tile(start, min(start + TILE, len(self))) for start in range(0, len(self), TILE)]

    def of(self, tile: Tile) -> np.ndarray:
        """(rows, D) as they came."""
        return self.features[tile.rows]

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """(len(numbers), D) float64."""
        return self.features[numbers].astype(np.float64)


def exact_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) exact distances between (n, D) and (m, D) features of any real dtype."""
    return _summed(np.array(a, np.float64, order="C"), np.array(b, np.float64, order="C"))


def exact_pairs(a: Points, i: np.ndarray, b: Points, j: np.ndarray) -> np.ndarray:
    """(P,) exact distances of pictures i of a to pictures j of b: the bits of `exact_distances`."""
    found, step = np.empty(len(i)), max(CHUNK // a.width, 1)
    for start in range(0, len(i), step):
        some = slice(start, start + step)
        found[some] = _summed(a.take(i[some])[:, None], b.take(j[some])[:, None])[:, 0, 0]  # (P, 1, 1)
    return found


def _summed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    plain = "donot_use_mm_for_euclid_dist"
    return torch.cdist(torch.from_numpy(a), torch.from_numpy(b), compute_mode=plain).numpy()


@dataclass(frozen=True)
class Side:
    """A tile of features, ready for one rung."""

    tile: Tile
    features: np.ndarray  # (rows, D)
    norms: np.ndarray  # (rows,) squared, float64


class Exact:
    """The last rung: values are the exact distances."""

    error = 0.0  # of a value, in units of the sum of both squared norms
    dtype: type[np.floating] = np.float64
    worth = 1 / 4  # a whole block is cheaper than so large a share of it pair by pair

    def side(self, points: Points, tile: Tile) -> Side:
        """The features as they came."""
        return Side(tile, points.of(tile), np.zeros(len(tile)))

    def values(self, a: Side, b: Side) -> np.ndarray:
        """(rows, columns): ascending in the distance."""
        return exact_distances(a.features, b.features)

    def threshold(self, distance: np.ndarray) -> np.ndarray:
        """No pair at most `distance` apart has a value above this."""
        return distance

    def farthest(self, values: np.ndarray, norms: np.ndarray) -> np.ndarray:
        """No pair with these values, and this sum of squared norms, is farther apart than this."""
        return values


class Products(Exact):
    """Lower bounds of squared distances, from matrix products in float32 or float64.

    With u the unit roundoff, features x centred and rounded once, and products p of D terms summed
    in any order (Higham 2002, section 3.1): |d^2 - (|x|^2 + |y|^2 - 2 p)| is at most
    e (|x|^2 + |y|^2), e = m u / (1 - m u), where m is D and some more for the other roundings:
    4.2 for those of x and y, 64 for norms summed in parts of 64 terms, 6.1 for the three terms and
    their sums; the sums of the parts add D roundings of float64. A value is the lower end of that
    range; the upper is 2 e (|x|^2 + |y|^2) above it.
    """

    worth = 1 / 64

    def __init__(self, frame: Frame, dtype: type[np.floating]) -> None:
        self._frame, self.dtype = frame, dtype
        unit = float(np.finfo(dtype).eps) / 2
        terms = (len(frame.centre) + 96) * unit + len(frame.centre) * UNIT64
        self.error = terms / (1 - terms)
        # an exact distance is itself rounded: D sums of squares of differences, and a root
        self._exact_error = 4 * (len(frame.centre) + 16) * UNIT64

    def side(self, points: Points, tile: Tile) -> Side:
        """Centred and scaled."""
        features, came, frame = np.empty((len(tile), points.width), self.dtype), points.of(tile), self._frame
        single = frame.single and self.dtype is np.float32 and came.dtype == np.float32
        step = max(CHUNK // points.width, 1)
        for rows in (slice(start, start + step) for start in range(0, len(tile), step)):
            if single:
                centred = came[rows] - frame.centre.astype(np.float32)
            else:
                centred = came[rows].astype(np.float64) - frame.centre
            centred *= frame.scale
            features[rows] = centred
        norms = np.zeros(len(tile))
        for start in range(0, points.width, 64):
            part = features[:, start : start + 64]
            norms += np.einsum("ij,ij->i", part, part)
        return Side(tile, features, norms)

    def values(self, a: Side, b: Side) -> np.ndarray:
        """(rows, columns) lower bounds of squared distances, in units of the frame."""
        low = a.features @ b.features.T  # (rows, columns)
        low *= -2
        low += ((1 - self.error) * a.norms).astype(self.dtype)[:, None]
        low += ((1 - self.error) * b.norms).astype(self.dtype)
        return low

    def threshold(self, distance: np.ndarray) -> np.ndarray:
        """No pair at most `distance` apart has a value above this."""
        above = (distance * self._frame.scale) ** 2 * (1 + self._exact_error) + TINY
        return (above * (1 + 4 * float(np.finfo(self.dtype).eps))).astype(self.dtype)

    def farthest(self, values: np.ndarray, norms: np.ndarray) -> np.ndarray:
        """No pair with these values, and this sum of squared norms, is farther apart than this."""
        squared = np.maximum(values + (2 * self.error * norms + 2 * TINY), 0.0)
        return np.sqrt(squared) * ((1 + self._exact_error) / self._frame.scale)


@dataclass(frozen=True)
class Frame:
    """Where features are centred, and a power of two that brings the largest of them to about 1."""

    centre: np.ndarray  # (D,) float64
    scale: float
    single: bool  # whether a float32 may be centred and scaled as a float32, and rounds but once

    @classmethod
    def of(cls, *sets: Points) -> Frame | None:
        """Of all sets together; None where squares might leave float64, and where all points are one."""
        with np.errstate(over="ignore", invalid="ignore"):
            count = sum(map(len, sets))
            tiles = [points.of(tile) for points in sets for tile in points.tiles()]
            centre = sum(tile.sum(0, dtype=np.float64) for tile in tiles) / count
            single = all(tile.dtype == np.float32 for tile in tiles)
            if single:
                centre = centre.astype(np.float32).astype(np.float64)
            largest = max(_extent(tile, centre) for tile in tiles)
        if not 1e-100 < largest < 1e100:
            return None
        scale = 2.0 ** -int(np.frexp(largest)[1])
        return cls(centre, scale, single and 1e-30 < scale < 1e30)


def _extent(tile: np.ndarray, centre: np.ndarray) -> float:
    """The largest absolute value about the centre."""
    parts = np.array_split(tile, len(tile) // 128 + 1)
    return max(float(np.abs(part.astype(np.float64) - centre).max(initial=0.0)) for part in parts)


def ladder(*sets: Points) -> list[Exact]:
    """The rungs for distances within and between these sets, the exact one last."""
    frame = Frame.of(*sets) if sets[0].width >= WIDE else None
    if frame is None:
        return [Exact()]
    rungs: list[Exact] = [Products(frame, np.float32), Products(frame, np.float64), Exact()]
    return rungs if sets[0].width * 2**-24 < 0.1 else rungs[1:]


class Block:
    """The pairs of two tiles: which may lie within a distance, and which do."""

    def __init__(self, rungs: Sequence[Exact], a: Points, rows: Side, b: Points, columns: Tile) -> None:
        self._rungs, self._a, self._b = rungs, a, b
        self.rows, self.columns = rows, rungs[0].side(b, columns)
        self.values = rungs[0].values(self.rows, self.columns)  # (rows, columns)

    def near(self, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(i, j) of every pair that may lie within the radius of its row, (rows, 1), or column, (columns,).

        Some do not.
        """
        within = self.values <= self._rungs[0].threshold(radii)
        i, j = np.divmod(np.flatnonzero(within), self.values.shape[1])
        return i, j

    def distances(self, i: np.ndarray, j: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Of pairs i, j, (P,): -1 where within the radius for certain, inf where beyond, or the distance."""
        found, values = np.full(len(i), np.nan), self.values[i, j]
        for level, rung in enumerate(self._rungs):
            open_ = np.flatnonzero(np.isnan(found))
            if level and len(open_) < rung.worth * self.values.size:
                break
            if level:
                sides = (rung.side(self._a, self.rows.tile), rung.side(self._b, self.columns.tile))
                values = rung.values(*sides)[i[open_], j[open_]]
            if level == len(self._rungs) - 1:
                found[open_] = values
                return found
            norms = self.rows.norms[i[open_]] + self.columns.norms[j[open_]]
            within = rung.farthest(values, norms) < radii[open_]
            beyond = values > rung.threshold(radii[open_])
            found[open_] = np.where(within, -1.0, np.where(beyond, np.inf, np.nan))
        rows, columns = self.rows.tile.first + i[open_], self.columns.tile.first + j[open_]
        found[open_] = exact_pairs(self._a, rows, self._b, columns)
        return found
