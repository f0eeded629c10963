"""Inversion: which point of a space would draw a given picture, and how far off what it draws is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from triptych.core import images as pictures
from triptych.core.config import Record, read_settings
from triptych.core.errors import DataError, UsageError
from triptych.core.generative_model import StraightThroughClamp
from triptych.core.style_space import StyleBased
from triptych.data.datasets import celeba
from triptych.data.datasets.published import padded_side
from triptych.data.image_ops import decode, from_any, in_mode, is_gray, padded, square
from triptych.inference.pipeline import SAMPLING_BATCH, Pipeline
from triptych.latent.codes import Codes, Labels, Space, code_shape, codes_at, paint
from triptych.metrics.extractors.base import Extractor

STARTS = 512  # seeds among whose pictures the nearest is where the search begins
FIRST_SEED = 4_000_000
STRANGERS = 32  # unrelated samples of each class, beside which an error is told
STEPS, RATE = 200, 0.05
TETHER = 0.002  # pull of styles towards where styles usually are, against squared error in [-1, 1]
LEVELS = 255.0


class Found(Record):
    """How near one picture was come to."""

    picture: str
    error: float
    """Mean squared error, on the scale of [-1, 1]."""
    psnr: float
    """Peak signal-to-noise ratio, decibels."""
    chance: float
    """The mean squared error of 32 unrelated samples of the model, of the same class where it has classes."""
    features: float | None
    """Distance in features to the picture, over the mean one of these samples: 0 is the same, 1 chance."""
    judge: str | None = None
    """Whose features."""


@dataclass(frozen=True)
class Inversion:
    """Given pictures, the codes found for them and what these draw."""

    codes: Codes
    given: np.ndarray  # (N, H, W, C) uint8
    drawn: np.ndarray  # (N, H, W, C) uint8
    found: tuple[Found, ...]


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
    """Find the codes of pictures, and measure how far what they draw is off.

    pixels: (N, H, W, C) uint8 of the model's size and channels; see `prepared` for others. space: "noise"
    asks the family (an encoder, a deterministic sampler run backwards, or a search); "style" searches for
    styles, one a layer of their own (W+ of Abdal et al. 2019), near where the mapping puts them. labels: of
    the pictures, for a conditional model. steps: of the search for styles. Raises ValueError for pictures of
    another size or color mode, and whatever `classes_of` does. What is found for a picture does not depend
    on the others, but for rounding: all searches have the seed 0, and so have the codes.
    """
    _fits(model, pixels)
    told = classes_of(model, len(pixels), space, labels, **controls)
    if space == "style":
        values = _styles_of(model, pixels, told, steps, **controls)
    else:
        values = model.invert(pixels, told, [0] * len(pixels), **controls)
    codes = Codes(space, values, (0,) * len(pixels), told)
    drawn = paint(model, codes, **controls)
    return Inversion(codes, pixels, drawn, _errors(model, pixels, drawn, told, extractor, names, **controls))


def classes_of(
    model: Pipeline, count: int, space: Space = "noise", labels: Labels = None, **controls: Any
) -> Tensor | None:
    """The class of each of `count` pictures to invert, (count,) int64; None for a model without labels.

    Raises UsageError for a space that the model has not, for labels that a conditional model lacks and for
    another number of them, ValueError for unfit labels or controls: cheap, before anything long is begun.
    """
    code_shape(model, space)
    if labels is None and model.model.conditional:
        raise UsageError(
            f"this {model.model.title} was trained with labels: say which class each picture is of, as in "
            f"--labels 3 (0-{model.spec.classes - 1})"
        )
    told = codes_at(model, range(count), "noise", labels).labels
    kinds = None if told is None else told.unique()
    model.sample(range(1 if kinds is None else len(kinds)), kinds, **controls)  # refuses what is unfit
    return told


def _errors(
    model: Pipeline,
    given: np.ndarray,
    drawn: np.ndarray,
    labels: Tensor | None,
    extractor: Extractor | None,
    names: Sequence[str] | None,
    **controls: Any,
) -> tuple[Found, ...]:
    kinds = [0] * len(given) if labels is None else labels.tolist()
    errors, chances = _mean_squares(given, drawn), np.empty(len(given))
    shares: list[float | None] = [None] * len(given)
    if extractor is not None:
        real, mine = extractor(given), extractor(drawn)
    for kind in set(kinds):  # strangers are of the same class: others are easily farther
        other = strangers(model, None if labels is None else kind, **controls)
        others = None if extractor is None else extractor(other)
        for k in (k for k, own in enumerate(kinds) if own == kind):
            chances[k] = _mean_squares(given[k : k + 1], other).mean()
            if others is not None:
                apart = np.linalg.norm(real[k] - others, axis=1).mean()
                shares[k] = float(np.linalg.norm(real[k] - mine[k]) / max(apart, 1e-12))
    return tuple(
        Found(
            picture=names[k] if names else str(k),
            error=float(errors[k]),
            psnr=float(10 * np.log10(4 / max(errors[k], 1e-9))),  # peak: from -1 to 1
            chance=float(chances[k]),
            features=shares[k],
            judge=None if extractor is None else extractor.name,
        )
        for k in range(len(given))
    )


def strangers(model: Pipeline, label: int | None, **controls: Any) -> np.ndarray:
    """(32, H, W, C) uint8: always the same samples of a class, or of a model without classes."""
    told = None if label is None else [label]
    codes = codes_at(model, range(FIRST_SEED, FIRST_SEED + STRANGERS), labels=told, **controls)
    return paint(model, codes, **controls)


def _mean_squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) of N pictures and N others, or of one and N others."""
    gap = (a.astype(np.float64) - b) * pictures.LEVEL_STEP
    return (gap**2).reshape(len(gap), -1).mean(1)


