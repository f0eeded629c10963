"""Points drawn together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from triptych.core.images import is_points
from triptych.viz.grids import grid, to_pil, write_png
from triptych.viz.scatter import FAINT, INK, SIDE_PX, cloud


def points(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array(pairs, np.uint8)[:, None, None, :]


def darkest(sheet: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(sheet.sum(2).argmin(), sheet.shape[:2])
    return int(row), int(column)


def test_x_runs_to_the_right_and_y_upwards() -> None:
    many = [(255, 128)] * 20
    row, column = darkest(cloud(points(*many)))
    assert column > 0.9 * SIDE_PX and abs(row - SIDE_PX / 2) < 3
    row, column = darkest(cloud(points(*[(128, 255)] * 20)))
    assert row < 0.1 * SIDE_PX and abs(column - SIDE_PX / 2) < 3


def test_points_behind_are_faint_and_covered() -> None:
    sheet = cloud(points(*[(128, 128)] * 30), behind=points(*[(128, 128)] * 30, *[(0, 0)] * 30))
    middle = SIDE_PX // 2
    near = sheet[middle - 3 : middle + 4, middle - 3 : middle + 4].reshape(-1, 3)
    assert np.abs(near.astype(int) - INK).sum(1).min() < 6
    assert np.abs(sheet.astype(int) - FAINT).sum(2).min() < 6


def test_a_grid_of_points_is_one_cloud_and_a_point_can_be_written(tmp_path: Path) -> None:
    some = points((10, 20), (200, 100))
    assert is_points(some) and not is_points(np.zeros((4, 8, 8, 2), np.uint8))
    assert np.array_equal(grid(some, captions=["a", "b"], scale=64), cloud(some))
    write_png(tmp_path / "one.png", some[0])
    with Image.open(tmp_path / "one.png") as image:
        assert image.size == (SIDE_PX, SIDE_PX) and image.mode == "RGB"
    assert np.array_equal(np.asarray(to_pil(some[0])), cloud(some[:1]))
