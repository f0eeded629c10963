"""Points of a model's spaces: what decides a picture, and the picture it decides.

Every family has the space of its noise. A family with styles (`core.style_space`) has theirs too, where one
step along a straight line changes less at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from triptych.core import rng as streams
from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean
from triptych.core.style_space import StyleBased
from triptych.inference.pipeline import Pipeline
from triptych.metrics.extractors.base import tensors_hash

Space = Literal["noise", "style"]
Labels = Sequence[int] | Tensor | np.ndarray | None


@dataclass(frozen=True)
class Codes:
    """N points of one space, and what else their pictures depend on."""

    space: Space
    values: Tensor  # (N, *noise_shape), or (N, layers, width) of styles; float32 on the CPU
    seeds: tuple[int, ...]  # N: the sampler's own noise and random detail
    labels: Tensor | None = None  # (N,) int64 of a conditional model; styles hold theirs already

    def __len__(self) -> int:
        return len(self.values)

    def cut(self, rows: Iterable[int]) -> Codes:
        """The points `rows`, in that order; a row may come twice."""
        chosen = list(rows)
        labels = None if self.labels is None else self.labels[chosen]
        return Codes(self.space, self.values[chosen], tuple(self.seeds[row] for row in chosen), labels)

    def moved(self, step: Tensor) -> Codes:
        """The same points, each moved by `step`, which fits one point or all."""
        return replace(self, values=self.values + step)


def spaces_of(model: Pipeline) -> tuple[Space, ...]:
    """The spaces that a model can be steered in."""
    return ("noise", "style") if isinstance(model.model, StyleBased) else ("noise",)


def code_shape(model: Pipeline, space: Space) -> tuple[int, ...]:
    """The shape of one point. Raises UsageError for a space that the model has not."""
    if space == "noise":
        return tuple(model.model.noise_shape)
    if space != "style":
        hint = did_you_mean(space, ("noise", "style"))
        raise UsageError(f"a space is 'noise' or 'style', got {space!r}.{hint}")
    if isinstance(model.model, StyleBased):
        return tuple(model.model.style_shape)
    model.styles(torch.empty(0))  # raises the sentence that says which families have styles
    raise AssertionError


def codes_at(
    model: Pipeline, seeds: Iterable[int], space: Space = "noise", labels: Labels = None, **controls: Any
) -> Codes:
    """The points that seeds stand for. labels: one for all, one a seed, or None (drawn by the class law).

    Raises UsageError for a space the model has not and for another number of labels, ValueError for unfit
    seeds, labels or controls.
    """
    code_shape(model, space)
    chosen = [int(seed) for seed in seeds]
    if not chosen:
        raise UsageError("at least one seed is needed")
    if labels is None:
        told = model.labels_for(chosen)
    else:
        told = torch.as_tensor(labels if isinstance(labels, Tensor) else np.array(labels)).reshape(-1)
    if told is not None and len(told) not in (1, len(chosen)):
        raise UsageError(f"give one label, or one a code: {len(told)} labels for {len(chosen)} codes")
    if told is not None and len(told) == 1:
        told = told.expand(len(chosen))
    noise = streams.noise(chosen, model.model.noise_shape)  # (N, *noise shape)
    values = noise if space == "noise" else model.styles(noise, told, chosen, **controls)
    return Codes(space, values, tuple(chosen), told)


def paint(model: Pipeline, codes: Codes, **controls: Any) -> np.ndarray:
    """The pictures of points: (N, H, W, C) uint8. Styles have taken truncation in already."""
    if codes.space == "style":
        return model.synthesize(codes.values, codes.seeds, **controls)
    return model.generate(codes.values, codes.labels, codes.seeds, **controls)


def model_hash(model: Pipeline) -> str:
    """SHA-256, in hex, of the weights that draw: what a direction belongs to."""
    shown = getattr(model.model, "ema_modules", None)
    held = model.model.state_dict()
    return tensors_hash({k: v for k, v in held.items() if shown is None or k.split(".")[0] in shown})
