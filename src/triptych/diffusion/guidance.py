"""Guidance: denoisers that combine two denoisers."""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.diffusion.denoisers import Denoiser, Prediction


def classifier_free_guidance(conditional: Denoiser, unconditional: Denoiser, guidance: float) -> Denoiser:
    """Classifier-free guidance: unconditional + guidance * (conditional - unconditional).

    Args:
        conditional: the denoiser given the labels.
        unconditional: the denoiser given no label.
        guidance: at least 0. 1 is no guidance, the conditional denoiser itself; 0 the unconditional one.
            It is 1 + w in the paper.

    Returns:
        A denoiser.

    References:
        Ho and Salimans 2022, eq. 6.
    """
    if guidance == 1:
        return conditional

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        cond, uncond = conditional(x_t, t), unconditional(x_t, t)
        return Prediction(*(torch.lerp(u, c, guidance) for u, c in zip(uncond, cond, strict=True)))

    return denoise
