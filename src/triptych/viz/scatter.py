"""Scatter plot for 2-D toy data, stored as 1x1 images of two channels."""

from __future__ import annotations

import numpy as np

SIDE_PX = 288  # of the drawing, which shows -1..1 each way and a margin
MARGIN_PX = 16
DOT = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))  # pixels of one dot around its middle
INK, FAINT = (38, 70, 132), (176, 176, 170)
FADE = 0.45  # what one dot leaves of the paper: where many lie it is darker


def cloud(pixels: np.ndarray, behind: np.ndarray | None = None) -> np.ndarray:
    """Plot points as dots on white, x to the right and y upwards.

    Args:
        pixels: (N, 1, 1, 2) uint8, 0..255 from one edge to the other.
        behind: Likewise; drawn faintly below the others.

    Returns:
        (288, 288, 3) uint8.
    """
    sheet = np.full((SIDE_PX, SIDE_PX, 3), 255.0)
    edge = MARGIN_PX // 2
    sheet[[edge, -1 - edge], edge:-edge] = sheet[edge:-edge, [edge, -1 - edge]] = 225
    for points, ink in ((behind, FAINT), (pixels, INK)):
        if points is not None:
            left = (FADE ** _dots(points))[..., None]  # (side, side, 1): share of the paper to be seen
            sheet = left * sheet + (1 - left) * np.array(ink)
    return sheet.round().astype(np.uint8)


def _dots(points: np.ndarray) -> np.ndarray:
    """How many dots cover each pixel of the drawing: (side, side)."""
    reach = SIDE_PX - 2 * MARGIN_PX - 1
    x, y = (MARGIN_PX + np.rint(points[:, 0, 0, k] / 255 * reach).astype(int) for k in (0, 1))
    counts = np.zeros((SIDE_PX, SIDE_PX))
    for down, right in DOT:
        np.add.at(counts, (SIDE_PX - 1 - y + down, x + right), 1)
    return counts
