"""The sources whose modes are known."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from triptych.core.errors import DataError, UsageError
from triptych.core.types import ImageSpec
from triptych.data.datasets.ring import RADIUS, SIGMA, means
from triptych.data.datasets.stacked_mnist import COUNTS, mode_numbers
from triptych.data.inspect import inspect
from triptych.data.load import load


def test_the_ring_is_a_uniform_mixture_of_eight_gaussians() -> None:
    ring = load("points:ring")
    assert ring.spec == ImageSpec(channels=2, size=1, classes=8)
    assert (len(ring.train), len(ring.test)) == (20_000, 4_000)
    assert min(ring.class_counts) > 2300 and ring.class_names[:3] == ("east", "north-east", "north")
    points = ring.train.pixels[:, 0, 0] / 255 * 2 - 1  # (N, 2)
    assert ring.train.labels is not None
    for label, middle in enumerate(means()):
        own = points[ring.train.labels == label] - middle
        np.testing.assert_allclose(own.mean(0), 0, atol=0.004)
        np.testing.assert_allclose(own.std(0), SIGMA, rtol=0.04)  # rounding does no harm
    np.testing.assert_allclose(np.linalg.norm(means(), axis=1), RADIUS)
    assert load("points:ring").fingerprint == ring.fingerprint
    assert ring.train.pixels.min() > 0 and ring.train.pixels.max() < 255  # none is cut off at the edge


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 32}, "points are 1 x 1 px, got a size of 32: leave out --size"),
        ({"color": "rgb"}, "not colors, got rgb: leave out --color"),
    ],
)
def test_points_have_neither_size_nor_color(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load("points:ring", **settings)  # type: ignore[arg-type]
    assert load("points:ring", size=1).spec.size == 1


def test_other_sources_refuse_images_of_one_pixel() -> None:
    with pytest.raises(UsageError, match=r"4..1024 pixels, got 1"):
        load("digits", size=1)
    with pytest.raises(UsageError, match=r"Did you mean points:ring\?"):
        load("point:ring")


def test_inspect_describes_points() -> None:
    report = inspect("points:ring")
    assert report.plan[0].startswith("points in the plane") and report.classes["east"] > 2000


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An MNIST whose digit k is a constant image of level k + 1 in training, k + 101 in testing."""
    monkeypatch.setenv("TRIPTYCH_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("triptych.data.datasets.stacked_mnist.COUNTS", {"train": (300, 1), "test": (100, 2)})
    home = tmp_path / "sets" / "mnist"
    home.mkdir(parents=True)
    for stem, level in (("train", 1), ("t10k", 101)):
        labels = np.arange(40, dtype=np.uint8) % 10
        pixels = np.repeat(labels + level, 28 * 28).reshape(40, 28, 28).astype(np.uint8)
        for idx_type, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (home / f"{stem}-{idx_type}-ubyte").write_bytes(head + array.tobytes())


@pytest.mark.usefixtures("digits")
def test_stacked_digits_are_three_digits_of_their_own_split() -> None:
    dataset = load("stacked:mnist")
    assert dataset.spec == ImageSpec(channels=3, size=32) and dataset.content_box == (2, 2, 30, 30)
    assert (len(dataset.train), len(dataset.test)) == (300, 100)
    for split, level in ((dataset.train, 1), (dataset.test, 101)):
        digits_stacked = np.stack(
            [split.factors[color] for color in ("red", "green", "blue")], axis=1
        )  # (N, 3)
        assert np.array_equal(split.pixels[:, 16, 16], digits_stacked + level)
        assert split.pixels[:, 0].max() == 0
        assert len(set(mode_numbers(digits_stacked).tolist())) > 60  # independent draws
    assert load("stacked:mnist").fingerprint == dataset.fingerprint
    assert load("stacked:mnist", size=16).spec.size == 16
    with pytest.raises(UsageError, match="its three digits: leave out --color gray"):
        load("stacked:mnist", color="gray")


def test_stacked_mnist_error_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TRIPTYCH_DATA", str(tmp_path))
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("triptych.data.datasets.published.fetch", offline)
    with pytest.raises(DataError, match="mnist was not found"):
        load("stacked:mnist")


def test_constants_equal_those_of_the_literature() -> None:
    assert COUNTS == {"train": (60_000, 1), "test": (10_000, 2)}
    assert mode_numbers(np.array([[0, 0, 0], [1, 2, 3], [9, 9, 9]])).tolist() == [0, 123, 999]
