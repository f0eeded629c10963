from __future__ import annotations

import numpy as np
import pytest

from triptych.steer.fitting import (
    Cloud,
    closed_form,
    share_explained,
    steepest_alone,
    step_back,
    white_slopes,
)  # fmt: skip

RNG = np.random.default_rng(0)


def test_closed_form_is_the_eigenvectors_of_a_transposed_a() -> None:
    turn, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    matrix = RNG.normal(size=(50, 3))
    orthogonal, _ = np.linalg.qr(matrix)
    found, values = closed_form(orthogonal * [1.0, 3.0, 2.0] @ turn.T, 2)
    np.testing.assert_allclose(values, [9, 4])
    np.testing.assert_allclose(np.abs(found @ turn), [[0, 1, 0], [0, 0, 1]], atol=1e-12)
    assert all(row[np.abs(row).argmax()] > 0 for row in found)


def test_no_unit_direction_changes_the_output_more() -> None:
    matrix = RNG.normal(size=(8, 4))
    best = np.linalg.norm(matrix @ closed_form(matrix, 1)[0][0])
    others = RNG.normal(size=(500, 4))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    assert (np.linalg.norm(others @ matrix.T, axis=1) <= best + 1e-12).all()


def test_white_codes_are_white_and_flat_directions_are_left_out() -> None:
    codes = RNG.normal(size=(400, 2)) @ RNG.normal(size=(2, 5)) + 3
    cloud = Cloud.of(codes)
    assert cloud.width == 2
    white = cloud.white(codes)
    np.testing.assert_allclose(np.cov(white.T), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(white @ cloud.root.T + cloud.mean, codes)
    step = np.array([1.0, 2, 0, 0, 1])
    assert cloud.spread_along(step) == pytest.approx(np.std(codes @ step / np.linalg.norm(step), ddof=1))


def test_slopes_of_straight_readings_are_exact() -> None:
    white, truth = RNG.normal(size=(100, 4)), RNG.normal(size=(4, 3))
    readings = white @ truth + 7
    slopes = white_slopes(white, readings)
    np.testing.assert_allclose(slopes, truth)
    np.testing.assert_allclose(share_explained(white, readings, slopes), 1)
    np.testing.assert_allclose(share_explained(white, readings, 0 * slopes), 0, atol=1e-12)


def test_the_steepest_step_alone_moves_one_reading_by_one_and_no_held_one() -> None:
    slopes = RNG.normal(size=(6, 4))
    step = steepest_alone(slopes, np.eye(4)[1], [0, 3])
    np.testing.assert_allclose(slopes.T[[0, 1, 3]] @ step, [0, 1, 0], atol=1e-12)
    for _ in range(20):  # and is the shortest that does
        other = step + (
            np.eye(6) - np.linalg.pinv(slopes[:, [0, 1, 3]].T) @ slopes[:, [0, 1, 3]].T
        ) @ RNG.normal(size=6)
        np.testing.assert_allclose(slopes.T[[0, 1, 3]] @ other, [0, 1, 0], atol=1e-9)
        assert np.linalg.norm(step) <= np.linalg.norm(other)


def test_two_readings_that_move_alike_are_held_once() -> None:
    slopes = RNG.normal(size=(6, 3))[:, [0, 1, 1, 2]]
    step = steepest_alone(slopes, np.eye(4)[0], [1, 2, 3])
    np.testing.assert_allclose(slopes.T @ step, [1, 0, 0, 0], atol=1e-9)


def test_held_slopes_within_the_noise_are_left_alone() -> None:
    slopes = np.array([[1.0, 1e-3], [0.0, 1e-3]])
    exact = steepest_alone(slopes, np.eye(2)[0], [1])
    np.testing.assert_allclose(exact, [1, -1], atol=1e-9)
    np.testing.assert_allclose(steepest_alone(slopes, np.eye(2)[0], [1], noise=1.0), [1, 0], atol=1e-5)


def test_what_moves_with_a_held_reading_only_cannot_be_moved_alone() -> None:
    slopes = np.ones((3, 2))
    with pytest.raises(ValueError, match="something else that shall stay"):
        steepest_alone(slopes, np.eye(2)[0], [1])


def test_a_step_back_undoes_changes() -> None:
    slopes = RNG.normal(size=(6, 4))
    changes = np.array([0.3, -0.2])
    np.testing.assert_allclose(slopes.T[[1, 2]] @ step_back(slopes, changes, [1, 2]), -changes, atol=1e-9)
    assert np.abs(step_back(slopes, changes, [1, 2], noise=1e6)).max() < 1e-4
