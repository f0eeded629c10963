from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triptych.core.device import full_precision
from triptych.core.errors import WeightsError
from triptych.metrics.extractors.base import Extractor, FeatureNetwork
from triptych.metrics.extractors.pretrained import PretrainedExtractor, Scaling, read_json
from triptych.metrics.extractors.resize import PillowBicubic, TF1Bilinear

HALF = Scaling("x / 2", (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))


class Means(FeatureNetwork):
    """Channel means, and of each image its place in the batch if requested."""

    def __init__(self) -> None:
        super().__init__(3, 3, 2)
        self.fc = nn.Linear(3, 2)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
            self.fc.bias.copy_(torch.tensor([0.0, 0.0]))
        self.shapes: list[tuple[int, ...]] = []

    def features(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        return images.mean((2, 3))

    def logits(self, features: Tensor) -> Tensor:
        return self.fc(features)


def images(count: int, channels: int = 3, side: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def extractor(channels: int = 3, **options: int) -> PretrainedExtractor:
    return PretrainedExtractor(Means(), "means", TF1Bilinear(10), HALF, channels, **options)


def test_images_are_resized_scaled_and_run_in_fixed_batches() -> None:
    padded, flat = extractor(batch=4), np.zeros((6, 5, 7, 3), np.uint8)
    flat[..., 1] = np.arange(6)[:, None, None] * 10
    result = padded(flat)
    assert isinstance(padded, Extractor)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.outer(np.arange(6) * 5, [0, 1, 0]))
    assert padded.network.shapes == [(4, 3, 10, 10)] * 2
    assert padded(flat[:0]).shape == (0, 3)


def test_features_of_an_image_do_not_depend_on_other_images() -> None:
    features_of, pixels = extractor(batch=4), images(10)
    whole = features_of(pixels)
    np.testing.assert_array_equal(whole[3:4], features_of(pixels[3:4]))
    np.testing.assert_array_equal(whole[::-1], features_of(pixels[::-1]))


def test_name_and_resize_describe_the_preprocessing() -> None:
    rgb, gray = extractor(), extractor(1)
    assert (rgb.name, rgb.resize) == ("means", "TF1 bilinear 10, x / 2")
    assert (gray.name, gray.resize) == ("means-gray", "TF1 bilinear 10, x / 2, gray repeated to RGB")
    assert rgb.hash == gray.hash and len(rgb.hash) == 64 and rgb.accuracy is None
    clean = PretrainedExtractor(Means(), "means", PillowBicubic(10), HALF)
    assert clean.hash == rgb.hash and clean.resize != rgb.resize


def test_gray_images_are_repeated_and_never_mixed_with_rgb() -> None:
    gray = images(3, 1)
    np.testing.assert_array_equal(extractor(1)(gray), extractor(3)(gray.repeat(3, axis=3)))
    with pytest.raises(ValueError, match=r"means expects \(N, H, W, 3\) uint8 images, got \(3, 5, 5, 1\)"):
        extractor(3)(gray)
    with pytest.raises(ValueError, match="means-gray expects"):
        extractor(1)(images(3))
    with pytest.raises(ValueError, match="accepts gray or RGB images, got 4 channels"):
        extractor(4)


@pytest.mark.parametrize(
    "pixels", [np.zeros((5, 5, 3), np.uint8), np.zeros((2, 5, 5, 3)), np.zeros((2, 0, 5, 3), np.uint8)]
)
def test_invalid_pixels_raise_value_error(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expects .* uint8 images, got"):
        extractor()(pixels)


def test_probabilities() -> None:
    flat = np.zeros((1, 4, 4, 3), np.uint8)
    flat[..., 0] = 4  # logits 2 and 0
    np.testing.assert_allclose(extractor().probabilities(flat), [[1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))]])
    blind = extractor()
    blind.classes = 0
    with pytest.raises(ValueError, match="means predicts no classes"):
        blind.probabilities(flat)


def test_scaling_is_per_channel() -> None:
    scaling = Scaling("", (1.0, 2.0, 3.0), (1.0, 2.0, 4.0))
    result = scaling(torch.full((1, 3, 1, 1), 5.0)).flatten()
    assert result.tolist() == [4.0, 1.5, 0.5]


def test_full_precision_turns_reduced_precision_off_and_back_on() -> None:
    matmul, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolutions.allow_tf32, convolutions.benchmark
    try:
        matmul.allow_tf32 = convolutions.allow_tf32 = convolutions.benchmark = True
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with full_precision(torch.device("cpu")):
                assert not (matmul.allow_tf32 or convolutions.allow_tf32 or convolutions.benchmark)
                assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        assert matmul.allow_tf32 and convolutions.allow_tf32 and convolutions.benchmark
    finally:
        matmul.allow_tf32, convolutions.allow_tf32, convolutions.benchmark = before


def test_autocast_does_not_reach_the_network() -> None:
    class Product(Means):
        def features(self, images: Tensor) -> Tensor:
            return self.fc.weight.new_ones(len(images), 2) @ self.fc.weight * (1 + 2**-12)

    product = PretrainedExtractor(Product(), "product", TF1Bilinear(2), HALF, batch=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(images(1))[0, 0] == 1 + 2**-12
        assert product(images(1)).dtype == np.float32


def test_invalid_json_raises_weights_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(WeightsError, match=r"a.json must contain one JSON object"):
        read_json(tmp_path / "a.json")
    with pytest.raises(WeightsError, match=r"b.json cannot be read as JSON"):
        read_json(tmp_path / "b.json")
