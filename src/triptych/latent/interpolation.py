"""From one picture to another: points between points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from triptych.core import rng as streams
from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean
from triptych.inference.pipeline import Pipeline
from triptych.latent.codes import Codes, Labels, Space, codes_at, paint

How = Literal["slerp", "lerp"]


def between(stops: Tensor, frames: int, how: How) -> Tensor:
    """Points on the way through `stops`: (K, *shape) -> ((K - 1) (frames - 1) + 1, *shape).

    how: "slerp", the great arc (Shoemake 1985), along which noise keeps its length; "lerp", the straight
    line. frames: points from one stop to the next, both counted. Raises UsageError for fewer than two
    stops or frames and for an unknown way.
    """
    if len(stops) < 2 or frames < 2:
        raise UsageError(
            f"a way needs two stops or more and two frames or more, got {len(stops)} and {frames}"
        )
    if how not in ("slerp", "lerp"):
        hint = did_you_mean(how, ("slerp", "lerp"))
        raise UsageError(f"a way is 'slerp' (an arc) or 'lerp' (a line), got {how!r}.{hint}")
    shares = torch.linspace(0, 1, frames)
    legs: list[Tensor] = []
    for start, end in pairwise(stops):
        along = shares.view(-1, *([1] * start.dim()))  # (frames, 1, ...)
        leg = streams.slerp(start, end, shares) if how == "slerp" else (1 - along) * start + along * end
        leg[0], leg[-1] = start, end  # to the bit
        legs.append(leg if not legs else leg[1:])
    return torch.cat(legs)


def interpolate(
    model: Pipeline,
    paths: Sequence[Sequence[int]],
    frames: int = 9,
    how: How | None = None,
    space: Space = "noise",
    labels: Labels | Sequence[Sequence[int]] = None,
    **controls: Any,
) -> np.ndarray:
    """Pictures on the way from seed to seed: (rows, (stops - 1) (frames - 1) + 1, H, W, C) uint8.

    paths: rows of seeds, each of the same number, two or more. frames: pictures from one stop to the next,
    both counted. how: None takes the arc for noise and the line for styles, which lie on no sphere.
    labels: of a conditional model, one for all, one a row, or (in style space) one a stop: noise knows
    no class, so along a row of noise the class stays; None takes what the class law gives the row's first
    seed, or each stop in style space. The sampler's own noise is that of the row's first seed all along.

    Raises UsageError for uneven rows, an arc through styles, and labels that change along noise.
    """
    if len({len(path) for path in paths}) != 1 or len(paths[0]) < 2:
        raise UsageError(f"rows need the same number of seeds, two or more, got {[len(p) for p in paths]}")
    if how == "slerp" and space == "style":
        raise UsageError("slerp keeps the length of noise; styles have no such length: use --method lerp")
    way: How = how or ("slerp" if space == "noise" else "lerp")
    told = _labels_of_stops(model, paths, space, labels)
    rows = []
    for k, path in enumerate(paths):
        stops = codes_at(model, path, space, None if told is None else told[k], **controls)
        points = between(stops.values, frames, way)
        kept = None if stops.labels is None else stops.labels[:1].expand(len(points))
        rows.append(paint(model, Codes(space, points, (path[0],) * len(points), kept), **controls))
    return np.stack(rows)


def _labels_of_stops(
    model: Pipeline, paths: Sequence[Sequence[int]], space: Space, labels: Any
) -> np.ndarray | None:
    """(rows, stops) int64, or None for what the class law gives."""
    rows, stops = len(paths), len(paths[0])
    if labels is None:
        first = model.labels_for([path[0] for path in paths]) if space == "noise" else None
        return None if first is None else np.repeat(first.numpy()[:, None], stops, 1)
    asked = np.asarray(labels, dtype=np.int64)
    if asked.ndim == 1:
        asked = asked.reshape(-1, 1) if len(asked) in (1, rows) else asked.reshape(1, -1)
    try:
        told = np.broadcast_to(asked, (rows, stops))
    except ValueError as error:
        raise UsageError(
            f"give one label, one a row ({rows}), or one a stop ({rows} x {stops}), got {asked.shape}"
        ) from error
    if space == "noise" and (told != told[:, :1]).any():
        raise UsageError(
            "noise carries no class, so a row of noise keeps one label: give one a row, or go between "
            "classes in a style space (--space style), where a family has one"
        )
    return told


def map_places(across: int) -> np.ndarray:
    """Where a map's columns, and its rows from below, stand: even quantiles of the normal law."""
    return ndtri((np.arange(across) + 0.5) / across)  # (across,)


def latent_map(
    model: Pipeline,
    across: int = 15,
    labels: Labels = None,
    dimensions: tuple[int, int] | None = None,
    **controls: Any,
) -> np.ndarray:
    """A map of a two-number noise space, or of two numbers of a larger one: (across, across, H, W, C) uint8.

    Columns are even quantiles of the normal law of the first number, rows of the second, the largest on
    top: every picture stands for an equal share of all noise (Kingma and Welling 2013, appendix A, figure 4).
    labels: one for all, of a conditional model. dimensions: the numbers of the noise that change along x and
    y, the others are 0; None: both there are. Raises UsageError for a space of other than two numbers without
    `dimensions`, and for numbers that the noise has not.
    """
    shape = tuple(model.model.noise_shape)
    count = int(np.prod(shape))
    if dimensions is None and shape != (2,):
        raise UsageError(
            f"a map needs a noise of two numbers, this {model.model.title}'s has {count}: train one with "
            "--latent 2, choose two with --dimensions 0,1, or look along coordinates with triptych steer RUN "
            "traverse"
        )
    x, y = dimensions or (0, 1)
    if x == y or not (0 <= x < count and 0 <= y < count):
        raise UsageError(f"--dimensions: expected two unlike numbers of 0-{count - 1}, got {x},{y}")
    if across < 2:
        raise UsageError(f"a map is at least 2 pictures across, got {across}")
    places = map_places(across)
    right, up = np.meshgrid(places, places[::-1])
    flat = torch.zeros(across**2, count)
    flat[:, x], flat[:, y] = (torch.from_numpy(way.reshape(-1)).float() for way in (right, up))
    noise = flat.reshape(-1, *shape)  # (across^2, *noise shape)
    told = model.labels_for([0]) if labels is None else torch.as_tensor(np.array(labels)).reshape(-1)
    painted = model.generate(noise, told, [0] * len(noise), **controls)
    return painted.reshape(across, across, *painted.shape[1:])
