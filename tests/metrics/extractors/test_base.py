import numpy as np
import pytest
import torch

from triptych.metrics.extractors.base import Extractor, NetworkExtractor, weights_hash
from triptych.metrics.extractors.domain_cnn import DomainCNN
from triptych.metrics.extractors.random_conv import random_conv
from triptych.metrics.fid import fid

FIRST_SUM = -13.001713  # of the random network's weights: another value is another extractor


def images(count: int, size: int = 16, channels: int = 1) -> np.ndarray:
    """Bright discs of random place and size on black."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    middle = rng.uniform(size * 0.3, size * 0.7, (2, count, 1, 1))
    inside = np.hypot(y - middle[0], x - middle[1]) < rng.uniform(size * 0.1, size * 0.3, (count, 1, 1))
    return np.repeat((inside * 255).astype(np.uint8)[..., None], channels, axis=3)


def cnn(channels: int = 1, size: int = 16) -> NetworkExtractor:
    torch.manual_seed(0)
    return NetworkExtractor(DomainCNN(channels, size, 5, 24), "test-cnn", size, accuracy=0.5)


@pytest.mark.parametrize("make", [cnn, lambda: random_conv(16)])
def test_features_of_an_image_do_not_depend_on_other_images(make) -> None:
    extractor, pixels = make(), images(300)
    whole = extractor(pixels)
    assert isinstance(extractor, Extractor)
    assert whole.shape == (300, extractor.width) and whole.dtype == np.float32
    np.testing.assert_array_equal(whole[270:], extractor(pixels[270:]))
    np.testing.assert_array_equal(whole[299:], extractor(pixels[299:]))
    np.testing.assert_array_equal(whole[::-1], extractor(pixels[::-1]))


def test_the_random_network_is_the_same_everywhere() -> None:
    before = torch.get_rng_state()
    first, second = random_conv(16), random_conv(64)
    assert first.hash == second.hash and first.name == "random-conv" and len(first.hash) == 64
    assert torch.equal(torch.get_rng_state(), before)
    weights = torch.cat([p.flatten() for p in first.network.parameters()])
    assert weights.double().sum().item() == pytest.approx(FIRST_SUM, abs=1e-4)


def test_random_network_repeats_gray_images() -> None:
    gray = images(5)
    np.testing.assert_array_equal(random_conv(16)(gray), random_conv(16)(np.repeat(gray, 3, axis=3)))


def test_fid_of_the_random_network_grows_with_noise() -> None:
    pixels, rng = images(400, 32), np.random.default_rng(1)
    extractor = random_conv(32)
    real, other = extractor(pixels[:200]), pixels[200:].astype(float)
    noise = rng.standard_normal(other.shape)
    scores = [
        fid(real, extractor((other + s * noise).clip(0, 255).astype(np.uint8))) for s in (0, 20, 60, 120)
    ]
    assert scores == sorted(scores) and scores[3] > 10 * scores[0]


def test_large_images_are_averaged_down_and_resize_records_it() -> None:
    small = images(6, 64)
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(random_conv(128)(large), random_conv(64)(small), atol=1e-5)
    assert random_conv(128).resize == "area 64" and random_conv(64).resize == "none"


def test_the_hash_is_of_the_weights() -> None:
    first, second = cnn(), cnn()
    assert first.hash == second.hash
    with torch.no_grad():
        second.network.head.bias[0] += 1e-6
    assert weights_hash(second.network) != first.hash


def test_probabilities() -> None:
    p = cnn()(images(3)), cnn().probabilities(images(3))
    assert p[1].shape == (3, 5) and p[1].dtype == np.float64
    np.testing.assert_allclose(p[1].sum(1), 1, atol=1e-12)
    logits = cnn().logits(images(3))
    np.testing.assert_array_equal(logits.argmax(1), p[1].argmax(1))
    with pytest.raises(ValueError, match="random-conv predicts no classes"):
        random_conv(16).probabilities(images(3))


def test_autocast_does_not_reach_the_extractor() -> None:
    extractor, pixels = cnn(), images(4)
    plain = extractor(pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(extractor(pixels), plain)


@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (3, 16, 16, 3), (16, 16, 1)])
def test_images_of_another_shape_raise_value_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"test-cnn expects \(N, 16, 16, 1\) images, got"):
        cnn()(np.zeros(shape, np.uint8))