def _fits(model: Pipeline, pixels: np.ndarray) -> None:
    spec = model.spec
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or not len(pixels):
        raise UsageError(f"expected pictures (N, H, W, C) uint8, got {pixels.shape} {pixels.dtype}")
    if pixels.shape[1:] != (spec.size, spec.size, spec.channels):
        _, height, width, channels = pixels.shape
        if spec.size == 1:
            raise UsageError(f"this model draws points, (N, 1, 1, {spec.channels}), got {pixels.shape}")
        raise UsageError(
            f"this model draws pictures of {spec.size} x {spec.size} px in {_mode(spec.channels)}, got "
            f"{width} x {height} px in {_mode(channels)}: bring them there with steer.inverting.prepared, or "
            "give the files to triptych steer RUN invert, which does so and says what it did"
        )


def _mode(channels: int) -> str:
    return {1: "gray", 3: "color"}.get(channels, f"{channels} channels")


def prepared(model: Pipeline, file: Path) -> tuple[np.ndarray, str | None]:
    """A picture file as the model's own pictures were prepared, (H, W, C) uint8, and what was done to it.

    The second is a sentence, None where the picture fitted as it was. The run's source decides: a 28 px
    picture is laid on the black ground that MNIST's and Fashion-MNIST's are padded with, if those were
    learnt (or the model is of 32 px and has no run to tell); an aligned face for a model of `celeba` is cut
    as that set's are; all are then cut to their middle square and resized. Raises UsageError where there is
    no file and for a model of points, DataError, with the file's name, for one that is no picture.
    """
    spec = model.spec
    if spec.size == 1:
        raise UsageError(
            "this model draws points, not pictures: give rows of its test split, as in --test-rows 0-7"
        )
    if not file.is_file():
        if file.is_dir():
            raise UsageError(f"{file} is a folder: name the pictures in it, as in {file / 'a.png'}")
        raise UsageError(f"there is no picture {file}")
    source = None if model.run is None else model.run.card.data.source
    of_faces = source == "celeba"
    side = (32 if spec.size == 32 else None) if source is None else padded_side(source, spec.size)
    try:
        image = decode(file, max(spec.size, celeba.WIDTH_PX) if of_faces else spec.size)
    except DataError as error:
        raise DataError(f"{file.name}: {error}") from error
    given, done = image.size, []
    if of_faces and given == (celeba.WIDTH_PX, celeba.HEIGHT_PX):
        image = celeba.middle(image)
        done.append(
            f"cut to its middle {celeba.CROP_PX} x {celeba.CROP_PX} px, as the faces that were learnt from"
        )
    mode: Literal["gray", "rgb"] = "gray" if spec.channels == 1 else "rgb"
    turned = mode == "gray" and not is_gray(image)
    if image.size == (28, 28) and side is not None and side > 28:
        image = from_any(padded(in_mode(image, mode)[None], side)[0][0])
        done.append(f"laid on a black ground of {side} x {side} px")
    if image.width != image.height:
        done.append("cut to its middle square")
    if min(image.size) != spec.size:
        done.append(f"resized to {spec.size} x {spec.size} px")
    pixels = in_mode(square(image, spec.size), mode)
    if turned:
        done.append("turned gray")
    told = f"{file.name} ({given[0]} x {given[1]} px) was {', then '.join(done)}" if done else None
    return pixels, told


