"""The feature extractor of sources without labels."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from triptych import cli
from triptych.core import rng
from triptych.data.dataset import Dataset, Split
from triptych.data.load import load
from triptych.evaluation import classifier
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.scoring import score_pixels
from triptych.evaluation.sensitivity.corruptions import noisy, rolled
from triptych.metrics.extractors.base import NetworkExtractor
from triptych.metrics.extractors.random_conv import random_conv
from triptych.metrics.extractors.self_supervised import network as network_module
from triptych.metrics.extractors.self_supervised import training
from triptych.metrics.extractors.self_supervised.distortions import DISTORTIONS, distort
from triptych.metrics.fid import fid
from triptych.metrics.prdc import prdc_scores
from triptych.metrics.suite import estimates


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of a few steps, for tests that ask only what becomes of it."""
    monkeypatch.setattr(training, "STEPS", (3, 3))


@pytest.fixture(autouse=True)
def no_dinov2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine holds."""
    monkeypatch.setattr(classifier, "dinov2_flops_if_available", lambda: None)


def digits(count: int = 300) -> Dataset:
    """scikit-learn's digits without their labels: 300 to learn from, 600 others."""
    whole = load("digits")
    pixels = np.concatenate([whole.train.pixels, whole.test.pixels])
    pixels = np.random.default_rng(0).permutation(pixels)  # they are stored by writer
    return Dataset("digits", "digits", Split(pixels[:count]), Split(pixels[300:900]), fingerprint=f"{count}")


def random_images(count: int, size: int, channels: int) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    return Dataset("noise", "noise", Split(pixels), Split(pixels), fingerprint=f"{count} {size} {channels}")


def test_features_respond_to_grain_and_swapped_halves_only(cache: Path) -> None:
    source = digits()
    extractor = extractor_for(source)
    assert extractor.name == "digits-ssl-v1" and extractor.width == 64 and extractor.classes == 0
    real, honest = source.test.pixels[:300], source.test.pixels[300:]
    grainy = noisy(honest, 12.75, seed=0)  # a standard deviation of 0.1 on the scale of [-1, 1]
    known = estimates(extractor(real), extractor(honest))
    result = estimates(extractor(real), extractor(grainy))
    assert result["precision"].high < known["precision"].low - 0.05
    assert result["FID"].low > known["FID"].high
    assert fid(extractor(real), extractor(rolled(honest, 2))) > 2 * known["FID"].high
    blind = random_conv(16)
    unmoved = prdc_scores(blind(real), blind(grainy))["precision"]
    assert unmoved > prdc_scores(blind(real), blind(honest))["precision"] - 0.05 > 0.8
    floor = estimates(extractor(real), extractor(source.train.pixels))
    for metric in (
        "FID",
        "precision",
        "recall",
    ):  # held-out images are no worse than the ones it learned from
        assert known[metric].low <= floor[metric].high and floor[metric].low <= known[metric].high


def test_the_same_images_give_the_same_network(cache: Path, hasty: None) -> None:
    before = torch.get_rng_state()
    first = extractor_for(digits())
    assert torch.equal(torch.get_rng_state(), before)
    for kept in cache.glob("judges/*/*"):
        kept.unlink()
    torch.manual_seed(99)
    assert extractor_for(digits()).hash == first.hash
    assert extractor_for(replace(digits(), fingerprint="others")).hash != first.hash


