"""Synthetic images with known factors: a shape with a kind, color, size, position, rotation, background."""

from __future__ import annotations

import numpy as np

from triptych.data.assemble import in_color
from triptych.data.cache import cached
from triptych.data.dataset import Dataset, Source, Split
from triptych.data.image_ops import Color

KINDS = ("circle", "square", "triangle", "star", "cross", "ring")
COLORS = {
    "red": (214, 58, 52), "orange": (236, 140, 40), "yellow": (240, 205, 60), "green": (62, 158, 82),
    "blue": (52, 104, 190), "purple": (128, 72, 168),
}  # fmt: skip
# British spelling here and in the captions: both are part of the data set's fingerprint
GROUNDS = {"white": (245, 245, 242), "grey": (178, 182, 186), "black": (28, 30, 34), "cream": (246, 226, 188)}
SIZES = ("small", "medium", "large")
RADII = (0.14, 0.34)  # smallest and largest, as a share of the image's side
MARGIN = 0.02  # smallest distance of a shape's circle from the edge of the image


def draw_factors(count: int, seed: int) -> dict[str, np.ndarray]:
    """Draw independent factors.

    Args:
        count: Number of images.
        seed: Of the random generator.

    Returns:
        Factor -> (count,): kind, color, ground (int64 class numbers); radius, x, y in units of the image's
        side (float32; x to the right, y down), turn in radians (float32).
    """
    rng = np.random.default_rng(seed)
    radius = rng.uniform(*RADII, count)
    reach = 0.5 - radius - MARGIN
    return {
        "kind": rng.integers(len(KINDS), size=count),
        "color": rng.integers(len(COLORS), size=count),
        "ground": rng.integers(len(GROUNDS), size=count),
        "radius": radius.astype(np.float32),
        "x": (0.5 + reach * rng.uniform(-1, 1, count)).astype(np.float32),
        "y": (0.5 + reach * rng.uniform(-1, 1, count)).astype(np.float32),
        "turn": rng.uniform(0, 2 * np.pi, count).astype(np.float32),
    }


def paint(factors: dict[str, np.ndarray], size: int) -> np.ndarray:
    """Render images from their factors, with edges antialiased over one pixel.

    Args:
        factors: As `draw_factors` returns them.
        size: Side in pixels.

    Returns:
        (N, size, size, 3) uint8.
    """
    colors, grounds = np.array(list(COLORS.values())), np.array(list(GROUNDS.values()))
    images = np.empty((len(factors["kind"]), size, size, 3), np.uint8)
    for start in range(0, len(images), 512):
        part = {name: values[start : start + 512] for name, values in factors.items()}
        share = cover(part, size)[..., None]
        front, back = colors[part["color"]][:, None, None], grounds[part["ground"]][:, None, None]
        images[start : start + 512] = (share * front + (1 - share) * back).round()
    return images


def cover(factors: dict[str, np.ndarray], size: int) -> np.ndarray:
    """The share of each pixel that the shape covers.

    Args:
        factors: As `draw_factors` returns them.
        size: Side in pixels.

    Returns:
        (N, size, size) float32 in [0, 1].
    """
    middles = (np.arange(size, dtype=np.float32) + 0.5) / size
    x = (middles[None, None, :] - factors["x"][:, None, None]) / factors["radius"][:, None, None]
    y = (middles[None, :, None] - factors["y"][:, None, None]) / factors["radius"][:, None, None]
    cos, sin = np.cos(factors["turn"])[:, None, None], np.sin(factors["turn"])[:, None, None]
    u, v = np.broadcast_arrays(cos * x + sin * y, -sin * x + cos * y)  # (N, size, size) each
    distance = np.empty(u.shape, np.float32)  # signed, in radii; negative inside
    for kind in np.unique(factors["kind"]):
        here = factors["kind"] == kind
        distance[here] = _distance(KINDS[kind], u[here], v[here])
    soft = distance * factors["radius"][:, None, None] * size  # in pixels
    return np.clip(0.5 - soft, 0, 1)


def _distance(kind: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance (or a bound of it near the edge) to a shape of radius 1 around the origin."""
    r = np.hypot(u, v)
    if kind == "circle":
        return r - 0.9
    if kind == "ring":
        return np.abs(r - 0.72) - 0.24
    if kind == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.72
    if kind == "cross":
        a, b = np.abs(u), np.abs(v)
        return np.minimum(np.maximum(a - 0.95, b - 0.3), np.maximum(a - 0.3, b - 0.95))
    if kind == "triangle":
        return np.maximum(v - 0.5, np.maximum(0.866 * u - 0.5 * v, -0.866 * u - 0.5 * v) - 0.5)
    # star: five points; the edge from a point at radius 1 to a notch at radius 0.45, folded by symmetry
    angle = np.abs(np.mod(np.arctan2(u, -v) + np.pi / 5, 2 * np.pi / 5) - np.pi / 5)
    a, b = r * np.cos(angle), r * np.sin(angle)
    notch = np.array([0.45 * np.cos(np.pi / 5), 0.45 * np.sin(np.pi / 5)])
    edge = notch - np.array([1.0, 0.0])
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    return (a - 1.0) * normal[0] + b * normal[1]


def captions(factors: dict[str, np.ndarray]) -> list[str]:
    """A caption for each image: 'a small red circle on a white background, top left'."""
    colors, grounds = list(COLORS), list(GROUNDS)
    size = np.digitize(factors["radius"], [0.2, 0.27])
    words = []
    for k in range(len(size)):
        row = ("top", "middle", "bottom")[int(np.digitize(factors["y"][k], [0.42, 0.58]))]
        column = ("left", "centre", "right")[int(np.digitize(factors["x"][k], [0.42, 0.58]))]
        what = f"{SIZES[size[k]]} {colors[factors['color'][k]]} {KINDS[factors['kind'][k]]}"
        where = "in the centre" if (row, column) == ("middle", "centre") else f"{row} {column}"
        words.append(f"a {what} on a {grounds[factors['ground'][k]]} background, {where}")
    return words


def open_shapes(source: str, size: int, color: Color) -> Dataset:
    """Open the shapes: 20,000 for training and 4,000 for testing, with labels (kind), captions and factors.

    Args:
        source: As the user typed it.
        size: Side in pixels.
        color: Color mode; "auto": color.

    Returns:
        The data set.
    """
    return cached(source, [], size, color, lambda *_: draw_shapes(source, size, color))


def draw_shapes(source: str, size: int, color: Color) -> Dataset:
    """Draw both splits.

    Args:
        source: As the user typed it.
        size: Side in pixels.
        color: Color mode; "auto": color.

    Returns:
        The data set.
    """
    splits = []
    for count, seed in ((20_000, 1), (4_000, 2)):
        factors = draw_factors(count, seed)
        pixels = in_color(paint(factors, size), "rgb" if color == "auto" else color)
        splits.append(Split(pixels, factors["kind"], captions(factors), factors))
    rule = "drawn from two seeds: 20,000 for training, 4,000 for testing"
    train, test = splits
    return Dataset("shapes", source, train, test, KINDS, rule, "drawn by Triptych")


SOURCE = Source("shapes", open_shapes)
