"""Inverse rendering of `shapes`: find the factors of an image by rendering it until the two agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from triptych.data.datasets import shapes

PERIODS = {"square": np.pi / 2, "triangle": 2 * np.pi / 3, "star": 2 * np.pi / 5, "cross": np.pi / 2}
AREAS = {"circle": 2.545, "square": 2.074, "triangle": 1.299, "star": 1.323, "cross": 1.92, "ring": 2.171}
WINDOW_PX = 5
CHUNK = 256  # images at once: about 40 MB at 32 px
POSITION_STEPS = 4  # to find the position, before the search
TURNS = 6  # rotations tried within one period, before the search by derivatives
COARSE_STEPS, FINE_STEPS = 3, 12
STRIDES = (0.2, 0.2, 0.2, 0.05)  # of the finite differences: x, y, radius in pixels, turn in radians


@dataclass(frozen=True)
class Reading:
    """The factors found for images, and how far each image is from the nearest that `shapes` can render."""

    factors: dict[str, np.ndarray]
    """As `shapes.draw_factors`, each (N,); turn within one period of the kind, 0 for kinds without one."""
    residual: np.ndarray
    """(N,) float64: largest root mean square difference in a 5 x 5 window, divided by the contrast."""


def read(pixels: np.ndarray) -> Reading:
    """Find the factors that render each image best. The result for an image does not depend on the others.

    Background and color are matched with the palette; kind, position, radius and rotation are searched (each
    kind at several rotations, then Gauss-Newton on `shapes.cover`) within the range of
    `shapes.draw_factors`, so that a shape too small or partly outside leaves a residual.

    The residual is the root mean square difference between image and rendering in the worst 5 x 5 pixels,
    divided by that between color and background: a defect then weighs the same whether the shape is large or
    small, bright or dim. An edge one pixel off gives about 0.4, a piece of shape on the background 1.

    Args:
        pixels: (N, S, S, 3) uint8, S >= 8.

    Returns:
        Factors and residuals.

    Raises:
        ValueError: For another shape or type.
    """
    square = pixels.ndim == 4 and pixels.shape[1] == pixels.shape[2] >= 8 and pixels.shape[3] == 3
    if not square or pixels.dtype != np.uint8:
        raise ValueError(
            f"expected (N, S, S, 3) RGB images, uint8, of at least 8 px, got {pixels.shape} "
            f"{pixels.dtype}: factors are found by the palette of `shapes`"
        )
    parts = [_read(np.asarray(pixels[start : start + CHUNK])) for start in range(0, len(pixels), CHUNK)]
    names = ("kind", "color", "ground", "radius", "x", "y", "turn")
    empty = {name: np.empty(0, np.int64 if name in names[:3] else np.float32) for name in names}
    factors = {n: np.concatenate([empty[n], *(part.factors[n] for part in parts)]) for n in names}
    return Reading(factors, np.concatenate([np.empty(0), *(part.residual for part in parts)]))


def _read(pixels: np.ndarray) -> Reading:
    color, ground, coverage = _palette(pixels)
    place = _place(coverage)
    fits = [_fit(kind, coverage, place) for kind in range(len(shapes.KINDS))]
    errors = np.stack([error for _, error in fits], 1)  # (n, kinds)
    kinds = errors.argmin(1)
    factors_px = np.stack([where for where, _ in fits], 1)[np.arange(len(kinds)), kinds]  # (n, 4)
    for kind in np.unique(kinds):
        here = kinds == kind
        factors_px[here], _ = _descend(int(kind), coverage[here], factors_px[here], FINE_STEPS)
    period = np.array([PERIODS.get(name, 0.0) for name in shapes.KINDS])[kinds]
    turn = np.where(period > 0, factors_px[:, 3] % np.where(period > 0, period, 1.0), 0.0)
    x, y, radius = (factors_px[:, :3] / pixels.shape[1]).T
    factors = {"kind": kinds, "color": color, "ground": ground}
    factors |= {"radius": radius, "x": x, "y": y, "turn": turn}
    factors = {
        n: v.astype(np.int64 if n in ("kind", "color", "ground") else np.float32) for n, v in factors.items()
    }
    return Reading(factors, residuals(pixels, factors))


def residuals(pixels: np.ndarray, factors: dict[str, np.ndarray]) -> np.ndarray:
    """How far each image is from the rendering of its factors: see `read`.

    Args:
        pixels: (N, S, S, 3) uint8.
        factors: As `shapes.draw_factors` returns them.

    Returns:
        (N,) float64, 0 where they are equal.
    """
    colors, grounds = _palettes()
    contrast = ((colors[factors["color"]] - grounds[factors["ground"]]) ** 2).mean(1)  # (N,)
    rendered = shapes.paint(factors, pixels.shape[1])
    squares = ((pixels.astype(np.float32) - rendered) ** 2).mean(3)  # (N, S, S)
    windows = functional.avg_pool2d(torch.from_numpy(squares)[:, None], WINDOW_PX, stride=1)
    return np.sqrt(windows.amax((1, 2, 3)).numpy().astype(np.float64) / contrast)


def _palettes() -> tuple[np.ndarray, np.ndarray]:
    """(colors, 3) and (grounds, 3) float32."""
    return (
        np.array(list(shapes.COLORS.values()), np.float32),
        np.array(list(shapes.GROUNDS.values()), np.float32),
    )


def _palette(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Color (n,), background (n,), and how far each pixel is from background to color (n, S, S), unclipped.

    The background is the color of the border; the color is the one whose mixtures with it fit the image best.
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


def _place(coverage: np.ndarray) -> np.ndarray:
    """Area and centroid (x, y) of the shape, in pixels: (n, 3). All shapes are centered on their centroid.

    Noise far from a small shape has a long lever: after the first step only pixels near it count.
    """
    size = coverage.shape[1]
    middles = np.arange(size, dtype=np.float32) + 0.5
    level = np.median(coverage, (1, 2))  # the background: no shape covers a third
    near = np.ones_like(coverage)
    for _ in range(POSITION_STEPS):
        mass = (coverage - level[:, None, None]) * near
        total = np.maximum(mass.sum((1, 2)), 1.0)
        x, y = ((mass.sum(axis) @ middles) / total for axis in (1, 2))
        widest = np.sqrt(total / min(AREAS.values()))  # radius, if it is the kind with the smallest area
        away = np.hypot(middles - x[:, None, None], middles[:, None] - y[:, None, None])
        near = (away <= widest[:, None, None] + 2).astype(np.float32)
        far = np.maximum((1 - near).sum((1, 2)), 1.0)
        level = (coverage * (1 - near)).sum((1, 2)) / far
    return np.stack([total, x, y], 1)


def _fit(kind: int, coverage: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best x, y, radius (pixels) and rotation of a kind after a few steps, (n, 4), and the error (n,)."""
    name, size = shapes.KINDS[kind], coverage.shape[1]
    radius = np.sqrt(place[:, 0] / AREAS[name])
    start = _within(np.stack([place[:, 1], place[:, 2], radius, np.zeros_like(radius)], 1), size)
    period = PERIODS.get(name, 0.0)
    best, error = start, _error(_draw(kind, start, size), coverage)
    for turn in range(1, TURNS if period else 0):
        candidate = start.copy()
        candidate[:, 3] = period * turn / TURNS
        candidate_error = _error(_draw(kind, candidate, size), coverage)
        better = candidate_error < error
        best, error = np.where(better[:, None], candidate, best), np.minimum(error, candidate_error)
    return _descend(kind, coverage, best, COARSE_STEPS)


