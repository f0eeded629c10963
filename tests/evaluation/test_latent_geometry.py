"""Traits of models whose noise has a known structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from triptych.core.config import Settings
from triptych.core.generative_model import GenerativeModel
from triptych.core.objectives import Objective
from triptych.core.types import Condition, GenerationStep, ImageSpec
from triptych.data.dataset import Dataset, Split
from triptych.evaluation.latent_geometry import STEPS, measure_latent_geometry
from triptych.inference.pipeline import Pipeline
from triptych.metrics.spectral import sharpness

SIZE = 8


class Painter(GenerativeModel[Settings, Settings]):
    """Draws whatever a function makes of the noise, (B, 64) -> (B, 64) in [-1, 1]."""

    Controls, noise_shape, title = Settings, (SIZE * SIZE,), "Painter"

    def __init__(self, paint: Callable[[Tensor], Tensor]) -> None:
        super().__init__(Settings(), ImageSpec(1, SIZE))
        self.paint = paint
        self.nothing = torch.nn.Parameter(torch.zeros(()))  # says where the model is

    def objectives(self) -> list[Objective]:
        return []

    def generate(
        self, noise: Tensor, condition: Condition, controls: Settings, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        yield GenerationStep(0, 1, noise, lambda: self.paint(noise).reshape(-1, 1, SIZE, SIZE))


class Bright:
    """Features are the pixels; two classes, by whether the image is bright on average."""

    name, hash, width, classes, accuracy, resize = "bright", "0", SIZE * SIZE, 2, None, "none"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(len(pixels), -1).astype(np.float32)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        bright = self(pixels).mean(1) > 127.5
        return np.stack([1.0 - bright, bright], axis=1).astype(np.float64)


def measured(paint: Callable[[Tensor], Tensor]):
    model = Pipeline(Painter(paint))  # type: ignore[arg-type]
    drawn = model.sample(range(20))
    real = np.random.default_rng(0).integers(0, 256, (30, SIZE, SIZE, 1), dtype=np.uint8)
    data = Dataset("toy", "toy", Split(real), Split(real))
    geometry = measure_latent_geometry(model, data, Bright(), drawn)
    assert geometry.sharpness == pytest.approx(sharpness(drawn))
    assert geometry.sharpness_real == pytest.approx(sharpness(real[:20]))
    return geometry


def test_where_images_are_linear_in_the_noise_the_path_is_the_arc() -> None:
    geometry = measured(lambda noise: noise / 5)
    assert geometry.path_ratio == pytest.approx(
        np.pi / 2 / np.sqrt(2), rel=0.02
    )  # quarter of a circle over its chord
    assert geometry.path_ratio_low < geometry.path_ratio < geometry.path_ratio_high
    assert geometry.uniform_step_share == 1 / STEPS and geometry.max_step_share == pytest.approx(
        1 / STEPS, rel=0.1
    )
    assert geometry.linear_probe is not None and geometry.linear_probe_chance is not None
    assert (
        geometry.linear_probe > 0.9 and geometry.linear_probe_chance < 0.6
    )  # the class is linear in the noise


def test_the_linear_probe_is_left_out_for_many_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.evaluation.latent_geometry.MAX_CLASSES", 1)
    geometry = measured(lambda noise: noise / 5)
    assert geometry.linear_probe is None and geometry.confident_ends is not None


def test_a_jump_is_one_step_and_the_path_ratio_is_1() -> None:
    def two_images(noise: Tensor) -> Tensor:
        return torch.where(noise[:, :1] > 0, 0.8, -0.8).expand(-1, SIZE * SIZE)

    geometry = measured(two_images)
    assert geometry.path_ratio == pytest.approx(1) and geometry.max_step_share == pytest.approx(1)
    assert geometry.confident_ends == geometry.confident_midpoints == 1.0


def test_folds_lengthen_the_path_and_hide_the_class() -> None:
    geometry = measured(lambda noise: torch.sin(40 * noise))
    assert geometry.path_ratio > 5
    assert geometry.linear_probe is not None and geometry.linear_probe < 0.65


def test_a_model_with_one_image_for_all_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="one image whatever the noise"):
        measured(lambda noise: torch.zeros_like(noise))
