"""Reading a picture of `shapes` back into its causes, by drawing it again until the two agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from triptych.data.datasets import shapes

PERIODS = {"square": np.pi / 2, "triangle": 2 * np.pi / 3, "star": 2 * np.pi / 5, "cross": np.pi / 2}
AREAS = {"circle": 2.545, "square": 2.074, "triangle": 1.299, "star": 1.323, "cross": 1.92, "ring": 2.171}
WINDOW_PX = 5
CHUNK = 256  # pictures at once: about 40 MB at 32 px
LOOKS = 4  # for the place, before the search
TURNS = 6  # tried within one period before the search by derivatives
COARSE_STEPS, FINE_STEPS = 3, 12
STRIDES = (0.2, 0.2, 0.2, 0.05)  # of the numerical derivatives: x, y, radius in pixels, turn in radians


@dataclass(frozen=True)
class Reading:
    """What pictures were read as, and how far each is from the nearest picture that `shapes` can draw."""

    factors: dict[str, np.ndarray]
    """As `shapes.draw_factors`, each (N,); turn within one period of the kind, 0 where it has none."""
    residual: np.ndarray
    """(N,) float64: root mean square difference in the worst 5 x 5 window, over the contrast."""


def read(pixels: np.ndarray) -> Reading:
    """The causes that draw each picture best, and how well they do.

    Ground and color are matched with the palette; kind, place, radius and turn are searched for
    (each kind at several turns, then Gauss-Newton on what `shapes.cover` draws) within what
    `shapes.draw_factors` can give, so a shape too small or half outside leaves a residual.

    The residual is the root mean square difference between picture and best drawing in the worst
    5 x 5 pixels, over the root mean square difference between its color and its ground: a defect
    then weighs the same whether the shape is large or small, bright or dim. 0 is the drawing
    itself; an edge one pixel off gives about 0.4, a piece of shape where there should be ground 1.

    pixels: (N, S, S, 3) uint8, S >= 8. A picture's reading depends on no other picture. Raises
    ValueError on another shape.
    """
    square = pixels.ndim == 4 and pixels.shape[1] == pixels.shape[2] >= 8 and pixels.shape[3] == 3
    if not square or pixels.dtype != np.uint8:
        raise ValueError(
            f"expected (N, S, S, 3) pictures in color, uint8, of at least 8 px, got {pixels.shape} "
            f"{pixels.dtype}: `shapes` is read by its palette"
        )
    parts = [_read(np.asarray(pixels[start : start + CHUNK])) for start in range(0, len(pixels), CHUNK)]
    names = ("kind", "color", "ground", "radius", "x", "y", "turn")
    empty = {name: np.empty(0, np.int64 if name in names[:3] else np.float32) for name in names}
    factors = {n: np.concatenate([empty[n], *(part.factors[n] for part in parts)]) for n in names}
    return Reading(factors, np.concatenate([np.empty(0), *(part.residual for part in parts)]))


def _read(pixels: np.ndarray) -> Reading:
    color, ground, shown = _palette(pixels)
    place = _place(shown)
    fits = [_fit(kind, shown, place) for kind in range(len(shapes.KINDS))]
    errors = np.stack([error for _, error in fits], 1)  # (n, kinds)
    kinds = errors.argmin(1)
    causes = np.stack([where for where, _ in fits], 1)[np.arange(len(kinds)), kinds]  # (n, 4)
    for kind in np.unique(kinds):
        here = kinds == kind
        causes[here], _ = _descend(int(kind), shown[here], causes[here], FINE_STEPS)
    period = np.array([PERIODS.get(name, 0.0) for name in shapes.KINDS])[kinds]
    turn = np.where(period > 0, causes[:, 3] % np.where(period > 0, period, 1.0), 0.0)
    x, y, radius = (causes[:, :3] / pixels.shape[1]).T
    factors = {"kind": kinds, "color": color, "ground": ground}
    factors |= {"radius": radius, "x": x, "y": y, "turn": turn}
    factors = {
        n: v.astype(np.int64 if n in ("kind", "color", "ground") else np.float32) for n, v in factors.items()
    }
    return Reading(factors, residuals(pixels, factors))


def residuals(pixels: np.ndarray, factors: dict[str, np.ndarray]) -> np.ndarray:
    """How far each picture is from the one its causes draw: see `read`. (N, S, S, 3) uint8 -> (N,)."""
    colors, grounds = _palettes()
    contrast = ((colors[factors["color"]] - grounds[factors["ground"]]) ** 2).mean(1)  # (N,)
    drawn = shapes.paint(factors, pixels.shape[1])
    squares = ((pixels.astype(np.float32) - drawn) ** 2).mean(3)  # (N, S, S)
    windows = functional.avg_pool2d(torch.from_numpy(squares)[:, None], WINDOW_PX, stride=1)
    return np.sqrt(windows.amax((1, 2, 3)).numpy().astype(np.float64) / contrast)


def _palettes() -> tuple[np.ndarray, np.ndarray]:
    """(colors, 3) and (grounds, 3) float32."""
    return (
        np.array(list(shapes.COLORS.values()), np.float32),
        np.array(list(shapes.GROUNDS.values()), np.float32),
    )


def _palette(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Color (n,), ground (n,), and how far each pixel lies from ground to color (n, S, S), unclipped.

    The ground is what the border shows, the color the one whose mixtures with it explain the picture best.
    """
    colors, grounds = _palettes()
    values = pixels.astype(np.float32)
    border = np.concatenate(
        [values[:, 0], values[:, -1], values[:, :, 0], values[:, :, -1]], 1
    )  # (n, 4 S, 3)
    away = ((np.median(border, 1)[:, None] - grounds) ** 2).sum(2)  # (n, grounds)
    ground = away.argmin(1)
    values -= grounds[ground][:, None, None]
    shares, errors = [], []
    for front in colors:
        step = front - grounds[ground]  # (n, 3)
        length = (step**2).sum(1)[:, None, None]
        along = np.einsum("nhwc,nc->nhw", values, step)
        share = along / length
        mixed = np.clip(share, 0, 1)
        errors.append((mixed**2 * length - 2 * mixed * along).sum((1, 2)))  # less |values|^2: equal for all
        shares.append(share)
    color = np.stack(errors, 1).argmin(1)
    return color, ground, np.stack(shares, 1)[np.arange(len(color)), color]


