"""Films: the images of one batch as they come into being."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from triptych.core import images as pictures
from triptych.core.errors import UsageError
from triptych.inference.pipeline import SAMPLING_BATCH, Labels, Pipeline

Film = Literal["noisy", "predicted"]


def film_of(
    model: Pipeline, seeds: Sequence[int], labels: Labels, shown: Film, **controls: Any
) -> np.ndarray:
    """The images of one batch as they come into being: (F, N, H, W, C) uint8, the finished ones last.

    Args:
        model: A model that makes images in several steps: a diffusion model.
        seeds: At most 64, one image each.
        labels: As `Pipeline.sample` takes them.
        shown: "noisy", what the sampler holds at each step, or "predicted", the images it expects then.
        controls: Those of the model.

    Raises:
        UsageError: For a model that makes images in one step, one whose noise is no image, too many seeds.
    """
    if len(seeds) > SAMPLING_BATCH:
        raise UsageError(f"a film shows at most {SAMPLING_BATCH} images, got {len(seeds)} seeds: take fewer")
    size = model.spec.size
    flat = tuple(model.model.noise_shape) != (model.spec.channels, size, size)
    frames = []
    for frame in model.frames(seeds, labels, **controls):
        if frame.steps == 1:
            how = "with --steps 1 " if "steps" in controls else ""
            raise UsageError(
                f"{model.model.title} {how}makes an image in one step, of which there is no film: leave "
                "--film out"
            )
        if shown == "noisy" and flat:
            raise UsageError(f"{model.model.title}'s noise is no image: take --film predicted")
        frames.append(pictures.to_uint8(frame.noisy if shown == "noisy" else frame.image()))
    frames.append(pictures.to_uint8(frame.image()))
    return np.stack(frames)