def _descend(
    kind: int, coverage: np.ndarray, factors_px: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Damped Gauss-Newton (Levenberg 1944) on the squared error; only steps that reduce it are taken."""
    size = coverage.shape[1]
    moved = 4 if shapes.KINDS[kind] in PERIODS else 3  # a circle has no rotation
    rendered = _draw(kind, factors_px, size)
    error = _error(rendered, coverage)
    damping = np.full(len(factors_px), 1e-2)
    for _ in range(steps):
        slopes = []
        for which in range(moved):
            nudged = factors_px.copy()
            nudged[:, which] += STRIDES[which]
            slopes.append((_draw(kind, nudged, size) - rendered) / STRIDES[which])
        jacobian = np.stack(slopes, 1).reshape(len(factors_px), moved, -1)  # (n, moved, S^2)
        gap = (coverage - rendered).reshape(len(factors_px), -1, 1)  # (n, S^2, 1)
        square = (jacobian @ jacobian.transpose(0, 2, 1)).astype(np.float64)
        pull = (jacobian @ gap).astype(np.float64)
        diagonal = np.einsum("nii->ni", square)  # a view: damped in place
        diagonal += damping[:, None] * diagonal + 1e-6
        candidate = factors_px.copy()
        candidate[:, :moved] += np.linalg.solve(square, pull)[..., 0].astype(np.float32)
        candidate = _within(candidate, size)
        candidate_rendered = _draw(kind, candidate, size)
        candidate_error = _error(candidate_rendered, coverage)
        better = candidate_error < error
        factors_px = np.where(better[:, None], candidate, factors_px)
        rendered = np.where(better[:, None, None], candidate_rendered, rendered)
        error = np.minimum(error, candidate_error)
        damping = np.where(better, damping / 5, damping * 10)
    return factors_px, error


def _within(factors_px: np.ndarray, size: int) -> np.ndarray:
    """Factors clipped to the range of `shapes.draw_factors`. (n, 4) -> (n, 4)."""
    low, high = (size * side for side in shapes.RADII)
    radius = np.clip(factors_px[:, 2], low, high)
    reach = size * (0.5 - shapes.MARGIN) - radius
    x, y = (size / 2 + np.clip(factors_px[:, i] - size / 2, -reach, reach) for i in (0, 1))
    return np.stack([x, y, radius, factors_px[:, 3]], 1).astype(np.float32)


def _draw(kind: int, factors_px: np.ndarray, size: int) -> np.ndarray:
    """The coverage rendered from factors in pixels, (n, 4) -> (n, S, S)."""
    x, y, radius = (factors_px[:, :3] / size).T
    factors = {
        "kind": np.full(len(factors_px), kind),
        "x": x,
        "y": y,
        "radius": radius,
        "turn": factors_px[:, 3],
    }
    return shapes.cover(factors, size)


def _error(rendered: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    return ((rendered - coverage) ** 2).sum((1, 2), dtype=np.float64)
