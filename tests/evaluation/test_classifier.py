import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from triptych.data.dataset import Dataset, Split
from triptych.evaluation import classifier
from triptych.evaluation.classifier import extractor_for


def digits(count: int = 1500, labeled: bool = True) -> Dataset:
    """scikit-learn's digits at 16 px."""
    loaded = load_digits()
    images = [Image.fromarray((x * 15.9).astype(np.uint8)).resize((16, 16)) for x in loaded.images]
    order = np.random.default_rng(0).permutation(len(images))
    pixels = np.stack([np.asarray(p) for p in images])[order, :, :, None]
    labels = loaded.target[order].astype(np.int64) if labeled else None
    train = Split(pixels[:count], None if labels is None else labels[:count])
    test = Split(pixels[1500:], None if labels is None else labels[1500:])
    names = tuple("0123456789") if labeled else ()
    return Dataset("digits", "digits", train, test, names, fingerprint=f"{count} digits")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extractor of a few steps, for tests that ask only what becomes of it."""
    monkeypatch.setattr(classifier, "PASSES", (1, 1))


def test_it_classifies_digits_and_is_not_confident_about_junk(cache: Path) -> None:
    source = digits()
    steps: list[tuple[int, int]] = []
    extractor = extractor_for(source, progress=lambda _, done, total: steps.append((done, total)))
    assert extractor.name == "digits-cnn" and extractor.width <= 64 and extractor.classes == 10
    assert extractor.accuracy is not None and extractor.accuracy >= 0.97
    assert steps[-1][0] == steps[-1][1] == len(steps)

    def confidence(pixels: np.ndarray) -> float:
        return float((extractor.probabilities(pixels).max(1) > 0.9).mean())

    rng = np.random.default_rng(1)
    test = source.test.pixels
    assert confidence(test) > 0.9
    assert confidence(rng.integers(0, 256, test.shape, dtype=np.uint8)) < 0.05
    assert confidence(rng.permuted(test, axis=1)) < 0.2
    blends = ((test.astype(int) + test[::-1]) // 2).astype(np.uint8)
    assert confidence(blends) < 0.4
    flat = np.broadcast_to(np.array([0, 128, 255], np.uint8)[:, None, None, None], (3, 16, 16, 1))
    assert confidence(flat) == 0


def test_the_same_data_give_the_same_extractor(cache: Path, hasty: None) -> None:
    before = torch.get_rng_state()
    first = extractor_for(digits(300))
    assert torch.equal(torch.get_rng_state(), before)
    for kept in cache.glob("judges/*/*"):
        kept.unlink()
    torch.manual_seed(99)
    assert extractor_for(digits(300)).hash == first.hash
    other = replace(digits(300), fingerprint="others")
    assert extractor_for(other).hash != first.hash


def test_it_is_trained_once_and_cached_without_pickles(
    cache: Path, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = extractor_for(digits(300))
    (folder,) = (cache / "judges").iterdir()
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors"}
    assert json.loads((folder / "meta.json").read_text())["accuracy"] == first.accuracy
    monkeypatch.setattr(classifier, "fit", None)  # would crash
    again = extractor_for(digits(300))
    assert (again.hash, again.accuracy, again.name) == (first.hash, first.accuracy, first.name)
    pixels = digits().test.pixels
    np.testing.assert_array_equal(again(pixels), first(pixels))


@pytest.mark.parametrize("name", ["weights.safetensors", "meta.json", "manifest.json"])
def test_a_damaged_extractor_is_trained_again(
    cache: Path, hasty: None, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = extractor_for(digits(300))
    (folder,) = (cache / "judges").iterdir()
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    assert extractor_for(digits(300)).hash == first.hash
    assert "cannot be used" in caplog.text
    caplog.clear()
    extractor_for(digits(300))
    assert caplog.text == ""  # it was mended


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    cache: Path, hasty: None, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where the folder should be")
    assert extractor_for(digits(300)).name == "digits-cnn"
    assert "could not be cached" in caplog.text


def test_read_only_memory_maps_are_read_without_a_warning(cache: Path, hasty: None) -> None:
    source = digits(300)
    for split in (source.train, source.test):
        for array in (split.pixels, split.labels):
            array.flags.writeable = False
    assert extractor_for(source).accuracy is not None


def test_where_extractors_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIPTYCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert classifier.cache_home() == Path("/x/triptych")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert classifier.cache_home() == Path.home() / ".cache" / "triptych"
    monkeypatch.setenv("TRIPTYCH_CACHE", "/y")
    assert classifier.cache_home() == Path("/y")


def test_other_features_by_name(cache: Path) -> None:
    assert extractor_for(digits(300), "random-conv").name == "random-conv"
    with pytest.raises(ValueError, match="digits has no labels to train a classifier on"):
        extractor_for(digits(300, labeled=False), "domain-cnn")
    with pytest.raises(ValueError, match="'inceptoin': did you mean inception\\? expected one of auto"):
        extractor_for(digits(300), "inceptoin")


@pytest.mark.parametrize(("size", "channels"), [(8, 3), (24, 1), (50, 3), (96, 1)])
def test_any_size_and_color(cache: Path, hasty: None, size: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(70) % 2
    pixels = (rng.integers(0, 100, (70, size, size, channels)) + 100 * labels[:, None, None, None]).astype(
        np.uint8
    )
    split = Split(pixels, labels)
    extractor = extractor_for(Dataset("s", "s", split, split, ("dark", "bright"), fingerprint="0"))
    assert extractor(pixels).shape == (70, 64)
    assert extractor.accuracy is not None


def test_jumbling_moves_blocks_and_keeps_what_they_hold() -> None:
    images = torch.arange(2 * 18 * 18.0).reshape(2, 1, 18, 18)
    jumbled = classifier._jumbled(images, 4, torch.Generator().manual_seed(0))
    assert not torch.equal(jumbled, images)
    assert torch.equal(jumbled.flatten(1).sort().values, images.flatten(1).sort().values)
    assert torch.equal(jumbled[:, :, 16:], images[:, :, 16:])  # 4 blocks of 4: the rest stays


def test_shifting_moves_whole_images() -> None:
    image = torch.arange(32 * 32.0).reshape(1, 1, 32, 32).expand(40, -1, -1, -1)
    moved = classifier._shifted(image, torch.Generator().manual_seed(0))
    offsets = {tuple(divmod(int(m[0, 10, 10]) - int(image[0, 0, 10, 10]) + 66, 32)) for m in moved}
    assert len(offsets) > 10  # of 5 x 5
    for m in moved:
        row, column = divmod(int(m[0, 10, 10]), 32)
        assert abs(row - 10) <= 2 and abs(column - 10) <= 2
        assert torch.equal(m[0, 5:20, 5:20], image[0, 0, row - 5 : row + 10, column - 5 : column + 10])