# --- the search for styles ---


def _styles_of(
    model: Pipeline, pixels: np.ndarray, told: Tensor | None, steps: int, **controls: Any
) -> Tensor:
    """(N, layers, width): from the nearest of many seeds' styles downhill in squared error.

    told: (N,) classes. Each class has its own seeds: another's styles lie elsewhere.
    """
    found = torch.empty(len(pixels), *code_shape(model, "style"))
    if told is None:
        _search(model, pixels, range(len(pixels)), None, found, steps, **controls)
    else:
        for label in told.unique().tolist():
            rows = torch.nonzero(told == label)[:, 0].tolist()
            _search(model, pixels, rows, [label], found, steps, **controls)
    return found


def _search(
    model: Pipeline,
    pixels: np.ndarray,
    chosen: Sequence[int],
    label: list[int] | None,
    found: Tensor,
    steps: int,
    **controls: Any,
) -> None:
    """Fill the rows `chosen` of found, (N, layers, width): pictures of one class, or of a model without."""
    family = model.model
    assert isinstance(family, StyleBased)
    settings = read_settings(family.Controls, controls, f"{family.title}'s controls")
    pool = codes_at(model, range(FIRST_SEED, FIRST_SEED + STARTS), "style", label, **controls)
    seen = paint(model, pool, **controls).reshape(STARTS, -1).astype(np.float32)
    mean, spread = (
        part.to(model.device) for part in (pool.values.mean(0), pool.values.std(0).clamp(min=1e-3))
    )
    for start in range(0, len(chosen), SAMPLING_BATCH):
        rows = list(chosen[start : start + SAMPLING_BATCH])
        flat = pixels[rows].reshape(len(rows), -1).astype(np.float32)
        nearest = ((seen**2).sum(1) - 2 * flat @ seen.T).argmin(1)  # (B,)
        wanted = pictures.to_float(pixels[rows]).to(model.device)
        begun = pool.values[torch.from_numpy(nearest)].to(model.device)
        loss = partial(_style_loss, family, settings, wanted, [0] * len(rows), mean, spread)
        found[rows] = descend(loss, begun, spread, steps).cpu()


def _style_loss(
    family: StyleBased,
    settings: Any,
    wanted: Tensor,
    seeds: list[int],
    mean: Tensor,
    spread: Tensor,
    styles: Tensor,
) -> Tensor:
    """Squared error of the pictures, and how far the styles are from where the mapping puts them."""
    with StraightThroughClamp():
        shown = family.synthesize(styles, seeds, settings)
    error = (shown - wanted).square().flatten(1).mean(1)  # (B,)
    away = ((styles - mean) / spread).square().flatten(1).mean(1)
    return (error + TETHER * away).sum()


def descend(loss: Callable[[Tensor], Tensor], start: Tensor, scale: Tensor, steps: int) -> Tensor:
    """Walk downhill from `start` with Adam, in units of `scale`; the rate falls to 0 along half a cosine."""
    moved = torch.zeros_like(start).requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    with torch.enable_grad():
        for _ in range(steps):
            (moved.grad,) = torch.autograd.grad(loss(start + moved * scale), moved)
            optimizer.step()
            schedule.step()
    return (start + moved * scale).detach()
