"""Published networks by name, with a small network in the place of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from triptych.data.dataset import Dataset, Split
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.scoring import score_pixels
from triptych.metrics.extractors import registry
from triptych.metrics.extractors.base import FeatureNetwork
from triptych.metrics.extractors.inception import InceptionV3
from triptych.metrics.extractors.registry import FEATURES, pretrained, split_name


class Corner(FeatureNetwork):
    """What the network is given: the middle of the image, three features."""

    title, size_px = "corner-vit", 8

    def __init__(self) -> None:
        super().__init__(3, 3, 1008)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def features(self, images: Tensor) -> Tensor:
        middle = images.shape[-1] // 2
        return images[:, :, middle, middle] * self.weight

    def logits(self, features: Tensor) -> Tensor:
        return features.repeat(1, 336)


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    paths: list[Path | None] = []

    def inception(path: Path | None) -> tuple[FeatureNetwork, bool]:
        paths.append(path)
        return Corner(), path is None

    def transformer(path: Path | None) -> FeatureNetwork:
        paths.append(path)
        return Corner()

    monkeypatch.setattr(registry.inception_weights, "load_inception", inception)
    monkeypatch.setattr(registry.vit, "load_dinov2", transformer)
    monkeypatch.setattr(registry.vit, "load_clip", transformer)
    return paths


def source(channels: int, labeled: bool = True) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, channels), dtype=np.uint8)
    split = Split(pixels, np.arange(60) % 2 if labeled else None)
    return Dataset("s", "s", split, split, ("a", "b") if labeled else (), fingerprint="0")


@pytest.mark.parametrize(
    ("features", "name", "resize"),
    [
        ("inception", "inception-legacy", "TF1 bilinear 299, (x - 128) / 128"),
        ("inception-clean", "inception-clean", "Pillow bicubic 299 float, (x - 128) / 128"),
        ("dinov2", "corner-vit", "Pillow bicubic 8 uint8, ImageNet mean and std"),
        ("clip", "corner-vit", "Pillow bicubic 8 uint8, CLIP mean and std"),
    ],
)
def test_pretrained_extractor_of_a_name(
    features: str, name: str, resize: str, stand_ins: list[Path | None]
) -> None:
    rgb, gray = extractor_for(source(3), features), extractor_for(source(1, labeled=False), features)
    assert (rgb.name, rgb.resize) == (name, resize)
    assert (gray.name, gray.resize) == (f"{name}-gray", f"{resize}, gray repeated to RGB")
    assert rgb.accuracy is None
    assert stand_ins == [None, None]
    assert rgb(source(3).test.pixels).shape == (60, 3)


def test_inception_scaling_maps_128_to_0() -> None:
    """The graph's scaling: (x - 128) / 128."""
    pixels = np.full((3, 1, 1, 3), 128, np.uint8)
    pixels[1], pixels[2] = 0, 255
    result = pretrained("inception")(pixels)
    np.testing.assert_array_equal(result, np.outer([0, -1, 127 / 128], [1, 1, 1]))


def test_unverified_weights_are_not_called_published(stand_ins: list[Path | None]) -> None:
    extractor = extractor_for(source(3), "inception:/some/where.safetensors")
    assert extractor.name == "inception-other-legacy"
    assert pretrained("inception-clean", Path("/x")).name == "inception-other-clean"
    extractor_for(source(3), "clip:~/models/clip")
    assert stand_ins[0] == Path("/some/where.safetensors")
    assert stand_ins[-1] == Path.home() / "models" / "clip"


def test_names() -> None:
    assert split_name("auto") == ("auto", None)
    assert split_name("dinov2:a:b") == ("dinov2", Path("a:b"))
    for wrong in ("inceptoin", "inception:", "auto:x", "random-conv:x", "", "Inception"):
        with pytest.raises(
            ValueError, match=r"unknown features .*: .*expected one of auto, .*clip; .* inception:PATH"
        ):
            split_name(wrong)
    with pytest.raises(ValueError, match="did you mean self-supervised\\?"):
        split_name("self-supervized")
    assert FEATURES[0] == "auto" and len(set(FEATURES)) == len(FEATURES)


def test_score_names_contain_the_protocol() -> None:
    pixels = source(3).test.pixels
    scores = score_pixels(pixels[:30], pixels[30:], pretrained("inception-clean"))
    assert scores[0].name == "FID[inception-clean]"
    assert scores[0].card.resize == "Pillow bicubic 299 float, (x - 128) / 128"
    gray = score_pixels(pixels[:30, ..., :1], pixels[30:, ..., :1], pretrained("inception", channels=1))
    assert gray[1].name == "KID[inception-legacy-gray]"


def test_evaluation_with_the_real_inception_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = InceptionV3()
    monkeypatch.setattr(registry.inception_weights, "load_inception", lambda path: (network, True))
    extractor = pretrained("inception", channels=1)
    extractor.batch = 1
    pixels = source(1).test.pixels[:2]
    features, shares = extractor(pixels), extractor.probabilities(pixels)
    assert features.shape == (2, 2048) and shares.shape == (2, 1008)
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_array_equal(extractor(pixels[1:]), features[1:])
    unbiased = features @ network.fc.weight.numpy().T
    log_ratio = np.log(shares[:, 0] / shares[:, 1])
    np.testing.assert_allclose(log_ratio, unbiased[:, 0] - unbiased[:, 1], rtol=1e-3, atol=1e-5)