def test_network_is_trained_once_and_again_if_damaged(
    cache: Path, hasty: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[tuple[int, int]] = []
    first = extractor_for(digits(), progress=lambda _, *done: steps.append(done))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    (folder,) = (cache / "judges").iterdir()
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors"}
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", None)  # would crash
        again = extractor_for(digits())
    assert (again.hash, again.name, again.accuracy) == (first.hash, first.name, None)
    np.testing.assert_array_equal(again(digits().test.pixels), first(digits().test.pixels))
    (folder / "weights.safetensors").write_bytes(b"damaged")
    assert extractor_for(digits()).hash == first.hash and "cannot be used" in caplog.text


@pytest.mark.parametrize(("count", "size", "channels"), [(8, 8, 1), (30, 13, 3), (9, 50, 1), (12, 96, 3)])
def test_any_number_size_and_color_of_images(
    cache: Path, hasty: None, count: int, size: int, channels: int
) -> None:
    source = random_images(count, size, channels)
    result = extractor_for(source)(source.train.pixels)
    assert result.shape == (count, 64) and np.isfinite(result).all() and result.std() > 0.1


def test_few_images_are_noted_and_too_few_refused(cache: Path, hasty: None) -> None:
    source = digits(8)
    extractor = extractor_for(source)
    scores = score_pixels(source.test.pixels[:30], source.test.pixels[30:60], extractor)
    assert all("learned from 8 images alone" in " ".join(score.notes) for score in scores)
    assert scores[0].name == "FID[digits-ssl-v1]" and scores[0].card.extractor_hash == extractor.hash
    enough = score_pixels(source.test.pixels[:30], source.test.pixels[30:60], extractor_for(digits(300)))
    assert "learned from" not in " ".join(enough[0].notes)
    assert extractor_for(digits(7)).name == extractor_for(random_images(9, 6, 1)).name == "random-conv"
    with pytest.raises(ValueError, match="digits has 7 training images of 16 px, and self-supervised"):
        extractor_for(digits(7), "self-supervised")


def test_labels_are_ignored_if_self_supervised_is_requested(cache: Path, hasty: None) -> None:
    source = digits()
    labeled = replace(source, train=Split(source.train.pixels, np.arange(300) % 2))
    assert extractor_for(labeled, "self-supervised").hash == extractor_for(source).hash
    with pytest.raises(
        ValueError, match="digits has no labels to train a classifier on: use --features self-"
    ):
        extractor_for(source, "domain-cnn")


def test_dinov2_is_the_default_where_available_and_fast(
    cache: Path, hasty: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    requested: list[str] = []

    def stand_in(name: str, *rest: object) -> NetworkExtractor:
        requested.append(name)
        return random_conv(16)

    monkeypatch.setattr(classifier, "pretrained", stand_in)
    monkeypatch.setattr(classifier, "dinov2_flops_if_available", lambda: 1e10)
    extractor_for(digits())
    assert requested == ["dinov2"]
    monkeypatch.setattr(classifier, "dinov2_flops_if_available", lambda: 2e11)
    with caplog.at_level(logging.INFO):
        assert extractor_for(digits()).name == "digits-ssl-v1" and "slow on a CPU" in caplog.text
    extractor_for(digits(), device="meta")  # any device that is no processor
    assert requested == ["dinov2", "dinov2"]


def test_distortions_grow_with_their_strength() -> None:
    images = torch.rand(40, 3, 16, 16, generator=rng.generator("images")) * 1.6 - 0.8
    weak, strong = torch.full((40,), 0.1), torch.ones(40)
    for name, change in DISTORTIONS.items():
        moved = [
            float((change(images, strength, rng.generator(name)) - images).abs().mean())
            for strength in (weak, strong)
        ]
        assert 0 < moved[0] < moved[1], name
    distorted, strengths = distort(images, rng.generator(1), tuple(DISTORTIONS))
    assert distorted.shape == images.shape and distorted.abs().max() <= 1 and strengths.shape == (40, 8)
    clean = strengths.sum(1) == 0
    assert torch.equal(distorted[clean], images[clean]) and 4 < clean.sum() < 24
    changed = (distorted != images).flatten(1).any(1)
    assert changed[~clean].float().mean() > 0.85  # the other image of a few is the image itself
    jumbled = DISTORTIONS["jumble"](images, strong, rng.generator(0))
    assert torch.equal(jumbled.flatten(1).sort().values, images.flatten(1).sort().values)


def test_whitening_gives_unit_variance_and_does_not_amplify_constants() -> None:
    network = network_module.SelfSupervised(1, 8)
    x = np.random.default_rng(0).normal(size=(2000, 64)) * np.array([5.0] * 32 + [0.0] * 32) + 3
    network.whiten(x)
    scaled = (torch.from_numpy(x).float() - network.mean) @ network.scale
    assert scaled.std(0)[:32].mean() == pytest.approx(0.97, abs=0.04)
    assert scaled.std(0)[32:].max() < 0.01
    assert network.scale.diag().max() < 1  # 1 / sqrt of a tenth of the mean variance, 1.25


def test_from_the_command_line(
    cache: Path, hasty: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for name in ("real", "made"):
        (tmp_path / name).mkdir()
        for k, pixels in enumerate(digits().test.pixels[:40]):
            Image.fromarray(pixels[:, :, 0]).save(tmp_path / name / f"{k}.png")
    words = ["evaluate", "--quick", "--size", "16", "--real", f"folder:{tmp_path / 'real'}"]
    words += ["--fake", f"folder:{tmp_path / 'made'}"]
    assert cli.main(words) == 0
    assert "ssl-v1]" in capsys.readouterr().out
    assert cli.main([*words, "--features", "self-suprevised"]) == 2
    assert "did you mean self-supervised?" in capsys.readouterr().err
