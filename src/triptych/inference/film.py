"""Films: the steps of a sampler as images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from triptych.core import images as pixel_values
from triptych.core.errors import UsageError
from triptych.inference.pipeline import SAMPLING_BATCH, Labels, Pipeline

Film = Literal["noisy", "predicted"]


def film_of(
    model: Pipeline, seeds: Sequence[int], labels: Labels, content: Film, **controls: Any
) -> np.ndarray:
    """Sample one batch of images and keep every step.

    Args:
        model: A model that samples in several steps: diffusion or flow matching.
        seeds: At most 64, one per image.
        labels: As `Pipeline.sample` takes them.
        content: "noisy", the state of the sampler at each step, or "predicted", the image that the model
            predicts from it.
        **controls: Fields of the model's Controls.

    Returns:
        (steps, N, H, W, C) uint8; the last step has the finished images.

    Raises:
        UsageError: For a model that samples in one step, one whose noise is no image, or too many seeds.
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
        if content == "noisy" and flat:
            raise UsageError(f"{model.model.title}'s noise is no image: take --film predicted")
        frames.append(pixel_values.to_uint8(frame.noisy if content == "noisy" else frame.image()))
    frames.append(pixel_values.to_uint8(frame.image()))
    return np.stack(frames)
