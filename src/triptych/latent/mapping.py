"""The drawing of a map: a grid of images over a plane of the noise, its axes, and encoded test images."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from triptych.core.errors import UsageError
from triptych.core.generative_model import GenerativeModel
from triptych.core.images import is_points
from triptych.evaluation.evaluate import data_of
from triptych.inference.pipeline import Pipeline
from triptych.latent.interpolation import map_coordinates
from triptych.viz import grids
from triptych.viz.image_files import ARRAYS, extension_of, write_arrays, write_image
from triptych.viz.sheets import fit_for_a_sheet, write_sheet

CELL_PX, MARGIN_PX, FONT_PX = 40, 48, 12
PANEL_PX = 560  # side of the panel of encoded images, at least
LEGEND_PX, MAX_NAMES = 150, 24
INK, FAINT = (30, 30, 30), (205, 205, 205)
TICKS = range(-10, 11)
PALETTE = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
    (140, 86, 75), (227, 119, 194), (110, 110, 110), (188, 189, 34), (23, 190, 207),
)  # fmt: skip


@dataclass(frozen=True)
class Encoded:
    """Where test images lie in the mapped plane."""

    coordinates: np.ndarray  # (N, 2) float32, in standard deviations of the noise
    labels: np.ndarray | None  # (N,) int64
    names: tuple[str, ...]


def encode_test_images(model: Pipeline, count: int, dimensions: tuple[int, int], **controls: Any) -> Encoded:
    """Encode the first test images of a run's source, as many as asked for.

    A ValueError says where the data set is not available.

    Args:
        model: One with an encoder, so that finding a code is no search.
        count: Test images, at least 1; fewer where there are fewer.
        dimensions: The two dimensions of the noise that are mapped.
        **controls: Sampling controls of the model.

    Returns:
        Their coordinates and labels.

    Raises:
        UsageError: The model has no encoder.
    """
    if type(model.model).invert is GenerativeModel.invert:
        raise UsageError(f"{model.model.title} has no encoder")
    dataset = data_of(model)
    pixels = np.asarray(dataset.test.pixels[:count])
    labels = None if dataset.test.labels is None else np.asarray(dataset.test.labels[:count])
    class_labels = labels if model.model.conditional else None
    codes = model.invert(pixels, class_labels, **controls).flatten(1).numpy()  # (N, noise dimensions)
    return Encoded(codes[:, list(dimensions)], labels, dataset.class_names)


def write_map(out: Path, images: np.ndarray, dimensions: tuple[int, int], encoded: Encoded | None) -> None:
    """Write a map: an image with axes, or arrays.

    An .npz file has `images`, `coordinates` (of columns, and of rows from below), and the `codes` and
    `labels` of encoded test images.

    Args:
        out: The file.
        images: (across, across, H, W, C) uint8.
        dimensions: The two dimensions of the noise that are mapped.
        encoded: Encoded test images, drawn beside the map; None for none.
    """
    fit_for_a_sheet(out)
    if extension_of(out) in ARRAYS:
        codes, labels = (None, None) if encoded is None else (encoded.coordinates, encoded.labels)
        write_arrays(out, images, coordinates=map_coordinates(len(images)), codes=codes, labels=labels)
        return
    if is_points(images):  # drawn in one plot, they have no grid
        write_sheet(out, images)
        return
    panels = [map_panel(images, dimensions)]
    if encoded is not None:
        panels.append(scatter_panel(encoded, dimensions, map_coordinates(len(images))[-1], panels[0].height))
    page = Image.new("RGB", (sum(panel.width for panel in panels), panels[0].height), "white")
    left = 0
    for panel in panels:
        page.paste(panel, (left, 0))
        left += panel.width
    write_image(out, np.asarray(page))


def map_panel(images: np.ndarray, dimensions: tuple[int, int]) -> Image.Image:
    """Draw the images, with the coordinate of every column below it and of every row at its left.

    Args:
        images: (across, across, H, W, C) uint8.
        dimensions: The two dimensions of the noise, for the names of the axes.

    Returns:
        RGB.
    """
    across, scale = len(images), max(1, CELL_PX // images.shape[2])
    sheet = grids.grid(images.reshape(-1, *images.shape[2:]), across, scale=scale)
    grid = grids.to_pil(sheet).convert("RGB")
    side = max(grid.height, PANEL_PX)
    page = Image.new("RGB", (MARGIN_PX + grid.width + 12, side + 2 * MARGIN_PX), "white")
    page.paste(grid, (MARGIN_PX, MARGIN_PX))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=FONT_PX)
    bottom = MARGIN_PX + grid.height
    every = -(-across // max(1, grid.width // 34))  # labels of the axes need so much room
    for k, coordinate in enumerate(map_coordinates(across)):
        if k % every:
            continue
        middle = (k + 0.5) * (grid.width - 2) / across
        pen.text((MARGIN_PX + 1 + middle, bottom + 3), f"{coordinate:.2f}", fill=INK, font=font, anchor="ma")
        pen.text((MARGIN_PX - 4, bottom - 1 - middle), f"{coordinate:.2f}", fill=INK, font=font, anchor="rm")
    x, y = dimensions
    pen.text((MARGIN_PX + grid.width / 2, bottom + 20), f"z[{x}]", fill=INK, font=font, anchor="ma")
    pen.text((MARGIN_PX - 4, MARGIN_PX - 12), f"z[{y}]", fill=INK, font=font, anchor="rs")
    title = "decoded: each image represents an equal share of the noise"
    pen.text((MARGIN_PX, 12), title, fill=INK, font=font, anchor="la")
    return page


def scatter_panel(encoded: Encoded, dimensions: tuple[int, int], mapped: float, height: int) -> Image.Image:
    """Draw the encoded images as dots, colored by label, with axes, a legend and the frame of the map.

    Args:
        encoded: The encoded test images.
        dimensions: The two dimensions of the noise, for the names of the axes.
        mapped: The largest coordinate of the map, in standard deviations.
        height: Of the panel, in pixels.

    Returns:
        RGB.
    """
    side = height - 2 * MARGIN_PX
    names = legend(encoded)
    page = Image.new("RGB", (MARGIN_PX + side + (LEGEND_PX if names else 12), height), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=FONT_PX)
    reach = max(3.0, float(np.quantile(np.abs(encoded.coordinates), 0.999)) * 1.05)

    def at(x: float, y: float) -> tuple[float, float]:
        return MARGIN_PX + (x / reach + 1) / 2 * side, MARGIN_PX + (1 - y / reach) / 2 * side

    step = max(1, round(reach / 4))
    for tick in TICKS:
        place = tick * step
        if abs(place) > reach:
            continue
        pen.line([at(place, -reach), at(place, reach)], fill=FAINT)
        pen.line([at(-reach, place), at(reach, place)], fill=FAINT)
        x, y = at(place, place)
        pen.text((x, MARGIN_PX + side + 3), f"{place}", fill=INK, font=font, anchor="ma")
        pen.text((MARGIN_PX - 4, y), f"{place}", fill=INK, font=font, anchor="rm")
    for k in np.random.default_rng(0).permutation(len(encoded.coordinates)):  # no class always on top
        x, y = at(*np.clip(encoded.coordinates[k], -reach, reach))
        color = PALETTE[0] if encoded.labels is None else color_of(int(encoded.labels[k]), len(encoded.names))
        pen.ellipse([x - 2, y - 2, x + 2, y + 2], fill=color)
    pen.rectangle([MARGIN_PX, MARGIN_PX, MARGIN_PX + side, MARGIN_PX + side], outline=INK)
    (left, top), (right, bottom) = at(-mapped, mapped), at(mapped, -mapped)
    pen.rectangle([left, top, right, bottom], outline=INK)
    pen.text(
        (MARGIN_PX + side / 2, MARGIN_PX + side + 20), f"z[{dimensions[0]}]", fill=INK, font=font, anchor="ma"
    )
    pen.text((MARGIN_PX - 4, MARGIN_PX - 12), f"z[{dimensions[1]}]", fill=INK, font=font, anchor="rs")
    title = f"encoded: {len(encoded.coordinates):,} test images; the inner frame is the map on the left"
    pen.text((MARGIN_PX, 12), title, fill=INK, font=font, anchor="la")
    for row, (name, color) in enumerate(names):
        down = MARGIN_PX + 8 + row * (FONT_PX + 6)
        pen.ellipse([MARGIN_PX + side + 12, down - 4, MARGIN_PX + side + 20, down + 4], fill=color)
        pen.text((MARGIN_PX + side + 26, down), name, fill=INK, font=font, anchor="lm")
    return page


def legend(encoded: Encoded) -> list[tuple[str, tuple[int, int, int]]]:
    """Names and colors of the classes that occur, the first `MAX_NAMES` of them."""
    if encoded.labels is None:
        return []
    there = [int(label) for label in np.unique(encoded.labels)]
    rows = [(encoded.names[k][:18], color_of(k, len(encoded.names))) for k in there[:MAX_NAMES]]
    return [*rows, *([(f"and {len(there) - MAX_NAMES} more", FAINT)] if len(there) > MAX_NAMES else [])]


def color_of(label: int, classes: int) -> tuple[int, int, int]:
    """Give the color of a class: of a palette for up to ten classes, else around the circle of hues.

    Args:
        label: The class, from 0.
        classes: How many there are.

    Returns:
        RGB, 0 to 255.
    """
    if classes <= len(PALETTE):
        return PALETTE[label]
    red, green, blue = colorsys.hsv_to_rgb(label / classes, 0.85, (0.85, 0.6)[label % 2])
    return round(255 * red), round(255 * green), round(255 * blue)
