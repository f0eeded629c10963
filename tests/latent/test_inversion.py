from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import Bands
from PIL import Image

from triptych.core.errors import DataError, UsageError
from triptych.core.generative_model import StraightThroughClamp
from triptych.core.types import ImageSpec
from triptych.data.datasets import celeba, published
from triptych.inference.pipeline import Pipeline
from triptych.latent.codes import Space, codes_at, synthesize
from triptych.latent.inversion import BASELINE_SAMPLES, FIRST_SEED, STARTS, invert, prepare_image
from triptych.metrics.extractors.random_conv import random_conv
from triptych.models.registry import load_model_class


def mean_error(inversion) -> float:
    return float(np.mean([one.mse for one in inversion.errors]))


def test_invert__more_steps_reduce_the_error(layers: Pipeline) -> None:
    images = layers.sample(range(6))
    near, nearer = (invert(layers, images, "style", steps=steps) for steps in (0, 100))
    assert mean_error(nearer) < 0.1 * mean_error(near) and mean_error(near) < mean_chance(near)
    assert nearer.codes.values.shape == (6, 3, 2)
    np.testing.assert_array_equal(layers.synthesize(nearer.codes.values, range(6)), nearer.reconstructed)


def mean_chance(inversion) -> float:
    return float(np.mean([one.baseline_mse for one in inversion.errors]))


def test_invert__finds_styles_outside_the_mapping(layers: Pipeline) -> None:
    """Bands of unlike levels are outside the range of the mapping: each layer gets a style of its own."""
    images = np.repeat(np.array([100, 140, 120], np.uint8), 12).reshape(1, 6, 6, 1)
    inversion = invert(layers, images, "style", steps=200)
    assert np.abs(inversion.reconstructed.astype(int) - images).max() <= 8


def test_styles_leave_black_that_was_clamped() -> None:
    """A StyleGAN clamps its images: where they are below black the gradient used to be 0."""
    model_class = load_model_class("stylegan")
    torch.manual_seed(0)
    stylegan = model_class(model_class.Config(latent=4, style=4, width=2), ImageSpec(1, 8))
    with torch.no_grad():
        for part in stylegan.generator.pictures:
            part.bias.fill_(-5)
    model = Pipeline(stylegan)
    assert model.sample(range(FIRST_SEED, FIRST_SEED + STARTS)).max() == 0
    inversion = invert(model, np.full((2, 8, 8, 1), 255, np.uint8), "style")
    assert mean_chance(inversion) == 4 and mean_error(inversion) < 2


class Dark(Bands):
    """Bands in the dark: all but rare noise draws black."""

    def generate(self, *arguments):
        (frame,) = super().generate(*arguments)
        yield replace(frame, image=lambda: (8 * frame.image() - 3).clamp(min=-1, max=1))


def test_noise_leaves_black_that_was_clamped() -> None:
    model = Pipeline(Dark())  # type: ignore[arg-type]
    assert model.sample([0]).max() == 0  # where the search begins
    assert mean_error(invert(model, np.full((1, 6, 6, 1), 255, np.uint8))) < 0.5


def test_straight_through_clamp__changes_gradients_of_the_image_range_only() -> None:
    x = torch.tensor([-3.0, 0.5, 3.0], requires_grad=True)
    with StraightThroughClamp():
        clamped, within, below = x.clamp(-1, 1), x.clamp(0, 1), torch.clamp(x, max=torch.ones(3))
    assert clamped.tolist() == [-1, 0.5, 1]
    slopes = [torch.autograd.grad(y.sum(), x)[0].tolist() for y in (clamped, within, below)]
    assert slopes == [[1, 1, 1], [0, 1, 0], [1, 1, 0]]


def test_invert__starts_from_styles_of_the_class(labeled_bands: Pipeline) -> None:
    labels = [2, 0, 2, 1]
    images = synthesize(labeled_bands, codes_at(labeled_bands, range(4), "style", labels))
    inversion = invert(labeled_bands, images, "style", labels=labels)
    assert (inversion.codes.values[:, :, 0] / 10).round().eq(torch.tensor(labels)[:, None]).all()
    assert mean_error(inversion) < 0.01


