"""Inversion: the latent code of a given image, and the error of its reconstruction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from triptych.core import images as pixel_range
from triptych.core.config import Record, read_settings
from triptych.core.errors import DataError, UsageError
from triptych.core.generative_model import StraightThroughClamp
from triptych.core.style_space import StyleBased
from triptych.data.datasets import celeba
from triptych.data.datasets.published import padded_side
from triptych.data.image_ops import decode, from_any, in_mode, is_gray, padded, square
from triptych.inference.pipeline import SAMPLING_BATCH, Pipeline
from triptych.latent.codes import Codes, Labels, Space, code_shape, codes_at, synthesize
from triptych.metrics.extractors.base import Extractor

STARTS = 512  # seeds; the search begins at the one whose image is nearest
FIRST_SEED = 4_000_000
BASELINE_SAMPLES = 32  # unrelated samples of each class, which an error is compared with
STEPS, LR = 200, 0.05
PRIOR_WEIGHT = 0.002  # of the penalty on unusual styles, relative to the squared error in [-1, 1]


class Reconstruction(Record):
    """How well one image was reconstructed."""

    image: str
    """Its name."""
    mse: float
    """Mean squared error, on the scale of [-1, 1]."""
    psnr: float
    """Peak signal-to-noise ratio, decibels."""
    baseline_mse: float
    """The mean squared error of 32 unrelated samples of the model, of the same class where it has classes."""
    feature_distance: float | None
    """Distance in features to the image, over the mean one of these samples: 0 is the same, 1 chance."""
    extractor: str | None = None
    """The feature extractor."""


@dataclass(frozen=True)
class Inversion:
    """Given images, their codes and the reconstructions."""

    codes: Codes
    images: np.ndarray  # (N, H, W, C) uint8
    reconstructed: np.ndarray  # (N, H, W, C) uint8
    errors: tuple[Reconstruction, ...]


def invert(
    model: Pipeline,
    pixels: np.ndarray,
    space: Space = "noise",
    labels: Labels = None,
    extractor: Extractor | None = None,
    names: Sequence[str] | None = None,
    steps: int = STEPS,
    **controls: Any,
) -> Inversion:
    """Find the codes of images, and measure the error of their reconstructions.

    The code of an image does not depend on the others, up to rounding: all searches have the seed 0, and so
    have the codes. Images of another shape and labels that do not fit are refused with a UsageError.

    Args:
        model: The model.
        pixels: (N, H, W, C) uint8, of the model's size and channels; see `prepare_image` for others.
        space: "noise" asks the model (an encoder, a deterministic sampler run backwards, or a search);
            "style" searches for styles, one for each layer (W+), near those of the mapping network.
        labels: Of the images, for a conditional model.
        extractor: Measures distances in features too; None for not.
        names: Of the images, for the records.
        steps: Optimizer steps of the search for styles.
        **controls: Sampling controls of the model.

    Returns:
        Codes, reconstructions and their errors.

    References:
        Abdal, Qin and Wonka 2019, "Image2StyleGAN", section 5.
    """
    _check_shape(model, pixels)
    classes = resolve_labels(model, len(pixels), space, labels, **controls)
    if space == "style":
        values = _search_styles(model, pixels, classes, steps, **controls)
    else:
        values = model.invert(pixels, classes, [0] * len(pixels), **controls)
    codes = Codes(space, values, (0,) * len(pixels), classes)
    images = synthesize(model, codes, **controls)
    errors = _errors(model, pixels, images, classes, extractor, names, **controls)
    return Inversion(codes, pixels, images, errors)


def resolve_labels(
    model: Pipeline, count: int, space: Space = "noise", labels: Labels = None, **controls: Any
) -> Tensor | None:
    """Resolve the class of each image to invert, and check the arguments before anything long is begun.

    Labels and controls that are out of range are refused with a ValueError.

    Args:
        model: The model.
        count: The number of images.
        space: "noise" or "style".
        labels: One for all, or one per image; None for a model without labels.
        **controls: Sampling controls of the model.

    Returns:
        (count,) int64; None for a model without labels.

    Raises:
        UsageError: The model does not have this space, or a conditional model lacks labels, or their number
            does not fit.
    """
    code_shape(model, space)
    if labels is None and model.model.conditional:
        raise UsageError(
            f"this {model.model.title} was trained with labels: give the class of each image, as in "
            f"--labels 3 (0-{model.spec.classes - 1})"
        )
    resolved = codes_at(model, range(count), "noise", labels).labels
    classes = None if resolved is None else resolved.unique()
    model.sample(range(1 if classes is None else len(classes)), classes, **controls)  # checks the range
    return resolved


def _errors(
    model: Pipeline,
    images: np.ndarray,
    reconstructed: np.ndarray,
    labels: Tensor | None,
    extractor: Extractor | None,
    names: Sequence[str] | None,
    **controls: Any,
) -> tuple[Reconstruction, ...]:
    classes = [0] * len(images) if labels is None else labels.tolist()
    errors, baselines = _mean_squares(images, reconstructed), np.empty(len(images))
    shares: list[float | None] = [None] * len(images)
    if extractor is not None:
        real, ours = extractor(images), extractor(reconstructed)
    for label in set(classes):  # compared with samples of the same class: others are easily farther
        samples = baseline_samples(model, None if labels is None else label, **controls)
        features = None if extractor is None else extractor(samples)
        for k in (k for k, own in enumerate(classes) if own == label):
            baselines[k] = _mean_squares(images[k : k + 1], samples).mean()
            if features is not None:
                unrelated = np.linalg.norm(real[k] - features, axis=1).mean()
                shares[k] = float(np.linalg.norm(real[k] - ours[k]) / max(unrelated, 1e-12))
    return tuple(
        Reconstruction(
            image=names[k] if names else str(k),
            mse=float(errors[k]),
            psnr=float(10 * np.log10(4 / max(errors[k], 1e-9))),  # peak: from -1 to 1
            baseline_mse=float(baselines[k]),
            feature_distance=shares[k],
            extractor=None if extractor is None else extractor.name,
        )
        for k in range(len(images))
    )


def baseline_samples(model: Pipeline, label: int | None, **controls: Any) -> np.ndarray:
    """Draw always the same samples, which reconstructions are compared with.

    Args:
        model: The model.
        label: Their class; None for a model without classes.
        **controls: Sampling controls of the model.

    Returns:
        (32, H, W, C) uint8.
    """
    labels = None if label is None else [label]
    codes = codes_at(model, range(FIRST_SEED, FIRST_SEED + BASELINE_SAMPLES), labels=labels, **controls)
    return synthesize(model, codes, **controls)


def _mean_squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) of N images and N others, or of one and N others."""
    gap = (a.astype(np.float64) - b) * pixel_range.LEVEL_STEP
    return (gap**2).reshape(len(gap), -1).mean(1)


