"""From noise to picture: samplers that share one contract, so that two of them can be diffed.

Each takes (denoiser, schedule, noise x_T (B, *), times, sampler noise) and yields
(x_t before the step, predicted picture) once a step, then the final picture twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from triptych.core.rng import SamplerNoise
from triptych.diffusion.denoisers import Denoiser
from triptych.diffusion.schedules import Schedule

SolverName = Literal["ddpm", "ddim", "heun", "dpm++"]


class SamplerStep(NamedTuple):
    """One step of a sampler: the noisy picture it began with and the clean one it predicted there."""

    noisy: Tensor  # (B, *)
    image: Tensor  # (B, *)


Solver = Callable[[Denoiser, Schedule, Tensor, Sequence[int], SamplerNoise], Iterator[SamplerStep]]


def spaced(total: int, steps: int) -> list[int]:
    """`steps` + 1 times from T = `total` down to 0, evenly spaced, beginning at T itself.

    ("trailing" spacing: Lin et al. 2023 show why the first time must be T.)
    """
    if not 1 <= steps <= total:
        raise ValueError(f"sampling steps must lie in 1..{total}, got {steps}")
    return [round(total * (steps - k) / steps) for k in range(steps + 1)]


def _time(x: Tensor, t: int) -> Tensor:
    return torch.full((len(x),), t, dtype=torch.int64, device=x.device)  # (B,)


def ancestral(eta: float) -> Solver:
    """DDIM's family of samplers (Song, Meng and Ermon 2021, eq. 12 and 16).

    eta = 0: deterministic DDIM. eta = 1: DDPM's ancestral sampling; over all T steps its variance
    is the posterior's beta-tilde (Ho et al. 2020, eq. 7).
    """

    def solve(
        denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], sampler_noise: SamplerNoise
    ) -> Iterator[SamplerStep]:
        alpha, sigma = schedule.alpha.tolist(), schedule.sigma.tolist()
        for t, s in pairwise(times):
            image, eps = denoiser(x, _time(x, t))
            yield SamplerStep(x, image)
            kept = alpha[t] / alpha[s] * sigma[s]  # what is left at t of the noise present at s
            fresh = eta * sigma[s] / sigma[t] * max(sigma[t] ** 2 - kept**2, 0.0) ** 0.5
            x = alpha[s] * image + max(sigma[s] ** 2 - fresh**2, 0.0) ** 0.5 * eps
            if fresh > 0:
                x = x + fresh * sampler_noise.randn_like(x)
        yield SamplerStep(x, x)

    return solve


def heun(
    denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], sampler_noise: SamplerNoise
) -> Iterator[SamplerStep]:
    """Heun's second-order method on dx/dtau = alpha' x_0 + sigma' eps; two network calls a step.

    (Karras et al. 2022, algorithm 1, in the schedule's own parameter, in which the velocity stays
    bounded at both ends.) The last step is Euler's, as there.
    """
    alpha_slope, sigma_slope = schedule.alpha_slope.tolist(), schedule.sigma_slope.tolist()
    tau = schedule.tau.tolist()
    for t, s in pairwise(times):
        image, eps = denoiser(x, _time(x, t))
        yield SamplerStep(x, image)
        velocity = alpha_slope[t] * image + sigma_slope[t] * eps
        if s == 0:
            x = image
            break
        step = tau[s] - tau[t]
        image, eps = denoiser(x + step * velocity, _time(x, s))
        x = x + step * 0.5 * (velocity + alpha_slope[s] * image + sigma_slope[s] * eps)
    yield SamplerStep(x, x)


def multistep(
    denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], sampler_noise: SamplerNoise
) -> Iterator[SamplerStep]:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): second order with one network call a step.

    First and last steps are of first order: there the half log-SNR is infinite on some schedules.
    """
    alpha, sigma = schedule.alpha.tolist(), schedule.sigma.tolist()
    log_snr = (schedule.alpha.log() - schedule.sigma.log()).tolist()  # lambda of the paper
    before: Tensor | None = None
    width_before = 0.0
    for t, s in pairwise(times):
        image, _ = denoiser(x, _time(x, t))
        yield SamplerStep(x, image)
        width = log_snr[s] - log_snr[t]
        guess = image
        if before is not None and s > 0 and width_before < float("inf"):
            guess = image + 0.5 * width / width_before * (image - before)
        x = sigma[s] / sigma[t] * x + (alpha[s] - alpha[t] * sigma[s] / sigma[t]) * guess
        before, width_before = image, width
    yield SamplerStep(x, x)


SOLVERS: dict[SolverName, Solver] = {
    "ddpm": ancestral(eta=1.0),
    "ddim": ancestral(eta=0.0),
    "heun": heun,
    "dpm++": multistep,
}


def encode(denoiser: Denoiser, schedule: Schedule, image: Tensor, times: Sequence[int]) -> Tensor:
    """Run the deterministic path backwards: the noise from which `heun` would draw this picture.

    times: descending as for the solvers. image: (B, *). Returns x_T, (B, *).
    """
    alpha_slope, sigma_slope = schedule.alpha_slope.tolist(), schedule.sigma_slope.tolist()
    tau = schedule.tau.tolist()

    def velocity(x: Tensor, t: int) -> Tensor:
        parts = denoiser(x, _time(x, max(t, 1)))  # networks never saw t = 0
        return alpha_slope[t] * parts.image + sigma_slope[t] * parts.noise

    x, upwards = image, times[::-1]
    for t, s in pairwise(upwards):
        step, here = tau[s] - tau[t], velocity(x, t)
        x = x + step * 0.5 * (here + velocity(x + step * here, s))
    return x
