"""Guidance: denoisers made of two denoisers."""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.diffusion.denoisers import Denoiser, Prediction


def classifier_free_guidance(conditional: Denoiser, unconditional: Denoiser, guidance: float) -> Denoiser:
    """Classifier-free guidance (Ho and Salimans 2022); guidance 1 is none: the conditional model."""
    if guidance == 1:
        return conditional

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        with_, without = conditional(x_t, t), unconditional(x_t, t)
        return Prediction(*(torch.lerp(w, c, guidance) for w, c in zip(without, with_, strict=True)))

    return denoise