def _check_shape(model: Pipeline, pixels: np.ndarray) -> None:
    spec = model.spec
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or not len(pixels):
        raise UsageError(f"expected images (N, H, W, C) uint8, got {pixels.shape} {pixels.dtype}")
    if pixels.shape[1:] != (spec.size, spec.size, spec.channels):
        _, height, width, channels = pixels.shape
        if spec.size == 1:
            raise UsageError(f"this model draws 2-D points, (N, 1, 1, {spec.channels}), got {pixels.shape}")
        raise UsageError(
            f"this model draws images of {spec.size} x {spec.size} px in {_mode(spec.channels)}, got "
            f"{width} x {height} px in {_mode(channels)}: convert them with "
            "triptych.latent.inversion.prepare_image, or give the files to "
            "triptych steer RUN invert, which converts them and says how"
        )


def _mode(channels: int) -> str:
    return {1: "gray", 3: "color"}.get(channels, f"{channels} channels")


def prepare_image(model: Pipeline, file: Path) -> tuple[np.ndarray, str | None]:
    """Read an image file and prepare it as the model's training images were.

    The run's data set decides: a 28 px image is padded with black as MNIST's and Fashion-MNIST's are, if the
    model was trained on those (or is of 32 px and has no run); an aligned face for a model of `celeba` is
    cropped as that set's are; all are then cropped to their middle square and resized.

    Args:
        model: The model.
        file: An image file.

    Returns:
        (H, W, C) uint8, and a sentence on what was done to it; None where the image fitted as it was.

    Raises:
        UsageError: There is no such file, or the model draws 2-D points.
        DataError: The file is no image.
    """
    spec = model.spec
    if spec.size == 1:
        raise UsageError(
            "this model draws 2-D points, not images: give rows of its test split, as in --test-rows 0-7"
        )
    if not file.is_file():
        if file.is_dir():
            raise UsageError(f"{file} is a folder: name the images in it, as in {file / 'a.png'}")
        raise UsageError(f"there is no image {file}")
    source = None if model.run is None else model.run.card.data.source
    of_faces = source == "celeba"
    side = (32 if spec.size == 32 else None) if source is None else padded_side(source, spec.size)
    try:
        image = decode(file, max(spec.size, celeba.WIDTH_PX) if of_faces else spec.size)
    except DataError as error:
        raise DataError(f"{file.name}: {error}") from error
    original, done = image.size, []
    if of_faces and original == (celeba.WIDTH_PX, celeba.HEIGHT_PX):
        image = celeba.middle(image)
        done.append(f"cropped to its middle {celeba.CROP_PX} x {celeba.CROP_PX} px, as the training images")
    mode: Literal["gray", "rgb"] = "gray" if spec.channels == 1 else "rgb"
    turned = mode == "gray" and not is_gray(image)
    if image.size == (28, 28) and side is not None and side > 28:
        image = from_any(padded(in_mode(image, mode)[None], side)[0][0])
        done.append(f"padded with black to {side} x {side} px")
    if image.width != image.height:
        done.append("cropped to its middle square")
    if min(image.size) != spec.size:
        done.append(f"resized to {spec.size} x {spec.size} px")
    pixels = in_mode(square(image, spec.size), mode)
    if turned:
        done.append("converted to gray")
    sentence = f"{file.name} ({original[0]} x {original[1]} px) was {', then '.join(done)}" if done else None
    return pixels, sentence


