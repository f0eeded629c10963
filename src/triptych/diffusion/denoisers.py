"""From a network's output to (clean picture, noise), and denoisers that wrap denoisers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

from triptych.diffusion.schedules import Schedule

Target = Literal["noise", "velocity", "image"]


class Prediction(NamedTuple):
    """What a noisy picture is thought to be made of: x_t = alpha_t image + sigma_t noise."""

    image: Tensor  # (B, *)
    noise: Tensor  # (B, *)


Denoiser = Callable[[Tensor, Tensor], Prediction]  # (x_t (B, *), t (B,) int64) -> Parts


def add_noise(schedule: Schedule, image: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The forward process in one leap: x_t = alpha_t x_0 + sigma_t eps (Ho et al. 2020, eq. 4)."""
    return schedule.at(schedule.alpha, t, image) * image + schedule.at(schedule.sigma, t, image) * noise


def training_target(target: Target, schedule: Schedule, image: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What the network is asked for: eps, x_0, or the velocity dx_t/dtau.

    The velocity is alpha' x_0 + sigma' eps: eps - x_0 on the straight path, and on
    variance-preserving ones v of Salimans and Ho (2022, section 4).
    """
    if target == "noise":
        return noise
    if target == "image":
        return image
    return (
        schedule.at(schedule.alpha_slope, t, image) * image
        + schedule.at(schedule.sigma_slope, t, image) * noise
    )


def parts_of(target: Target, schedule: Schedule, output: Tensor, x_t: Tensor, t: Tensor) -> Prediction:
    """Read picture and noise off the network's output: the inverse of `target_of` given x_t.

    Where picture (alpha = 0) or noise (sigma = 0) has left no trace in x_t it cannot be read off
    a prediction of the other; the divisor is then kept at 1e-3.
    """
    alpha, sigma = schedule.at(schedule.alpha, t, x_t), schedule.at(schedule.sigma, t, x_t)
    if target == "noise":
        return Prediction((x_t - sigma * output) / alpha.clamp(min=1e-3), output)
    if target == "image":
        return Prediction(output, (x_t - alpha * output) / sigma.clamp(min=1e-3))
    alpha_slope, sigma_slope = (
        schedule.at(schedule.alpha_slope, t, x_t),
        schedule.at(schedule.sigma_slope, t, x_t),
    )
    return Prediction(sigma_slope * x_t - sigma * output, alpha * output - alpha_slope * x_t)


def clip_denoised(denoiser: Denoiser, schedule: Schedule) -> Denoiser:
    """Keep the predicted picture in [-1, 1], and the noise in agreement with it."""

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        image = denoiser(x_t, t).image.clamp(-1, 1)
        alpha, sigma = schedule.at(schedule.alpha, t, x_t), schedule.at(schedule.sigma, t, x_t)
        return Prediction(image, (x_t - alpha * image) / sigma.clamp(min=1e-3))

    return denoise