def _place(shown: np.ndarray) -> np.ndarray:
    """Area, x and y of what is shown, in pixels: (n, 3). All shapes have their centroid in the middle.

    Far from a small shape noise has a long lever: after the first look only what lies near counts.
    """
    size = shown.shape[1]
    middles = np.arange(size, dtype=np.float32) + 0.5
    level = np.median(shown, (1, 2))  # the ground: no shape covers a third
    near = np.ones_like(shown)
    for _ in range(LOOKS):
        mass = (shown - level[:, None, None]) * near
        total = np.maximum(mass.sum((1, 2)), 1.0)
        x, y = ((mass.sum(axis) @ middles) / total for axis in (1, 2))
        widest = np.sqrt(total / min(AREAS.values()))  # radius, if it is the kind with the least area
        away = np.hypot(middles - x[:, None, None], middles[:, None] - y[:, None, None])
        near = (away <= widest[:, None, None] + 2).astype(np.float32)
        far = np.maximum((1 - near).sum((1, 2)), 1.0)
        level = (shown * (1 - near)).sum((1, 2)) / far
    return np.stack([total, x, y], 1)


def _fit(kind: int, shown: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best x, y, radius (pixels) and turn of a kind after a few steps, (n, 4), and their error (n,)."""
    name, size = shapes.KINDS[kind], shown.shape[1]
    radius = np.sqrt(place[:, 0] / AREAS[name])
    start = _within(np.stack([place[:, 1], place[:, 2], radius, np.zeros_like(radius)], 1), size)
    period = PERIODS.get(name, 0.0)
    best, error = start, _error(_draw(kind, start, size), shown)
    for turn in range(1, TURNS if period else 0):
        tried = start.copy()
        tried[:, 3] = period * turn / TURNS
        tried_error = _error(_draw(kind, tried, size), shown)
        better = tried_error < error
        best, error = np.where(better[:, None], tried, best), np.minimum(error, tried_error)
    return _descend(kind, shown, best, COARSE_STEPS)


def _descend(kind: int, shown: np.ndarray, causes: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Damped Gauss-Newton (Levenberg 1944) on the squared error, a step kept only if it helps."""
    size = shown.shape[1]
    moved = 4 if shapes.KINDS[kind] in PERIODS else 3  # a circle has no turn
    drawn = _draw(kind, causes, size)
    error = _error(drawn, shown)
    damping = np.full(len(causes), 1e-2)
    for _ in range(steps):
        slopes = []
        for which in range(moved):
            nudged = causes.copy()
            nudged[:, which] += STRIDES[which]
            slopes.append((_draw(kind, nudged, size) - drawn) / STRIDES[which])
        jacobian = np.stack(slopes, 1).reshape(len(causes), moved, -1)  # (n, moved, S^2)
        gap = (shown - drawn).reshape(len(causes), -1, 1)  # (n, S^2, 1)
        square = (jacobian @ jacobian.transpose(0, 2, 1)).astype(np.float64)
        pull = (jacobian @ gap).astype(np.float64)
        diagonal = np.einsum("nii->ni", square)  # a view: damped in place
        diagonal += damping[:, None] * diagonal + 1e-6
        tried = causes.copy()
        tried[:, :moved] += np.linalg.solve(square, pull)[..., 0].astype(np.float32)
        tried = _within(tried, size)
        tried_drawn = _draw(kind, tried, size)
        tried_error = _error(tried_drawn, shown)
        better = tried_error < error
        causes = np.where(better[:, None], tried, causes)
        drawn = np.where(better[:, None, None], tried_drawn, drawn)
        error = np.minimum(error, tried_error)
        damping = np.where(better, damping / 5, damping * 10)
    return causes, error


def _within(causes: np.ndarray, size: int) -> np.ndarray:
    """Causes moved to the nearest that `shapes.draw_factors` can give. (n, 4) -> (n, 4)."""
    low, high = (size * side for side in shapes.RADII)
    radius = np.clip(causes[:, 2], low, high)
    reach = size * (0.5 - shapes.MARGIN) - radius
    x, y = (size / 2 + np.clip(causes[:, i] - size / 2, -reach, reach) for i in (0, 1))
    return np.stack([x, y, radius, causes[:, 3]], 1).astype(np.float32)


def _draw(kind: int, causes: np.ndarray, size: int) -> np.ndarray:
    """What `shapes.cover` draws of causes in pixels, (n, 4) -> (n, S, S)."""
    x, y, radius = (causes[:, :3] / size).T
    factors = {"kind": np.full(len(causes), kind), "x": x, "y": y, "radius": radius, "turn": causes[:, 3]}
    return shapes.cover(factors, size)


def _error(drawn: np.ndarray, shown: np.ndarray) -> np.ndarray:
    return ((drawn - shown) ** 2).sum((1, 2), dtype=np.float64)
