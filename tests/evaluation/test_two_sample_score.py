"""Two-sample accuracy: blind where there is nothing to see, and not where there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_evaluate import discs

from triptych.evaluation import two_sample
from triptych.evaluation.evaluate import score_sources
from triptych.evaluation.two_sample import how_to_read, right_of, two_sample_score
from triptych.metrics.two_sample import cross_fit_accuracy
from triptych.viz.grids import write_png

CARD = {
    "data": "discs", "split": "test", "n_real": 1, "n_fake": 1, "extractor": "x", "extractor_hash": "y",
    "resize": "none",
}  # fmt: skip


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_sample, "STEPS", 40)


def smooth(count: int, seed: int, size: int = 16) -> np.ndarray:
    """Colored ramps, (count, size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = rng.uniform(-60, 60, (2, count, 1, 1, 3))
    return (128 + waves[0] * y[None, :, :, None] + waves[1] * x[None, :, :, None]).astype(np.uint8)


def grainy(pixels: np.ndarray, seed: int = 9) -> np.ndarray:
    """With a checkerboard of eight gray levels that no one-pixel average shows."""
    y, x = np.mgrid[: pixels.shape[1], : pixels.shape[2]]
    return (pixels + ((x + y) % 2 * 8)[None, :, :, None]).astype(np.uint8)


@pytest.mark.parametrize("size", [16, 52])
def test_noise_is_detected_and_real_images_are_not_distinguished(size: int) -> None:
    real, other = smooth(120, 0, size), smooth(120, 1, size)
    accuracy = cross_fit_accuracy(right_of(real, grainy(other)))
    assert accuracy.low > 0.9
    alike = cross_fit_accuracy(right_of(real, other))
    assert alike.low <= 0.5 <= alike.high


def test_the_same_images_give_the_same_score() -> None:
    real, fake = discs(60, 0)[0], discs(60, 5)[0]
    assert (right_of(real, fake) == right_of(real, fake)).all()


def test_duplicates_are_not_below_chance() -> None:
    """Of one set saved twice, each image learned by heart in one half would be mistaken in the other."""
    real = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 1), dtype=np.uint8)
    accuracy = cross_fit_accuracy(right_of(real, np.roll(real, 3, 0)))
    assert accuracy.value == 0.5


def test_the_score_has_floor_card_and_sentence() -> None:
    real, train = discs(260, 0)[0], discs(100, 1)[0]
    result = two_sample_score(real, discs(90, 2)[0], CARD, train=train)
    assert result is not None and result.floor is not None and result.floor_n == 100
    assert result.name == "two-sample accuracy[trained-anew]" and result.better == "lower"
    assert result.card.n_real == result.card.n_fake == 90 and result.card.split == "test"
    assert 0 <= result.low <= result.value <= result.high <= 1
    assert "0.5" in result.notes[0] and len(result.notes) == 1


def test_few_held_out_images_are_joined_by_training_images() -> None:
    result = two_sample_score(discs(30, 0)[0], discs(90, 2)[0], CARD, train=discs(100, 1)[0])
    assert result is not None and result.card.n_real == 90
    assert result.card.split == "test and training" and result.floor_n == 65
    assert "copies would look perfect" in result.notes[1]


def test_what_does_not_apply_is_left_out() -> None:
    once = discs(30, 0)[0]
    assert two_sample_score(np.repeat(once[:5], 6, 0), once, CARD) is None  # five images, each six times
    assert two_sample_score(once[:, :4, :4], once[:, :4, :4], CARD) is None
    assert two_sample_score(once, once[:19], CARD) is None


def test_sentences() -> None:
    assert "like chance" in how_to_read(0.52, 0.45, 0.6)
    assert "easy to distinguish" in how_to_read(0.97, 0.93, 0.99)
    assert how_to_read(0.7, 0.6, 0.8).endswith("(0.5 is perfect, 1 is always distinguished)")


def test_folder_against_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_sample, "STEPS", 8)
    for name, seed in (("real", 1), ("fake", 2)):
        (tmp_path / name).mkdir()
        for number, image in enumerate(discs(60, seed)[0]):
            write_png(tmp_path / name / f"{number}.png", image)
    scores = score_sources(f"folder:{tmp_path / 'real'}", f"folder:{tmp_path / 'fake'}", "random-conv")
    assert scores[-1].card.metric == "two-sample accuracy" and scores[-1].card.split == "all"