def test_invert__noise_uses_the_models_own_inversion(bands: Pipeline) -> None:
    images = bands.sample(range(4))
    inversion = invert(bands, images, extractor=random_conv(6), names=["a", "b", "c", "d"])
    assert mean_error(inversion) < 0.2 * mean_chance(inversion)
    one = inversion.errors[0]
    assert one.image == "a" and one.feature_distance is not None and one.feature_distance < 0.5
    assert one.extractor == "random-conv"
    assert one.psnr == pytest.approx(10 * np.log10(4 / max(one.mse, 1e-9)))
    gap = (inversion.reconstructed[0].astype(float) - images[0]) / 127.5
    assert one.mse == pytest.approx((gap**2).mean())


def test_invert__a_conditional_model_needs_labels(conditional_dcgan: Pipeline) -> None:
    images = conditional_dcgan.sample([0, 1], [2, 2])
    with pytest.raises(ValueError, match=r"give the class of each image, as in --labels 3 \(0-2\)"):
        invert(conditional_dcgan, images)
    assert len(invert(conditional_dcgan, images, labels=[2]).errors) == 2
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2"):
        invert(conditional_dcgan, images, labels=[3])


def test_invert__baseline_samples_are_of_the_same_class(conditional_dcgan: Pipeline) -> None:
    images = conditional_dcgan.sample([0, 1], [2, 0])
    inversion = invert(conditional_dcgan, images, labels=[2, 0])
    for one, image, label in zip(inversion.errors, images, (2, 0), strict=True):
        other = conditional_dcgan.sample(range(FIRST_SEED, FIRST_SEED + BASELINE_SAMPLES), [label])
        assert one.baseline_mse == pytest.approx((((other.astype(float) - image) / 127.5) ** 2).mean())


@pytest.mark.parametrize(
    ("name", "space"), [("conditional_dcgan", "noise"), ("labeled_bands", "style"), ("bands", "noise")]
)
def test_invert__does_not_depend_on_the_other_images(
    name: str, space: Space, request: pytest.FixtureRequest
) -> None:
    model: Pipeline = request.getfixturevalue(name)
    images = model.sample([7, 8, 9])
    labels = [2, 0, 1] if model.model.conditional else None
    extractor = random_conv(model.spec.size)
    together = invert(model, images, space, labels, extractor, ["a", "b", "c"]).errors
    alone = invert(model, images[2:], space, labels and labels[2:], extractor, ["c"]).errors
    assert alone[0].image == "c"
    for part in ("mse", "baseline_mse", "feature_distance"):
        assert getattr(alone[0], part) == pytest.approx(getattr(together[2], part), rel=1e-3)


@pytest.mark.parametrize(
    ("shape", "got"),
    [((1, 6, 6, 3), "6 x 6 px in color"), ((1, 12, 8, 1), "8 x 12 px in gray"), ((0, 6, 6, 1), "uint8")],
)
def test_invert__refuses_images_of_another_shape(bands: Pipeline, shape, got: str) -> None:
    with pytest.raises(ValueError, match=got):
        invert(bands, np.zeros(shape, np.uint8))


def model_of(channels: int, size: int) -> Pipeline:
    model_class = load_model_class("dcgan")
    return Pipeline(model_class(model_class.Config(latent=2, width=2), ImageSpec(channels, size)))


