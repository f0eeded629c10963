"""Interpolation between latent codes, and maps of a two-dimensional latent space."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from triptych.core import rng
from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean
from triptych.inference.pipeline import Pipeline
from triptych.latent.codes import Codes, Labels, Space, codes_at, synthesize

Interpolation = Literal["slerp", "lerp"]


def interpolate_codes(stops: Tensor, frames: int, method: Interpolation) -> Tensor:
    """Interpolate through a sequence of codes.

    Args:
        stops: (K, *shape), K >= 2.
        frames: Codes from one stop to the next, both included, at least 2.
        method: "slerp", spherical interpolation, along which noise keeps its norm; "lerp", linear.

    Returns:
        ((K - 1) (frames - 1) + 1, *shape).

    Raises:
        UsageError: There are fewer than two stops or frames, or the method is unknown.

    References:
        Shoemake 1985, "Animating rotation with quaternion curves".
    """
    if len(stops) < 2 or frames < 2:
        raise UsageError(
            f"an interpolation needs two stops and two frames or more, got {len(stops)} and {frames}"
        )
    if method not in ("slerp", "lerp"):
        hint = did_you_mean(method, ("slerp", "lerp"))
        raise UsageError(f"an interpolation is 'slerp' (spherical) or 'lerp' (linear), got {method!r}.{hint}")
    shares = torch.linspace(0, 1, frames)
    legs: list[Tensor] = []
    for start, end in pairwise(stops):
        along = shares.view(-1, *([1] * start.dim()))  # (frames, 1, ...)
        leg = rng.slerp(start, end, shares) if method == "slerp" else (1 - along) * start + along * end
        leg[0], leg[-1] = start, end  # exactly
        legs.append(leg if not legs else leg[1:])
    return torch.cat(legs)


def interpolate(
    model: Pipeline,
    paths: Sequence[Sequence[int]],
    frames: int = 9,
    method: Interpolation | None = None,
    space: Space = "noise",
    labels: Labels | Sequence[Sequence[int]] = None,
    **controls: Any,
) -> np.ndarray:
    """Generate the images of interpolations from seed to seed.

    The sampler's own noise is that of the row's first seed all along.

    Args:
        model: The model.
        paths: Rows of seeds, each of the same number, two or more.
        frames: Images from one stop to the next, both included.
        method: None takes slerp for noise, and lerp for styles, which lie on no sphere.
        space: "noise" or "style".
        labels: Of a conditional model: one for all, one per row, or (in style space) one per stop; noise has
            no class, so that along a row of noise the class stays. None: drawn from the class distribution
            for the row's first seed, or for each stop in style space.
        **controls: Sampling controls of the model.

    Returns:
        (rows, (stops - 1) (frames - 1) + 1, H, W, C) uint8.

    Raises:
        UsageError: Rows are of unlike length, styles are interpolated with slerp, or labels change along
            noise.
    """
    if len({len(path) for path in paths}) != 1 or len(paths[0]) < 2:
        raise UsageError(f"rows need the same number of seeds, two or more, got {[len(p) for p in paths]}")
    if method == "slerp" and space == "style":
        raise UsageError("slerp keeps the norm of noise, which styles do not have: use --method lerp")
    chosen: Interpolation = method or ("slerp" if space == "noise" else "lerp")
    stop_labels = _labels_of_stops(model, paths, space, labels)
    rows = []
    for k, path in enumerate(paths):
        own = None if stop_labels is None else stop_labels[k]
        stops = codes_at(model, path, space, own, **controls)
        values = interpolate_codes(stops.values, frames, chosen)
        kept = None if stops.labels is None else stops.labels[:1].expand(len(values))
        codes = Codes(space, values, (path[0],) * len(values), kept)
        rows.append(synthesize(model, codes, **controls))
    return np.stack(rows)


def _labels_of_stops(
    model: Pipeline, paths: Sequence[Sequence[int]], space: Space, labels: Any
) -> np.ndarray | None:
    """(rows, stops) int64, or None to draw them from the class distribution."""
    rows, stops = len(paths), len(paths[0])
    if labels is None:
        first = model.labels_for([path[0] for path in paths]) if space == "noise" else None
        return None if first is None else np.repeat(first.numpy()[:, None], stops, 1)
    array = np.asarray(labels, dtype=np.int64)
    if array.ndim == 1:
        array = array.reshape(-1, 1) if len(array) in (1, rows) else array.reshape(1, -1)
    try:
        full = np.broadcast_to(array, (rows, stops))
    except ValueError as error:
        raise UsageError(
            f"expected one label, one per row ({rows}), or one per stop ({rows} x {stops}), got {array.shape}"
        ) from error
    if space == "noise" and (full != full[:, :1]).any():
        raise UsageError(
            "noise has no class, so a row of noise keeps one label: give one per row, or interpolate between "
            "classes in a style space (--space style), where a model has one"
        )
    return full


def map_coordinates(across: int) -> np.ndarray:
    """Coordinates of a map's columns, and of its rows from below: even normal quantiles."""
    return ndtri((np.arange(across) + 0.5) / across)  # (across,)


def latent_map(
    model: Pipeline,
    across: int = 15,
    labels: Labels = None,
    dimensions: tuple[int, int] | None = None,
    **controls: Any,
) -> np.ndarray:
    """Generate a map of a two-dimensional noise space, or of two dimensions of a larger one.

    Columns are even quantiles of the normal distribution of the first dimension, rows of the second, the
    largest on top: every image stands for an equal share of the noise.

    Args:
        model: The model.
        across: Images per row and per column, at least 2.
        labels: One for all, of a conditional model.
        dimensions: The dimensions of the noise along x and y, the others are 0; None: the two there are.
        **controls: Sampling controls of the model.

    Returns:
        (across, across, H, W, C) uint8.

    Raises:
        UsageError: The noise is not two-dimensional and `dimensions` is None, or it does not have these
            dimensions, or `across` is below 2.

    References:
        Kingma and Welling 2013, "Auto-encoding variational Bayes", appendix A, figure 4.
    """
    shape = tuple(model.model.noise_shape)
    count = int(np.prod(shape))
    if dimensions is None and shape != (2,):
        raise UsageError(
            f"a map needs two-dimensional noise, this {model.model.title}'s has {count} dimensions: train "
            "one with --latent 2, choose two with --dimensions 0,1, or vary single dimensions with triptych "
            "steer RUN traverse"
        )
    x, y = dimensions or (0, 1)
    if x == y or not (0 <= x < count and 0 <= y < count):
        raise UsageError(f"--dimensions: expected two different numbers of 0-{count - 1}, got {x},{y}")
    if across < 2:
        raise UsageError(f"a map is at least 2 images across, got {across}")
    coordinates = map_coordinates(across)
    right, up = np.meshgrid(coordinates, coordinates[::-1])
    flat = torch.zeros(across**2, count)
    flat[:, x], flat[:, y] = (torch.from_numpy(axis.reshape(-1)).float() for axis in (right, up))
    noise = flat.reshape(-1, *shape)  # (across^2, *noise shape)
    class_labels = model.labels_for([0]) if labels is None else torch.as_tensor(np.array(labels)).reshape(-1)
    images = model.generate(noise, class_labels, [0] * len(noise), **controls)
    return images.reshape(across, across, *images.shape[1:])
