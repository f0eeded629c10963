"""How well an autoencoder reconstructs images that it was not trained on, and whether it may serve others."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from triptych.core.config import Record
from triptych.core.images import to_float
from triptych.inference.pipeline import SAMPLING_BATCH, Pipeline
from triptych.inference.reconstruction import reconstruct

if TYPE_CHECKING:
    from triptych.metrics.score import Score

LABELS_RECONSTRUCTIONS = "none: reconstructions of the test images"
MAX_FLOOR_RATIO = 10.0
"""A first stage whose reconstructions have a Frechet distance above so many times the floor blurs what a
second stage draws: see benchmarks/results/first_stage.md."""


class Reconstruction(Record):
    """Errors of reconstructions of test images."""

    n: int
    """Number of images."""
    mean_error: float
    """Mean absolute error in gray levels of 255."""
    psnr: float
    """Peak signal-to-noise ratio in dB, the mean over images."""
    code_share: float | None = None
    """Share of the codes that these images use; None for a latent without codes."""
    floor_ratio: float | None = None
    """Frechet distance of the reconstructions, divided by that of as many training images."""

    def sentence(self) -> str:
        """For a person."""
        codes = "" if self.code_share is None else f", {self.code_share:.0%} of the codes used"
        ratio = (
            "" if self.floor_ratio is None else f"; Frechet distance {self.floor_ratio:.2g} times the floor"
        )
        return (
            f"reconstruction of {self.n:,} test images: mean error {self.mean_error:.2f} of 255 gray levels, "
            f"PSNR {self.psnr:.1f} dB{codes}{ratio}"
        )


def reconstruct_all(
    pipeline: Pipeline, pixels: np.ndarray, progress: Callable[[str, int, int], None] | None = None
) -> tuple[np.ndarray, float]:
    """Encode and decode images.

    Args:
        pipeline: The autoencoder.
        pixels: (N, H, W, C) uint8.
        progress: Called with "samples", how many are done, and of how many.

    Returns:
        The reconstructions, of the same shape, and the seconds that they took.
    """
    began, parts = time.perf_counter(), []
    for start in range(0, len(pixels), SAMPLING_BATCH):
        parts.append(reconstruct(pipeline, pixels[start : start + SAMPLING_BATCH]))
        if progress is not None:
            progress("samples", min(start + SAMPLING_BATCH, len(pixels)), len(pixels))
    return np.concatenate(parts), time.perf_counter() - began


def measure_reconstruction(
    pipeline: Pipeline, pixels: np.ndarray, reconstructed: np.ndarray, scores: tuple[Score, ...]
) -> Reconstruction:
    """Errors between images and their reconstructions.

    Args:
        pipeline: The autoencoder.
        pixels: (N, H, W, C) uint8.
        reconstructed: Their reconstructions, of the same shape.
        scores: Of the reconstructions; the Frechet distance and its floor are taken from them.

    Returns:
        The errors.
    """
    difference = pixels.astype(np.float64) - reconstructed
    squared = np.square(difference).mean(axis=(1, 2, 3))  # (N,)
    frechet = next((s for s in scores if s.card.metric == "FID"), None)
    ratio = frechet.value / frechet.floor if frechet is not None and frechet.floor else None
    return Reconstruction(
        n=len(pixels),
        mean_error=float(np.abs(difference).mean()),
        psnr=float(np.mean(10 * np.log10(255**2 / np.maximum(squared, 1e-6)))),
        code_share=code_share(pipeline.model, pixels),
        floor_ratio=ratio,
    )


def code_share(model: Any, pixels: np.ndarray) -> float | None:
    """Share of the codes of a quantized latent that images use; None for a model without codes.

    Args:
        model: The autoencoder.
        pixels: (N, H, W, C) uint8.

    Returns:
        A share in [0, 1], or None.
    """
    quantizer = getattr(model, "quantizer", None)
    if quantizer is None:
        return None
    device = next(model.parameters()).device
    used: set[int] = set()
    with torch.no_grad():
        for start in range(0, len(pixels), SAMPLING_BATCH):
            images = to_float(pixels[start : start + SAMPLING_BATCH]).to(device)
            used |= set(quantizer.indices(model.encode(images)).unique().tolist())
    return len(used) / quantizer.codes
