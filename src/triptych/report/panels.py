"""The images of the report: all sampled anew from the runs' weights, at fixed seeds."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from triptych.core import images as pixels
from triptych.core import rng as streams
from triptych.core.generative_model import GenerativeModel
from triptych.core.images import is_points
from triptych.core.types import GenerationStep
from triptych.evaluation.records import Evaluation
from triptych.inference.pipeline import Pipeline
from triptych.viz import grids

SEEDS = range(32)
POINT_SEEDS = range(1000)  # for 2-D toy data
TRAJECTORY_FRAMES = 10
RECONSTRUCTED = 8
STRIP = 8


@dataclass(frozen=True)
class Album:
    """One model's images, as data URIs."""

    samples: str
    interpolation: str  # between the noises of two seeds
    trajectory: str | None  # one image, from noise on; None for models that sample in one step
    trajectory_steps: list[str] = field(default_factory=list)
    reconstruction: str | None = None  # test images above, reconstructions below
    errors: list[float] = field(default_factory=list)  # mean absolute error of each, in gray levels
    method: str = ""  # how the noise was found


def image_uri(image: np.ndarray) -> str:
    """Encode one (H, W, C) uint8 image as a PNG data URI."""
    buffer = io.BytesIO()
    grids.to_pil(image).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def image_grid(images: Sequence[np.ndarray] | np.ndarray, columns: int) -> str:
    """Lay images out in rows; pixels are enlarged by a whole number, so that small images stay crisp.

    Args:
        images: (N, H, W, C) uint8.
        columns: Images in a row.

    Returns:
        A PNG data URI.
    """
    stacked = np.asarray(images)
    return image_uri(grids.grid(stacked, columns, scale=max(1, 48 // stacked.shape[1]), gap_px=2))


def seeds_for(images: np.ndarray) -> range:
    """The seeds that are shown together: 32 for images (N, H, W, C), more for 2-D points."""
    return POINT_SEEDS if is_points(images) else SEEDS


def draw_album(model: Pipeline, real: np.ndarray, labels: np.ndarray | None) -> Album:
    """Sample everything that the report shows of a model.

    Args:
        model: The trained model.
        real: Test images, (N, H, W, C) uint8; the first few are reconstructed.
        labels: Their classes, (N,); None without classes.

    Returns:
        The images as data URIs.
    """
    conditional = model.model.conditional
    seeds = seeds_for(real)
    classes = [seed % model.spec.classes for seed in seeds] if conditional else None
    trajectory, steps = _trajectory(model)
    given = labels[:RECONSTRUCTED].tolist() if conditional and labels is not None else None
    real = real[:RECONSTRUCTED]
    noise = model.invert(real, given)
    reconstructed = model.generate(noise, given)
    errors = np.abs(reconstructed.astype(np.int64) - real).mean(axis=(1, 2, 3)).tolist()
    searches = type(model.model).invert is GenerativeModel.invert
    method = "by optimizing the noise" if searches else f"by {model.model.title}'s own inverse"
    return Album(
        samples=image_grid(model.sample(seeds, classes), 8),
        interpolation=image_grid(_interpolation(model), STRIP),
        trajectory=trajectory,
        trajectory_steps=steps,
        reconstruction=image_grid(np.concatenate([real, reconstructed]), len(real)),
        errors=errors,
        method=method,
    )


def _trajectory(model: Pipeline) -> tuple[str | None, list[str]]:
    """One image from noise on: noisy states above, predictions below; None for one-step models."""
    labels = [0] if model.model.conditional else None
    frames: list[GenerationStep] = list(model.frames([3], labels))
    if len(frames) < 3 or frames[0].noisy.shape != frames[0].image().shape:
        return None, []
    chosen = [
        frames[round(k * (len(frames) - 1) / (TRAJECTORY_FRAMES - 1))] for k in range(TRAJECTORY_FRAMES)
    ]
    rows = [pixels.to_uint8(frame.noisy)[0] for frame in chosen]
    rows += [pixels.to_uint8(frame.image())[0] for frame in chosen]
    return image_grid(rows, TRAJECTORY_FRAMES), [f"{frame.step}/{frame.steps}" for frame in chosen]


def _interpolation(model: Pipeline) -> np.ndarray:
    """Images along the spherical interpolation (slerp) of the noises of two seeds: (STRIP, H, W, C)."""
    start, end = streams.noise([1, 2], model.model.noise_shape)
    steps = streams.slerp(start, end, torch.linspace(0, 1, STRIP))
    labels = [1] if model.model.conditional else None
    return model.generate(steps, labels, seeds=[1] * STRIP)


def nearest_training_images(model: Pipeline, evaluation: Evaluation | None, train: np.ndarray) -> str | None:
    """Show the samples that lie nearest to training images, and below each of them that image.

    Args:
        model: The trained model.
        evaluation: The newest evaluation; it must be of these very weights.
        train: Training images, (N, H, W, C) uint8.

    Returns:
        A PNG data URI; None where no nearest images were searched for.
    """
    detailed = None if evaluation is None else evaluation.detailed
    if evaluation is None or detailed is None or detailed.memorization is None:
        return None
    if evaluation.step != model.step or evaluation.weights != model.weights:
        return None
    nearest = detailed.memorization.nearest
    first = evaluation.sampling.first_seed
    samples = model.sample([first + number for number, _, _ in nearest])
    return image_grid([*samples, *(np.asarray(train[row]) for _, row, _ in nearest)], len(nearest))
