"""From a network's output to a prediction of (x_0, eps), and wrappers around denoisers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

from triptych.diffusion.schedules import Schedule

Target = Literal["noise", "velocity", "image"]


class Prediction(NamedTuple):
    """The predicted components of a noisy image: x_t = alpha_t x0 + sigma_t eps."""

    x0: Tensor  # (B, *) the clean image
    eps: Tensor  # (B, *) the noise


Denoiser = Callable[[Tensor, Tensor], Prediction]  # (x_t (B, *), t (B,) int64) -> Prediction


def add_noise(schedule: Schedule, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """Sample the forward process q(x_t | x_0) in one step: alpha_t x_0 + sigma_t eps.

    Args:
        schedule: gives alpha_t and sigma_t.
        x0: clean images, (B, *), in [-1, 1].
        eps: standard normal noise, (B, *).
        t: (B,) int64 in 0..T.

    Returns:
        x_t, (B, *).

    References:
        Ho, Jain and Abbeel 2020, eq. 4.
    """
    return schedule.at(schedule.alpha, t, x0) * x0 + schedule.at(schedule.sigma, t, x0) * eps


def training_target(target: Target, schedule: Schedule, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """The regression target of the network: eps, x_0, or the velocity dx_t/dtau.

    The velocity is d_alpha x_0 + d_sigma eps: eps - x_0 for the linear interpolant, and
    v = alpha eps - sigma x_0 for variance-preserving schedules.

    Args:
        target: which of the three.
        schedule: gives the derivatives at t.
        x0: clean images, (B, *), in [-1, 1].
        eps: the noise in x_t, (B, *).
        t: (B,) int64 in 0..T.

    Returns:
        (B, *).

    References:
        Salimans and Ho 2022, section 4 (v); Liu, Gong and Liu 2022, eq. 1 (velocity).
    """
    if target == "noise":
        return eps
    if target == "image":
        return x0
    return schedule.at(schedule.d_alpha, t, x0) * x0 + schedule.at(schedule.d_sigma, t, x0) * eps


def to_prediction(target: Target, schedule: Schedule, output: Tensor, x_t: Tensor, t: Tensor) -> Prediction:
    """Convert the network's output to (x_0, eps): the inverse of `training_target` given x_t.

    Where alpha = 0 or sigma = 0, x_t holds nothing of the image or of the noise, and neither follows from a
    prediction of the other; the divisor is then kept at 1e-3.

    Args:
        target: what the network predicts.
        schedule: gives alpha, sigma and their derivatives at t.
        output: of the network, (B, *).
        x_t: the noisy images it saw, (B, *).
        t: (B,) int64 in 0..T.

    Returns:
        The predicted image and noise, (B, *) each.
    """
    alpha, sigma = schedule.at(schedule.alpha, t, x_t), schedule.at(schedule.sigma, t, x_t)
    if target == "noise":
        return Prediction((x_t - sigma * output) / alpha.clamp(min=1e-3), output)
    if target == "image":
        return Prediction(output, (x_t - alpha * output) / sigma.clamp(min=1e-3))
    d_alpha, d_sigma = schedule.at(schedule.d_alpha, t, x_t), schedule.at(schedule.d_sigma, t, x_t)
    return Prediction(d_sigma * x_t - sigma * output, alpha * output - d_alpha * x_t)


def clip_denoised(denoiser: Denoiser, schedule: Schedule) -> Denoiser:
    """Clip the predicted image to [-1, 1], and recompute the noise so that both still make up x_t.

    Args:
        denoiser: to wrap.
        schedule: that the denoiser was trained with.

    Returns:
        A denoiser.
    """

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        x0 = denoiser(x_t, t).x0.clamp(-1, 1)
        alpha, sigma = schedule.at(schedule.alpha, t, x_t), schedule.at(schedule.sigma, t, x_t)
        return Prediction(x0, (x_t - alpha * x0) / sigma.clamp(min=1e-3))

    return denoise
