"""TwoNN, on point sets of known dimension."""

from __future__ import annotations

import numpy as np
import pytest

from triptych.metrics.intrinsic_dimension import two_nn


def test_a_line_and_a_cube_have_dimensions_one_and_three() -> None:
    rng = np.random.default_rng(0)
    for d in (1, 3):
        points = rng.random((2000, d))
        nearest = np.sort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)[:, 1:3]
        assert two_nn(nearest) == pytest.approx(d, rel=0.1)  # Facco et al. 2017


def test_points_with_a_duplicate_are_left_out() -> None:
    nearest = np.array([[1.0, np.e], [0.0, 1.0], [2.0, 2 * np.e]])
    assert two_nn(nearest) == pytest.approx(1.0)
    assert two_nn(np.zeros((4, 2))) == 0
