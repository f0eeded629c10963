from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from triptych.core.config import Settings
from triptych.core.generative_model import GenerativeModel
from triptych.core.images import to_float
from triptych.core.objectives import Objective
from triptych.core.types import Condition, GenerationStep, ImageSpec
from triptych.data.dataset import Dataset, Split
from triptych.evaluation import augmentation_utility as rooms
from triptych.evaluation.augmentation_utility import (
    ClassificationAccuracyScore,
    classification_accuracy_score,
    paired_interval,
)
from triptych.inference.pipeline import Pipeline


def digits(train: int) -> Dataset:
    """scikit-learn's digits, 8 px: `train` of them, and 500 to test on."""
    loaded = load_digits()
    order = np.random.default_rng(0).permutation(len(loaded.images))
    pixels = (loaded.images[order] * 15.9).astype(np.uint8)[..., None]
    labels = loaded.target[order].astype(np.int64)
    splits = (Split(pixels[rows], labels[rows]) for rows in (slice(train), slice(1297, None)))
    return Dataset("digits", "digits", *splits, tuple("0123456789"), fingerprint=f"{train} digits")


def others(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits that are in no split of `digits(n)` with n <= 600."""
    train = digits(1297).train
    assert train.labels is not None
    return train.pixels[-count:], train.labels[-count:]


def quick(fake: Any, source: Dataset, **options: Any) -> ClassificationAccuracyScore:
    return classification_accuracy_score(fake, source, **{"trainings": 1, "steps": 25, **options})


def test_copies_of_real_images_are_worth_as_much_and_add_nothing() -> None:
    source = digits(600)
    utility = quick((source.train.pixels, source.train.labels), source, trainings=3)
    assert utility.real.value > 0.9
    assert utility.fake.value == pytest.approx(utility.real.value, abs=0.03)
    assert utility.verdict == "no difference seen" and utility.gain_low < 0 < utility.gain_high
    assert "no difference seen with n = 500 test images" in utility.sentence
    assert (utility.n_fake, utility.n_real, utility.n_test, utility.steps) == (600, 600, 500, 25)
    assert utility.real.low < utility.real.value < utility.real.high and len(utility.real.each) == 3


def test_wrong_labels_hurt() -> None:
    source = digits(300)
    pixels, labels = others(300)
    utility = quick((pixels, np.random.default_rng(0).permutation(labels)), source)
    assert utility.fake.low < 0.2 and utility.chance == pytest.approx(0.1, abs=0.02)
    assert utility.verdict == "hurts" and utility.gain_high < 0
    assert "300 samples added to 300 real training images: hurts" in utility.sentence
    assert utility.sentence.endswith("of these trainings only: another may differ by as much")


def test_good_samples_help_where_real_images_are_few() -> None:
    utility = quick(others(600), digits(40))
    assert utility.verdict == "helps" and utility.gain_low > 0
    assert utility.both.value - utility.real.value == pytest.approx(utility.gain)


def test_it_is_a_function_of_images_and_data() -> None:
    before = torch.get_rng_state()
    first = quick(others(64), digits(64), steps=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    assert quick(others(64), digits(64), steps=3) == first
    assert ClassificationAccuracyScore.model_validate_json(first.model_dump_json()) == first
    other = quick(others(64), replace(digits(64), fingerprint="another"), steps=3)
    assert other.real.each != first.real.each


def test_all_three_are_trained_for_as_many_steps_from_the_same_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainings_run = []

    def spy(network: Any, pixels: Any, labels: np.ndarray, steps: int, source: Any, **options: Any) -> Any:
        weights = torch.cat([p.flatten() for p in network.parameters()])
        trainings_run.append(
            (len(pixels), len(labels), steps, source.initial_seed(), float(weights.detach().sum()), options)
        )
        return network.eval()

    monkeypatch.setattr(rooms, "fit_classifier", spy)
    progress_calls = []
    classification_accuracy_score(
        others(64),
        digits(200),
        trainings=2,
        progress=lambda done, total: progress_calls.append((done, total)),
    )
    assert [row[:3] for row in trainings_run] == [(n, n, rooms.steps_for(200)) for n in (64, 200, 264)] * 2
    assert len({row[3:5] for row in trainings_run[:3]}) == len({row[3:5] for row in trainings_run[3:]}) == 1
    assert trainings_run[0][3] != trainings_run[3][3] and trainings_run[0][4] != trainings_run[3][4]
    assert progress_calls == [(k, 6) for k in range(1, 7)]
    assert all(row[5] == {"junk": False} for row in trainings_run)


class Plain(Settings):
    """No controls."""


class Album(GenerativeModel[Settings, Plain]):
    """Draws an image of its label's page: the page's number is the brightness."""

    Controls, noise_shape, title, conditional = Plain, (1,), "Album", True

    def __init__(self, conditional: bool = True) -> None:
        super().__init__(Settings(), ImageSpec(1, 8, 10))
        self.conditional = conditional
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def objectives(self) -> list[Objective]:
        return []

    def generate(
        self, noise: Tensor, condition: Condition, controls: Plain, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        assert condition.labels is not None
        levels = to_float((condition.labels * 20).to(torch.uint8).numpy()[:, None, None, None])
        yield GenerationStep(0, 1, noise, lambda: levels.expand(-1, 1, 8, 8))


def test_labels_follow_the_class_distribution_and_belong_to_their_images() -> None:
    model = Pipeline(Album(), class_counts=[5] * 5 + [0] * 5)
    pixels, labels = rooms._draw(model, 100, 1_000_000)
    assert pixels.shape == (100, 8, 8, 1) and labels.shape == (100,)
    np.testing.assert_array_equal(pixels[:, 0, 0, 0], labels * 20)
    assert set(labels) == set(range(5))
    np.testing.assert_array_equal(rooms._draw(model, 30, 1_000_000)[1], labels[:30])
    utility = quick(model, digits(64), samples=70, steps=2)
    assert utility.n_fake == 70 and utility.labels == "class distribution of the training data"


def test_two_arrays_are_joined_in_order() -> None:
    first, second = np.arange(5)[:, None], np.arange(5, 12)[:, None]
    both = rooms._Joined(first, second)
    assert len(both) == 12
    for rows in ([0, 4, 5, 11], [1, 2], [6, 7], [4, 5]):
        assert both[np.array(rows)][:, 0].tolist() == rows


def test_the_paired_interval_has_its_closed_form() -> None:
    first, second = np.zeros((1, 10), bool), np.zeros((1, 10), bool)
    first[0, :2], second[0, 1:6] = True, True  # 1 lost, 4 gained
    value, low, high, method = paired_interval(first, second)
    assert value == pytest.approx(0.3)
    # Agresti and Min 2005: half an image more in each cell; n = 12, b = 1.5, c = 4.5
    centre, reach = 3 / 12, 1.959964 * np.sqrt((6 - 9 / 12) / 12**2)
    assert (low, high) == pytest.approx((centre - reach, centre + reach), abs=1e-6)
    assert "these trainings only" in method


def test_two_that_agree_everywhere_still_have_a_width() -> None:
    right = np.ones((1, 100), bool)
    value, low, high, _ = paired_interval(right, right)
    assert value == 0 and low == pytest.approx(-high) and 0.01 < high < 0.05


def draws(
    trainings: int, count: int, deviation: float, gain: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Two classifiers on 400 images of unlike difficulty; each training has luck of its own."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        hard = rng.normal(1.5, 1, 400)
        luck = rng.normal(0, deviation, (2, trainings, 1))
        p = 1 / (1 + np.exp(-(hard + luck + np.array([0, gain])[:, None, None])))
        first, second = rng.random(p.shape) < p
        yield first, second


@pytest.mark.parametrize(("trainings", "deviation"), [(1, 0.0), (3, 0.0), (3, 0.6), (5, 0.6)])
def test_the_paired_interval_covers(trainings: int, deviation: float) -> None:
    cases = list(draws(trainings, 500, deviation, 0.5))
    mean = np.mean([second.mean() - first.mean() for first, second in cases])
    inside = [low <= mean <= high for _, low, high, _ in (paired_interval(*case) for case in cases)]
    assert 0.92 <= np.mean(inside) <= 0.995


def test_bad_input_is_refused_with_a_sentence() -> None:
    source = digits(64)
    pixels, labels = others(20)
    with pytest.raises(ValueError, match="Album was trained without labels, so its samples have none"):
        quick(Pipeline(Album(conditional=False)), source)
    unlabelled = replace(source, train=Split(source.train.pixels))
    with pytest.raises(ValueError, match="digits has no labels: there is nothing for a classifier to learn"):
        quick((pixels, labels), unlabelled)
    with pytest.raises(
        ValueError, match=r"expected at least 2 samples \(N, \(8, 8, 1\)\) uint8, got \(20, 8, 8\)"
    ):
        quick((pixels[..., 0], labels), source)
    with pytest.raises(ValueError, match="one whole label a sample"):
        quick((pixels, labels[:3]), source)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.9, got"):
        quick((pixels, labels + 5), source)
    with pytest.raises(ValueError, match="at least 1 training, 2 samples and 1 step are needed"):
        quick((pixels, labels), source, trainings=0)
    with pytest.raises(ValueError, match="two tables"):
        paired_interval(np.ones((1, 3), bool), np.ones((1, 4), bool))