def test_prepare_image__converts_and_says_how(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "photo.png"
    Image.fromarray(rng.integers(0, 256, (20, 40, 3), dtype=np.uint8)).save(file)
    pixels, notes = prepare_image(model_of(1, 16), file)
    assert pixels.shape == (16, 16, 1)
    assert notes == (
        "photo.png (40 x 20 px) was cropped to its middle square, then resized to 16 x 16 px, "
        "then converted to gray"
    )
    pixels, notes = prepare_image(model_of(3, 32), file)
    assert pixels.shape == (32, 32, 3) and notes is not None and "gray" not in notes


def test_prepare_image__leaves_fitting_files_alone(tmp_path: Path) -> None:
    own = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(own).save(tmp_path / "own.png")
    pixels, notes = prepare_image(model_of(3, 16), tmp_path / "own.png")
    assert notes is None
    np.testing.assert_array_equal(pixels, own)


def test_prepare_image__pads_28_px_as_the_data_set_is(tmp_path: Path) -> None:
    digit = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(digit).save(tmp_path / "digit.png")
    pixels, notes = prepare_image(model_of(1, 32), tmp_path / "digit.png")
    np.testing.assert_array_equal(pixels[2:30, 2:30, 0], digit)
    assert pixels[:2].max() == 0 and notes == "digit.png (28 x 28 px) was padded with black to 32 x 32 px"


def trained_on(model: Pipeline, source: str) -> Pipeline:
    model.run = SimpleNamespace(card=SimpleNamespace(data=SimpleNamespace(source=source)))  # type: ignore[assignment]
    return model


@pytest.mark.parametrize("source", ["folder:photos", "parquet:x.parquet", "digits", "cifar10"])
def test_prepare_image__resizes_28_px_as_training_did(tmp_path: Path, source: str) -> None:
    Image.fromarray(np.full((28, 28), 200, np.uint8)).save(tmp_path / "gray.png")
    pixels, notes = prepare_image(trained_on(model_of(1, 32), source), tmp_path / "gray.png")
    assert pixels.min() == 200 and notes == "gray.png (28 x 28 px) was resized to 32 x 32 px"


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("source", ["mnist", "stacked:mnist"])
def test_prepare_image__equals_the_training_preparation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, size: int
) -> None:
    digit = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(digit).save(tmp_path / "digit.png")
    monkeypatch.setattr(published, "locate", lambda name: {"train": [], "test": []})
    raw = digit[None, :, :, None], np.zeros(1, np.int64)
    monkeypatch.setattr(published, "read", lambda files, split: raw)
    learnt = published.open_published("mnist", size, "gray").train.pixels[0]
    pixels, notes = prepare_image(trained_on(model_of(1, size), source), tmp_path / "digit.png")
    np.testing.assert_array_equal(pixels, learnt)
    assert notes is not None and ("black to 32 x 32 px" in notes) == (size >= 32)


def test_prepare_image__crops_an_aligned_face_as_training_did(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "face.jpg")
    model = model_of(3, 16)
    whole, _ = prepare_image(model, tmp_path / "face.jpg")
    pixels, notes = prepare_image(trained_on(model, "celeba"), tmp_path / "face.jpg")
    learnt = celeba._face(lambda name: tmp_path / name, "face.jpg", 16, "rgb")
    np.testing.assert_array_equal(pixels, learnt)
    assert not np.array_equal(pixels, whole)
    assert notes == (
        "face.jpg (178 x 218 px) was cropped to its middle 148 x 148 px, as the training images, "
        "then resized to 16 x 16 px"
    )


def test_prepare_image__refuses_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^there is no image .*nosuch\.png$"):
        prepare_image(model_of(1, 16), tmp_path / "nosuch.png")
    with pytest.raises(UsageError, match="is a folder: name the images in it"):
        prepare_image(model_of(1, 16), tmp_path)


def test_prepare_image__refuses_models_of_points(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(
        UsageError, match="this model draws 2-D points, not images: give rows of its test split"
    ):
        prepare_image(model_of(2, 1), tmp_path / "x.png")
    with pytest.raises(UsageError, match=r"draws 2-D points, \(N, 1, 1, 2\), got \(1, 16, 16, 3\)"):
        invert(model_of(2, 1), np.zeros((1, 16, 16, 3), np.uint8))


def test_prepare_image__refuses_other_files(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("hello")
    with pytest.raises(DataError, match=r"x\.png: not an image"):
        prepare_image(model_of(1, 16), tmp_path / "x.png")