# --- the search for styles ---


def _search_styles(
    model: Pipeline, pixels: np.ndarray, classes: Tensor | None, steps: int, **controls: Any
) -> Tensor:
    """(N, layers, width): minimizes the squared error, from the nearest of many seeds' styles.

    classes: (N,). Each class has its own seeds: the styles of another are elsewhere.
    """
    styles = torch.empty(len(pixels), *code_shape(model, "style"))
    if classes is None:
        _search(model, pixels, range(len(pixels)), None, styles, steps, **controls)
    else:
        for label in classes.unique().tolist():
            rows = torch.nonzero(classes == label)[:, 0].tolist()
            _search(model, pixels, rows, [label], styles, steps, **controls)
    return styles


def _search(
    model: Pipeline,
    pixels: np.ndarray,
    chosen: Sequence[int],
    label: list[int] | None,
    styles: Tensor,
    steps: int,
    **controls: Any,
) -> None:
    """Fill the rows `chosen` of styles, (N, layers, width): images of one class, or of a model without."""
    module = model.model
    assert isinstance(module, StyleBased)
    settings = read_settings(module.Controls, controls, f"{module.title}'s controls")
    pool = codes_at(model, range(FIRST_SEED, FIRST_SEED + STARTS), "style", label, **controls)
    drawn = synthesize(model, pool, **controls).reshape(STARTS, -1).astype(np.float32)
    mean, std = (part.to(model.device) for part in (pool.values.mean(0), pool.values.std(0).clamp(min=1e-3)))
    for start in range(0, len(chosen), SAMPLING_BATCH):
        rows = list(chosen[start : start + SAMPLING_BATCH])
        flat = pixels[rows].reshape(len(rows), -1).astype(np.float32)
        nearest = ((drawn**2).sum(1) - 2 * flat @ drawn.T).argmin(1)  # (B,)
        target = pixel_range.to_float(pixels[rows]).to(model.device)
        start_styles = pool.values[torch.from_numpy(nearest)].to(model.device)
        loss = partial(_style_loss, module, settings, target, [0] * len(rows), mean, std)
        styles[rows] = minimize(loss, start_styles, std, steps).cpu()


def _style_loss(
    module: StyleBased,
    settings: Any,
    target: Tensor,
    seeds: list[int],
    mean: Tensor,
    std: Tensor,
    styles: Tensor,
) -> Tensor:
    """Squared error of the images, and a penalty on styles unlike those of the mapping network."""
    with StraightThroughClamp():
        images = module.synthesize(styles, seeds, settings)
    error = (images - target).square().flatten(1).mean(1)  # (B,)
    penalty = ((styles - mean) / std).square().flatten(1).mean(1)
    return (error + PRIOR_WEIGHT * penalty).sum()


def minimize(loss: Callable[[Tensor], Tensor], start: Tensor, scale: Tensor, steps: int) -> Tensor:
    """Minimize a loss with Adam; the learning rate falls to 0 along a half cosine.

    Args:
        loss: Of a point, a scalar.
        start: Where to start.
        scale: The unit of steps, elementwise.
        steps: Optimizer steps.

    Returns:
        The last point, of the shape of `start`.
    """
    offset = torch.zeros_like(start).requires_grad_()
    optimizer = torch.optim.Adam([offset], lr=LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    with torch.enable_grad():
        for _ in range(steps):
            (offset.grad,) = torch.autograd.grad(loss(start + offset * scale), offset)
            optimizer.step()
            schedule.step()
    return (start + offset * scale).detach()
