"""The pictures of the report: all drawn anew from the runs' weights, at fixed seeds."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from triptych.core import images as pixels
from triptych.core import rng as streams
from triptych.core.generative_model import GenerativeModel
from triptych.core.images import is_points
from triptych.core.types import GenerationStep
from triptych.inference.pipeline import Pipeline
from triptych.runs.weights import scored
from triptych.viz import grids

SEEDS = range(32)
CLOUD = range(1000)  # where pictures are points of a plane
FILM_FRAMES = 10
RECONSTRUCTED = 8
STRIP = 8


@dataclass(frozen=True)
class Album:
    """One model's pictures, as data URIs."""

    samples: str
    strip: str
    film: str | None
    film_steps: list[str] = field(default_factory=list)
    reconstruction: str | None = None
    errors: list[float] = field(default_factory=list)
    how: str = ""


def uri(picture: np.ndarray) -> str:
    """One (H, W, C) uint8 picture as a PNG data URI."""
    buffer = io.BytesIO()
    grids.to_pil(picture).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def sheet(pictures: Sequence[np.ndarray] | np.ndarray, columns: int) -> str:
    """Pictures in rows, as a data URI; enlarged whole pixels, so that small ones stay crisp."""
    stacked = np.asarray(pictures)
    return uri(grids.grid(stacked, columns, scale=max(1, 48 // stacked.shape[1]), gap_px=2))


def shown_of(pictures: np.ndarray) -> range:
    """How many pictures of this kind, (N, H, W, C), are shown together."""
    return CLOUD if is_points(pictures) else SEEDS


def album(model: Pipeline, real: np.ndarray, labels: np.ndarray | None) -> Album:
    """Draw everything the report shows of a model. real: (N, H, W, C) test pictures, labels: (N,)."""
    conditional = model.model.conditional
    seeds = shown_of(real)
    asked = [seed % model.spec.classes for seed in seeds] if conditional else None
    film, steps = _film(model)
    given = labels[:RECONSTRUCTED].tolist() if conditional and labels is not None else None
    real = real[:RECONSTRUCTED]
    found = model.invert(real, given)
    again = model.generate(found, given)
    errors = np.abs(again.astype(np.int64) - real).mean(axis=(1, 2, 3)).tolist()
    searches = type(model.model).invert is GenerativeModel.invert
    how = "by optimising the noise" if searches else f"by {model.model.title}'s own inverse"
    return Album(
        samples=sheet(model.sample(seeds, asked), 8),
        strip=sheet(_between(model), STRIP),
        film=film,
        film_steps=steps,
        reconstruction=sheet(np.concatenate([real, again]), len(real)),
        errors=errors,
        how=how,
    )


def _film(model: Pipeline) -> tuple[str | None, list[str]]:
    """A picture coming into being: noisy states above, predictions below; None for one-shot families."""
    labels = [0] if model.model.conditional else None
    frames: list[GenerationStep] = list(model.frames([3], labels))
    if len(frames) < 3 or frames[0].noisy.shape != frames[0].image().shape:
        return None, []
    chosen = [frames[round(k * (len(frames) - 1) / (FILM_FRAMES - 1))] for k in range(FILM_FRAMES)]
    rows = [pixels.to_uint8(frame.noisy)[0] for frame in chosen]
    rows += [pixels.to_uint8(frame.image())[0] for frame in chosen]
    return sheet(rows, FILM_FRAMES), [f"{frame.step}/{frame.steps}" for frame in chosen]


def _between(model: Pipeline) -> np.ndarray:
    """Pictures on the arc between the noises of two seeds: (STRIP, H, W, C)."""
    start, end = streams.noise([1, 2], model.model.noise_shape)
    steps = streams.slerp(start, end, torch.linspace(0, 1, STRIP))
    labels = [1] if model.model.conditional else None
    return model.generate(steps, labels, seeds=[1] * STRIP)


def neighbours(model: Pipeline, evaluation: Mapping[str, Any], train: np.ndarray) -> str | None:
    """The samples that lie nearest to training pictures, and below each that picture; None if not looked for.

    evaluation: as stored, of these very weights. train: (N, H, W, C) training pictures.
    """
    found = evaluation.get("detailed")
    if not found or not found["memorization"] or evaluation["step"] != model.step:
        return None
    if scored(evaluation) != model.weights:
        return None
    nearest = found["memorization"]["nearest"]
    first = evaluation["sampling"]["first_seed"]
    made = model.sample([first + number for number, _, _ in nearest])
    return sheet([*made, *(np.asarray(train[row]) for _, row, _ in nearest)], len(nearest))
