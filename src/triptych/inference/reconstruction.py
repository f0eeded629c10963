"""Images encoded and decoded again."""

from __future__ import annotations

from typing import Any

import numpy as np

from triptych.inference.pipeline import Pipeline


def reconstruct(pipeline: Pipeline, pixels: np.ndarray, **controls: Any) -> np.ndarray:
    """Find each image's noise and generate from it: of an autoencoder, encode and decode.

    Args:
        pipeline: The model.
        pixels: (N, H, W, C) uint8.
        **controls: Sampling settings of the model.

    Returns:
        (N, H, W, C) uint8.
    """
    return pipeline.generate(pipeline.invert(pixels, **controls), **controls)
