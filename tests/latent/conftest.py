"""Models whose every answer is known: what is steered in these tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triptych.core.config import Settings
from triptych.core.generative_model import GenerativeModel
from triptych.core.images import LEVEL_STEP
from triptych.core.objectives import Objective
from triptych.core.style_space import StyleBased
from triptych.core.types import Condition, GenerationStep, ImageSpec
from triptych.inference.pipeline import Pipeline
from triptych.latent.attributes import Attribute
from triptych.models.registry import load_model_class

MIXING = [[1.0, 0.5, 0.0, 0.0, 0.3, 0.0], [0.6, -1.0, 0.4, 0.0, 0.0, 0.2], [0.0, 0.7, 1.0, 0.5, 0.0, 0.0]]


class Plain(Settings):
    scale: float = 1.0
    """Of the noise."""
    shade: float = 1.0
    """Of what styles paint."""


class Bands(GenerativeModel[Settings, Plain]):
    """Three bands of 6 x 2 px; the level of each is a function of six numbers of noise."""

    Controls: ClassVar[type[Settings]] = Plain
    title = "Bands"
    noise_shape = (6,)

    def __init__(self, bend: float = 0.0) -> None:
        super().__init__(Settings(), ImageSpec(1, 6))
        self.bend = bend
        self.mixing = nn.Parameter(torch.tensor(MIXING))

    def levels(self, noise: Tensor) -> Tensor:
        """(B, 3): the second also bends with the cube of what decides the first."""
        straight = noise @ self.mixing.T
        bent = self.bend * straight[:, :1] ** 3
        return torch.cat([straight[:, :1], straight[:, 1:2] + bent, straight[:, 2:]], 1)

    def objectives(self) -> list[Objective]:
        return []

    def generate(
        self, noise: Tensor, condition: Condition, controls: Plain, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        latent = noise * controls.scale
        image = (self.levels(latent) / 8).repeat_interleave(2, 1)[:, None, :, None].expand(-1, -1, -1, 6)
        yield GenerationStep(1, 1, latent, lambda: image)


class Layers(Bands, StyleBased):
    """Three layers of styles of width two; layer k decides band k alone, by its style's first number."""

    title, trained_with_mixing = "Layers", True
    style_shape = (3, 2)

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.style_shape = (layers, 2)

    def styles(self, noise: Tensor, condition: Condition, controls: Any) -> Tensor:
        return (noise[:, None, :2] * torch.tensor([1.0, 0.5])).expand(-1, self.style_shape[0], -1)

    def synthesize(self, styles: Tensor, seeds: Sequence[int], controls: Plain | None = None) -> Tensor:
        shade = 1.0 if controls is None else controls.shade
        return (shade * styles[:, :, 0] / 8).repeat_interleave(2, 1)[:, None, :, None].expand(-1, -1, -1, 6)

    def style_affine_weights(self) -> list[Tensor]:
        return [torch.tensor([[1.0 + k, 0.0], [0.0, 0.5]]) for k in range(self.style_shape[0])]


class Labelled(Layers):
    """Layers whose styles' first number lies 10 times the label off, which trains unmixed."""

    conditional, trained_with_mixing = True, False

    def __init__(self) -> None:
        super().__init__()
        self.spec = ImageSpec(1, 6, 3)

    def styles(self, noise: Tensor, condition: Condition, controls: Any) -> Tensor:
        assert condition.labels is not None
        away = torch.tensor([10.0, 0.0]) * condition.labels[:, None, None]
        return super().styles(noise, condition, controls) + away

    def synthesize(self, styles: Tensor, seeds: Sequence[int], controls: Plain | None = None) -> Tensor:
        middle = 10 * (styles[:, :, :1] / 10).round()  # a label is not painted, and layers must share it
        assert (middle == middle[:, :1]).all()
        return super().synthesize(styles - middle, seeds, controls)


class BandReader:
    """The mean level of each band, in the units of `Bands.levels`, and a fourth that never varies."""

    name = "band reader"
    attributes = tuple(Attribute(name, name) for name in ("top", "middle", "bottom", "nothing"))
    accuracy: ClassVar[dict[str, str]] = {"top": "to half a gray level"}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        levels = (pixels.astype(np.float64) * LEVEL_STEP - 1) * 8  # (N, 6, 6, 1)
        bands = levels.reshape(len(pixels), 3, -1).mean(2)
        return np.column_stack([bands, np.ones(len(pixels))])


@pytest.fixture
def bands() -> Pipeline:
    return Pipeline(Bands())  # type: ignore[arg-type]


@pytest.fixture
def bent() -> Pipeline:
    return Pipeline(Bands(bend=0.1))  # type: ignore[arg-type]


@pytest.fixture
def layers() -> Pipeline:
    return Pipeline(Layers())  # type: ignore[arg-type]


@pytest.fixture
def labeled_bands() -> Pipeline:
    return Pipeline(Labelled())  # type: ignore[arg-type]


@pytest.fixture
def five_layers() -> Pipeline:
    return Pipeline(Layers(5))  # type: ignore[arg-type]


@pytest.fixture
def reader() -> BandReader:
    return BandReader()


@pytest.fixture
def conditional_dcgan() -> Pipeline:
    """A conditional DCGAN of three classes."""
    model_class = load_model_class("dcgan")
    torch.manual_seed(0)
    return Pipeline(model_class(model_class.Config(latent=4, width=2), ImageSpec(1, 8, 3)))


@pytest.fixture
def flat() -> Pipeline:
    """A VAE whose noise is two numbers."""
    model_class = load_model_class("vae")
    torch.manual_seed(0)
    return Pipeline(model_class(model_class.Config(latent=2, width=2, prior="normal"), ImageSpec(1, 8)))
