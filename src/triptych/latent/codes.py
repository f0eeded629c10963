"""Latent codes: points of a model's noise or style space, and the images that they decide.

Every model has a noise space. A style-based model (`core.style_space`) has a style space too, in which a step
along a straight line changes less at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from triptych.core import rng
from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean
from triptych.core.style_space import StyleBased
from triptych.inference.pipeline import Pipeline
from triptych.metrics.extractors.base import tensors_hash

Space = Literal["noise", "style"]
Labels = Sequence[int] | Tensor | np.ndarray | None


@dataclass(frozen=True)
class Codes:
    """N latent codes of one space, with the seeds and labels that their images depend on too."""

    space: Space
    values: Tensor  # (N, *noise_shape), or (N, layers, width) of styles; float32 on the CPU
    seeds: tuple[int, ...]  # N: of the sampler's own noise and random detail
    labels: Tensor | None = None  # (N,) int64 of a conditional model; styles include theirs already

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rows: Iterable[int]) -> Codes:
        """The codes of `rows`, in that order; a row may occur twice."""
        chosen = list(rows)
        labels = None if self.labels is None else self.labels[chosen]
        return Codes(self.space, self.values[chosen], tuple(self.seeds[row] for row in chosen), labels)

    def translate(self, step: Tensor) -> Codes:
        """The same codes, each plus `step`, which has the shape of one code or of all."""
        return replace(self, values=self.values + step)


def spaces_of(model: Pipeline) -> tuple[Space, ...]:
    """The latent spaces of a model."""
    return ("noise", "style") if isinstance(model.model, StyleBased) else ("noise",)


def code_shape(model: Pipeline, space: Space) -> tuple[int, ...]:
    """Give the shape of one code.

    Args:
        model: The model.
        space: "noise" or "style".

    Returns:
        The noise shape, or (layers, width).

    Raises:
        UsageError: The model does not have this space.
        AssertionError: Never: `Pipeline.styles` refuses a model without styles.
    """
    if space == "noise":
        return tuple(model.model.noise_shape)
    if space != "style":
        hint = did_you_mean(space, ("noise", "style"))
        raise UsageError(f"a space is 'noise' or 'style', got {space!r}.{hint}")
    if isinstance(model.model, StyleBased):
        return tuple(model.model.style_shape)
    model.styles(torch.empty(0))  # raises the sentence that says which models have styles
    raise AssertionError


def codes_at(
    model: Pipeline, seeds: Iterable[int], space: Space = "noise", labels: Labels = None, **controls: Any
) -> Codes:
    """Give the codes of seeds.

    Seeds, labels and controls that are out of range are refused with a ValueError.

    Args:
        model: The model.
        seeds: One per code, at least one.
        space: "noise" or "style".
        labels: One for all, one per seed, or None: drawn from the class distribution.
        **controls: Sampling controls of the model, which styles depend on (truncation).

    Returns:
        One code per seed.

    Raises:
        UsageError: The model does not have this space, or the number of labels does not fit.
    """
    code_shape(model, space)
    chosen = [int(seed) for seed in seeds]
    if not chosen:
        raise UsageError("at least one seed is needed")
    if labels is None:
        resolved = model.labels_for(chosen)
    else:
        resolved = torch.as_tensor(labels if isinstance(labels, Tensor) else np.array(labels)).reshape(-1)
    if resolved is not None and len(resolved) not in (1, len(chosen)):
        raise UsageError(
            f"expected one label, or one per code: got {len(resolved)} labels for {len(chosen)} codes"
        )
    if resolved is not None and len(resolved) == 1:
        resolved = resolved.expand(len(chosen))
    noise = rng.noise(chosen, model.model.noise_shape)  # (N, *noise shape)
    values = noise if space == "noise" else model.styles(noise, resolved, chosen, **controls)
    return Codes(space, values, tuple(chosen), resolved)


def synthesize(model: Pipeline, codes: Codes, **controls: Any) -> np.ndarray:
    """Generate the images of codes.

    Args:
        model: The model.
        codes: N codes.
        **controls: Sampling controls of the model; styles include truncation already.

    Returns:
        (N, H, W, C) uint8.
    """
    if codes.space == "style":
        return model.synthesize(codes.values, codes.seeds, **controls)
    return model.generate(codes.values, codes.labels, codes.seeds, **controls)


def model_hash(model: Pipeline) -> str:
    """SHA-256, in hex, of the weights used for sampling: what a direction belongs to."""
    sampling, later = (getattr(model.model, name, None) for name in ("ema_modules", "later_buffers"))
    state = {
        k: v for k, v in model.model.state_dict().items() if k not in (later or ())
    }  # as they were hashed
    return tensors_hash({k: v for k, v in state.items() if sampling is None or k.split(".")[0] in sampling})
