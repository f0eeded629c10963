from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.viz.scatter import cloud
from triptych.viz.sheets import framed, sheet, write_sheet

SHOWN = np.random.default_rng(0).integers(0, 200, (2, 3, 64, 64, 3), dtype=np.uint8)


def test_names_take_room_and_pictures_keep_their_pixels() -> None:
    bare = sheet(SHOWN)
    assert bare.shape == (2 * 66 + 2, 3 * 66 + 2, 3)
    named = sheet(SHOWN, ["one", "two\nlines"], ["a", "b", "c"])
    grown = np.array(named.shape) - bare.shape
    assert grown[0] > 10 and grown[1] > 10
    np.testing.assert_array_equal(named[grown[0] :, grown[1] :], bare)
    assert named[:, : grown[1]].min() < 100  # something is written there
    assert sheet(SHOWN[..., :1], ["gray", "too"]).shape[2] == 1


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
    found = framed(SHOWN, SHOWN[:, 0], SHOWN[1])
    assert found.shape == (3, 4, 64, 64, 3)
    assert (found[0, 0] == 255).all()
    np.testing.assert_array_equal(found[1:, 0], SHOWN[:, 0])
    np.testing.assert_array_equal(found[0, 1:], SHOWN[1])
    np.testing.assert_array_equal(found[1:, 1:], SHOWN)


def test_sheets_and_arrays_are_written(tmp_path: Path) -> None:
    write_sheet(tmp_path / "in" / "x.npy", SHOWN)
    np.testing.assert_array_equal(np.load(tmp_path / "in" / "x.npy"), SHOWN)
    write_sheet(tmp_path / "x.png", SHOWN, ["one", "two"])
    with Image.open(tmp_path / "x.png") as written:
        np.testing.assert_array_equal(np.asarray(written), sheet(SHOWN, ["one", "two"]))
    with pytest.raises(ValueError, match=r"expected a file ending in \.png"):
        write_sheet(tmp_path / "x.svg", SHOWN)
    with pytest.raises(ValueError, match=r"--out .*y\.png cannot be written: .*x\.png is a file"):
        write_sheet(tmp_path / "x.png" / "y.png", SHOWN)
