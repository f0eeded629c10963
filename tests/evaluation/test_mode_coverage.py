"""Known modes counted on samples that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from triptych.core.images import to_uint8
from triptych.data.datasets.ring import SIGMA, means
from triptych.data.load import load
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.known_mode_classifiers import RingClassifier, StackedDigitsClassifier
from triptych.evaluation.mode_coverage import mode_count, ring_modes, stacked_modes
from triptych.metrics.class_coverage import CONFIDENT
from triptych.metrics.inputs import ImageSet


def at(points: np.ndarray) -> np.ndarray:
    import torch

    return to_uint8(torch.from_numpy(points)[:, :, None, None])  # (N, 1, 1, 2)


def test_the_datas_own_points_cover_all_modes_as_expected() -> None:
    coverage = ring_modes(load("points:ring").test.pixels)
    assert (coverage.modes.covered, coverage.modes.total, coverage.n) == (8, 8, 4000)
    assert coverage.near == pytest.approx(
        1 - np.exp(-4.5), abs=0.005
    )  # of a plane's Gaussian, within 3 sigma
    assert coverage.kl is not None and coverage.kl < 0.005
    assert "8 of 8 modes" in str(coverage)


def test_a_collapsed_generator_covers_what_it_covers() -> None:
    coverage = ring_modes(at(means()[[0] * 50 + [1] * 45 + [2] * 1 + [3] * 4]))
    assert (
        coverage.modes.covered == 3 and coverage.modes.seen == 4
    )  # of the third, less than a tenth of its share
    assert coverage.near == 1.0 and coverage.kl == pytest.approx(np.log(8) - 0.84, abs=0.05)
    nothing = ring_modes(at(np.zeros((100, 2))))
    assert nothing.modes.seen == 0 and nothing.kl is None and nothing.near == 0.0
    assert "0 of 8" in str(nothing)
    with pytest.raises(ValueError, match=r"expected points \(N, 1, 1, 2\)"):
        ring_modes(np.zeros((5, 8, 8, 3), np.uint8))


def test_the_ring_classifier_is_confident_of_exactly_the_points_within_3_sigma() -> None:
    extractor = extractor_for(load("points:ring"))
    assert isinstance(extractor, RingClassifier) and extractor.name == "coordinates"
    steps = np.linspace(2, 4, 41)
    points = at(means()[0] - SIGMA * np.stack([steps, 0 * steps], axis=1))
    real = points[:, 0, 0] / 255 * 2 - 1
    inside = np.linalg.norm(real - means()[0], axis=1) < 3 * SIGMA
    probabilities_read = extractor.probabilities(points)
    assert np.array_equal(probabilities_read.max(1) > CONFIDENT, inside) and 5 < inside.sum() < 36
    np.testing.assert_allclose(probabilities_read.sum(1), 1)
    assert np.allclose(extractor(points), real, atol=1e-6)
    nowhere = extractor.probabilities(at(np.zeros((1, 2))))
    np.testing.assert_allclose(nowhere, 1 / 8, atol=0.01)


class Corner:
    """Reads the digit that stands in the first pixel; a classifier of ten digits."""

    name, hash, width, classes, accuracy, resize = "corner", "0", 1, 10, 0.9, "none"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        assert pixels.shape[1:] == (2, 2, 1)
        return pixels[:, 0, 0].astype(np.float32)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        return 0.91 * np.eye(10)[pixels[:, 0, 0, 0]] + 0.009


def triples(numbers: Any) -> np.ndarray:
    digits = np.array([[n // 100, n // 10 % 10, n % 10] for n in numbers], np.uint8)
    return np.tile(digits[:, None, None], (1, 2, 2, 1))


def test_stacked_modes_are_read_color_by_color() -> None:
    coverage = stacked_modes(triples([7, 7, 70, 700]), Corner())
    assert (coverage.modes.seen, coverage.modes.total, coverage.near) == (3, 1000, None)
    assert coverage.kl == pytest.approx(np.log(1000) - (1.5 * np.log(2)))
    even = stacked_modes(triples(range(1000)), Corner())
    assert even.modes.seen == 1000 and even.kl == pytest.approx(0, abs=1e-9)
    assert even.modes.seen_expected == pytest.approx(1000 * (1 - 0.999**1000))
    with pytest.raises(ValueError, match="a classifier of ten digits"):
        stacked_modes(triples([1])[..., :1], Corner())
    with pytest.raises(ValueError, match="one of 8 classes"):
        stacked_modes(triples([1]), RingClassifier())


def test_the_classifier_of_stacked_digits_is_the_single_one_three_times() -> None:
    extractor, pixels = StackedDigitsClassifier(Corner()), triples([123, 999])
    assert (extractor.width, extractor.classes, extractor.name) == (3, 1000, "corner-stacked")
    assert extractor.accuracy == pytest.approx(0.729)
    assert extractor(pixels).tolist() == [[1, 2, 3], [9, 9, 9]]
    probabilities_read = extractor.probabilities(pixels)
    assert probabilities_read.argmax(1).tolist() == [123, 999]
    np.testing.assert_allclose(probabilities_read.sum(1), 1)
    np.testing.assert_allclose(probabilities_read.max(1), 0.919**3)


def test_sources_without_known_modes_have_none() -> None:
    samples = ImageSet(np.zeros((2, 16, 16, 1), np.uint8), RingClassifier())
    assert mode_count(samples, load("digits")) is None
