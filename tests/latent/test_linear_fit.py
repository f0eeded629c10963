from __future__ import annotations

import numpy as np
import pytest
import torch

from triptych.latent.linear_fit import (
    LatentDistribution,
    broyden_update,
    closed_form_factorization,
    equalize_label_means,
    least_squares_slopes,
    orthogonalized_direction,
    r_squared,
)

RNG = np.random.default_rng(0)


def test_closed_form_is_the_eigenvectors_of_a_transposed_a() -> None:
    rotation, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    matrix = RNG.normal(size=(50, 3))
    orthogonal, _ = np.linalg.qr(matrix)
    directions, values = closed_form_factorization(orthogonal * [1.0, 3.0, 2.0] @ rotation.T, 2)
    np.testing.assert_allclose(values, [9, 4])
    np.testing.assert_allclose(np.abs(directions @ rotation), [[0, 1, 0], [0, 0, 1]], atol=1e-12)
    assert all(row[np.abs(row).argmax()] > 0 for row in directions)


def test_no_unit_direction_changes_the_output_more() -> None:
    matrix = RNG.normal(size=(8, 4))
    best = np.linalg.norm(matrix @ closed_form_factorization(matrix, 1)[0][0])
    others = RNG.normal(size=(500, 4))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    assert (np.linalg.norm(others @ matrix.T, axis=1) <= best + 1e-12).all()


def test_whiten__and_flat_directions_are_left_out() -> None:
    codes = RNG.normal(size=(400, 2)) @ RNG.normal(size=(2, 5)) + 3
    cloud = LatentDistribution.from_codes(codes)
    assert cloud.rank == 2
    white = cloud.whiten(codes)
    np.testing.assert_allclose(np.cov(white.T), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(white @ cloud.factor.T + cloud.mean, codes)
    step = np.array([1.0, 2, 0, 0, 1])
    assert cloud.std_along(step) == pytest.approx(np.std(codes @ step / np.linalg.norm(step), ddof=1))


def test_unit_step__is_one_standard_deviation_along_the_step() -> None:
    cloud = LatentDistribution(np.zeros(2), np.diag([1.0, 0.2]))
    unit = cloud.unit_step(np.array([3.0, 3.0]))
    step = cloud.factor @ unit
    assert np.linalg.norm(step) == pytest.approx(cloud.std_along(step))
    assert np.linalg.norm(unit) == pytest.approx(2**0.5 * 1.0016**0.5 / 1.04)
    assert np.linalg.norm(cloud.unit_step(np.array([0.0, 7.0]))) == pytest.approx(1)  # along an axis
    two = cloud.unit_step(
        np.array([0.0, 7.0, 0.0, -3.5])
    )  # of two layers the one that moves most is measured
    np.testing.assert_allclose(two, [0, 1, 0, -0.5])


def test_least_squares_slopes__are_exact_for_linear_attributes() -> None:
    white, truth = RNG.normal(size=(100, 4)), RNG.normal(size=(4, 3))
    readings = white @ truth + 7
    slopes = least_squares_slopes(white, readings)
    np.testing.assert_allclose(slopes, truth)
    np.testing.assert_allclose(r_squared(white, readings, slopes), 1)
    np.testing.assert_allclose(r_squared(white, readings, 0 * slopes), 0, atol=1e-12)


def test_orthogonalized_direction__changes_the_target_alone() -> None:
    slopes = RNG.normal(size=(6, 4))
    step = orthogonalized_direction(slopes, 1, [0, 3])
    np.testing.assert_allclose(slopes.T[[0, 1, 3]] @ step, [0, 1, 0], atol=1e-8)
    kept = slopes[:, [0, 1, 3]].T
    free = np.eye(6) - np.linalg.pinv(kept) @ kept
    for _ in range(20):  # and is the shortest that does
        other = step + free @ RNG.normal(size=6)
        np.testing.assert_allclose(kept @ other, [0, 1, 0], atol=1e-6)
        assert np.linalg.norm(step) <= np.linalg.norm(other) + 1e-9


def test_orthogonalized_direction__equal_constraints_count_once() -> None:
    slopes = RNG.normal(size=(6, 3))[:, [0, 1, 1, 2]]
    step = orthogonalized_direction(slopes, 0, [1, 2, 3])
    np.testing.assert_allclose(slopes.T @ step, [1, 0, 0, 0], atol=1e-7)


def test_broyden_update__corrects_along_the_step_only() -> None:
    slopes, change = RNG.normal(size=(4, 3)), RNG.normal(size=3)
    step, across = np.array([0.6, 0.8, 0, 0]), np.array([0.8, -0.6, 0.5, 1])
    updated = broyden_update(slopes, step, change)
    np.testing.assert_allclose(updated.T @ step, change)
    np.testing.assert_allclose(updated.T @ across, slopes.T @ across)


def test_orthogonalized_direction__ignores_slopes_within_their_error() -> None:
    slopes = np.array([[1.0, 0.01, 0.5], [0.0, 0.001, 0.0]])
    exact, wary = (
        orthogonalized_direction(slopes, 0, [1]),
        orthogonalized_direction(slopes, 0, [1], error=0.05),
    )
    np.testing.assert_allclose(exact, [1, -10], rtol=1e-3)
    np.testing.assert_allclose(wary, [1, 0], atol=0.02)


def test_orthogonalized_direction__least_change_where_no_step_is_free() -> None:
    slopes = RNG.normal(size=(3, 8))  # seven held readings, three numbers
    step = orthogonalized_direction(slopes, 0, range(1, 8))
    least = np.square(slopes[:, 1:].T @ step).sum()
    for _ in range(50):
        other = RNG.normal(size=3)
        other /= slopes[:, 0] @ other
        assert np.square(slopes[:, 1:].T @ other).sum() >= 0.9 * least


def test_orthogonalized_direction__refuses_a_target_without_slopes() -> None:
    with pytest.raises(ValueError, match="no step changes this attribute"):
        orthogonalized_direction(np.zeros((3, 2)), 0, [1])


def test_equalize_label_means() -> None:
    values, labels = np.array([[1.0], [3.0], [10.0], [20.0]]), torch.tensor([0, 0, 1, 1])
    np.testing.assert_allclose(
        equalize_label_means(values, labels), [[7.5], [9.5], [3.5], [13.5]]
    )  # about 8.5
    assert equalize_label_means(values, None) is values


def test_orthogonalized_direction__solves_its_equations() -> None:
    slopes = RNG.normal(size=(5, 9))
    step = orthogonalized_direction(slopes, 0, range(1, 9))
    others, wanted = slopes[:, 1:], slopes[:, 0]
    sizes = [np.linalg.norm(others.T @ d / (wanted @ d)) for d in RNG.normal(size=(4000, 5))]
    assert wanted @ step == pytest.approx(1)
    assert np.abs(others.T @ step).max() < 1.05 * min(sizes) * 8**0.5
    exact = np.linalg.solve(others @ others.T + 1e-9 * np.eye(5), wanted)
    assert np.abs(others.T @ step).max() <= np.abs(others.T @ exact / (wanted @ exact)).max() + 1e-6
