"""Samplers from noise to image. They share one signature, so that two of them can be compared line by line.

Each takes (denoiser, schedule, x_T (B, *), times, sampler noise) and yields (x_t before the step, predicted
x_0) once a step, then the final image twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from triptych.core.rng import SamplerNoise
from triptych.diffusion.denoisers import Denoiser, Prediction
from triptych.diffusion.schedules import Schedule


class SamplerStep(NamedTuple):
    """One step of a sampler: the noisy image it began with and the clean image predicted from it."""

    x_t: Tensor  # (B, *)
    x0: Tensor  # (B, *)


Solver = Callable[[Denoiser, Schedule, Tensor, Sequence[int], SamplerNoise], Iterator[SamplerStep]]


def trailing_times(total: int, steps: int) -> list[int]:
    """Evenly spaced times for a sampler, the first of which is T itself ("trailing" spacing).

    Args:
        total: T, the number of noising steps of the schedule.
        steps: sampling steps, in 1..T.

    Returns:
        `steps` + 1 times, from T down to 0.

    Raises:
        ValueError: when `steps` does not lie in 1..T.

    References:
        Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", section 3.3: why
        the first time must be T.
    """
    if not 1 <= steps <= total:
        raise ValueError(f"sampling steps must lie in 1..{total}, got {steps}")
    return [round(total * (steps - k) / steps) for k in range(steps + 1)]


def _expand(t: int, x: Tensor) -> Tensor:
    return torch.full((len(x),), t, dtype=torch.int64, device=x.device)  # (B,)


def _velocity(schedule: Schedule, prediction: Prediction, t: int) -> Tensor:
    """dx/dtau of the probability-flow ODE, d_alpha x_0 + d_sigma eps: (B, *)."""
    return float(schedule.d_alpha[t]) * prediction.x0 + float(schedule.d_sigma[t]) * prediction.eps


def ancestral(eta: float) -> Solver:
    """The DDIM family of samplers.

    eta = 0: deterministic DDIM. eta = 1: DDPM's ancestral sampling; over all T steps its variance is the
    posterior's beta-tilde (Ho, Jain and Abbeel 2020, eq. 7). Song, Meng and Ermon 2021, eq. 12 and 16.
    """

    def solve(
        denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], sampler_noise: SamplerNoise
    ) -> Iterator[SamplerStep]:
        alpha, sigma = schedule.alpha.tolist(), schedule.sigma.tolist()
        for t, s in pairwise(times):
            x0, eps = denoiser(x, _expand(t, x))
            yield SamplerStep(x, x0)
            carried = alpha[t] / alpha[s] * sigma[s]  # standard deviation at t of the noise present at s
            fresh = eta * sigma[s] / sigma[t] * max(sigma[t] ** 2 - carried**2, 0.0) ** 0.5
            x = alpha[s] * x0 + max(sigma[s] ** 2 - fresh**2, 0.0) ** 0.5 * eps
            if fresh > 0:
                x = x + fresh * sampler_noise.randn_like(x)
        yield SamplerStep(x, x)

    return solve


def euler(
    denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], sampler_noise: SamplerNoise
) -> Iterator[SamplerStep]:
    """Euler's method on dx/dtau = d_alpha x_0 + d_sigma eps; on the linear interpolant it is DDIM's step.

    Args:
        denoiser: predicts x_0 and eps.
        schedule: of the noise.
        x: x_T, standard normal noise, (B, *).
        times: descending, from T to 0; see `trailing_times`.
        sampler_noise: not used.

    Yields:
        Every step, then the image.
    """
    tau = schedule.tau.tolist()
    for t, s in pairwise(times):
        prediction = denoiser(x, _expand(t, x))
        yield SamplerStep(x, prediction.x0)
        x = x + (tau[s] - tau[t]) * _velocity(schedule, prediction, t)
    yield SamplerStep(x, x)


def heun(
    denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], sampler_noise: SamplerNoise
) -> Iterator[SamplerStep]:
    """Heun's second-order method on dx/dtau = d_alpha x_0 + d_sigma eps; two network calls a step.

    Integrated in tau, in which the velocity stays bounded at both ends. The last step takes the predicted
    image as it is (one network call).

    Args:
        denoiser: predicts x_0 and eps.
        schedule: of the noise.
        x: x_T, standard normal noise, (B, *).
        times: descending, from T to 0; see `trailing_times`.
        sampler_noise: not used.

    Yields:
        Every step, then the image.

    References:
        Karras et al. 2022, algorithm 1.
    """
    tau = schedule.tau.tolist()
    for t, s in pairwise(times):
        prediction = denoiser(x, _expand(t, x))
        yield SamplerStep(x, prediction.x0)
        if s == 0:
            x = prediction.x0
            break
        velocity, step = _velocity(schedule, prediction, t), tau[s] - tau[t]
        ahead = denoiser(x + step * velocity, _expand(s, x))
        x = x + step * 0.5 * (velocity + _velocity(schedule, ahead, s))
    yield SamplerStep(x, x)


def dpm_solver_pp(
    denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], sampler_noise: SamplerNoise
) -> Iterator[SamplerStep]:
    """DPM-Solver++(2M): second order, multistep, with one network call a step.

    The first and the last step are of first order: there the half log-SNR is infinite on some schedules.

    Args:
        denoiser: predicts x_0 and eps.
        schedule: of the noise.
        x: x_T, standard normal noise, (B, *).
        times: descending, from T to 0; see `trailing_times`.
        sampler_noise: not used.

    Yields:
        Every step, then the image.

    References:
        Lu et al. 2022, "DPM-Solver++", algorithm 2.
    """
    alpha, sigma = schedule.alpha.tolist(), schedule.sigma.tolist()
    half_log_snr = (schedule.alpha.log() - schedule.sigma.log()).tolist()  # lambda of the paper
    previous: Tensor | None = None
    previous_width = 0.0
    for t, s in pairwise(times):
        x0, _ = denoiser(x, _expand(t, x))
        yield SamplerStep(x, x0)
        width = half_log_snr[s] - half_log_snr[t]
        extrapolated = x0
        if previous is not None and s > 0 and previous_width < float("inf"):
            extrapolated = x0 + 0.5 * width / previous_width * (x0 - previous)
        x = sigma[s] / sigma[t] * x + (alpha[s] - alpha[t] * sigma[s] / sigma[t]) * extrapolated
        previous, previous_width = x0, width
    yield SamplerStep(x, x)


SOLVERS: dict[str, Solver] = {
    "ddpm": ancestral(eta=1.0),
    "ddim": ancestral(eta=0.0),
    "euler": euler,
    "heun": heun,
    "dpm++": dpm_solver_pp,
}


def ode_inversion(denoiser: Denoiser, schedule: Schedule, images: Tensor, times: Sequence[int]) -> Tensor:
    """Integrate the probability-flow ODE from image to noise, by Heun's method (second-order DDIM inversion).

    Args:
        denoiser: predicts x_0 and eps.
        schedule: of the noise.
        images: (B, *), in [-1, 1].
        times: descending, from T to 0, as for the samplers.

    Returns:
        x_T, (B, *): the noise from which `heun` would draw these images.
    """
    tau = schedule.tau.tolist()

    def velocity(x: Tensor, t: int) -> Tensor:
        return _velocity(schedule, denoiser(x, _expand(max(t, 1), x)), t)  # networks never saw t = 0

    x = images
    for t, s in pairwise(times[::-1]):
        step, slope = tau[s] - tau[t], velocity(x, t)
        x = x + step * 0.5 * (slope + velocity(x + step * slope, s))
    return x
