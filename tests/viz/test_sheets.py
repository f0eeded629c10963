from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.viz.scatter import cloud
from triptych.viz.sheets import framed, sheet, write_sheet

IMAGES = np.random.default_rng(0).integers(0, 200, (2, 3, 64, 64, 3), dtype=np.uint8)


def test_names_take_space_and_images_keep_their_pixels() -> None:
    bare = sheet(IMAGES)
    assert bare.shape == (2 * 66 + 2, 3 * 66 + 2, 3)
    named = sheet(IMAGES, ["one", "two\nlines"], ["a", "b", "c"])
    grown = np.array(named.shape) - bare.shape
    assert grown[0] > 10 and grown[1] > 10
    np.testing.assert_array_equal(named[grown[0] :, grown[1] :], bare)
    assert named[:, : grown[1]].min() < 100  # something is written there
    assert sheet(IMAGES[..., :1], ["gray", "too"]).shape[2] == 1


def test_points_are_drawn_a_row_together() -> None:
    points = np.random.default_rng(0).integers(0, 256, (2, 9, 1, 1, 2), dtype=np.uint8)
    drawn = sheet(points, ["one", "two"], [""] * 9)
    np.testing.assert_array_equal(drawn[2:290, -290:-2], cloud(points[0]))
    np.testing.assert_array_equal(drawn[292:580, -290:-2], cloud(points[1]))


def test_some_points_of_a_row_are_drawn_faintly() -> None:
    points = np.random.default_rng(0).integers(0, 256, (1, 3, 1, 1, 2), dtype=np.uint8)
    drawn = sheet(points, faint=1)
    np.testing.assert_array_equal(drawn[2:290, 2:290], cloud(points[0, 1:], points[0, :1]))
    assert not np.array_equal(drawn, sheet(points))


def test_a_frame_puts_the_parents_beside_and_above() -> None:
    result = framed(IMAGES, IMAGES[:, 0], IMAGES[1])
    assert result.shape == (3, 4, 64, 64, 3)
    assert (result[0, 0] == 255).all()
    np.testing.assert_array_equal(result[1:, 0], IMAGES[:, 0])
    np.testing.assert_array_equal(result[0, 1:], IMAGES[1])
    np.testing.assert_array_equal(result[1:, 1:], IMAGES)


def test_sheets_and_arrays_are_written(tmp_path: Path) -> None:
    write_sheet(tmp_path / "in" / "x.npy", IMAGES)
    np.testing.assert_array_equal(np.load(tmp_path / "in" / "x.npy"), IMAGES)
    write_sheet(tmp_path / "x.png", IMAGES, ["one", "two"])
    with Image.open(tmp_path / "x.png") as written:
        np.testing.assert_array_equal(np.asarray(written), sheet(IMAGES, ["one", "two"]))
    with pytest.raises(ValueError, match=r"expected a file ending in \.png"):
        write_sheet(tmp_path / "x.svg", IMAGES)
    with pytest.raises(ValueError, match=r"--out .*y\.png cannot be written: .*x\.png is a file"):
        write_sheet(tmp_path / "x.png" / "y.png", IMAGES)
