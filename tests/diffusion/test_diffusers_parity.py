"""Schedules and samplers beside those of diffusers: an independent implementation gives the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from torch import Tensor

from triptych.core.rng import SamplerNoise, generator
from triptych.diffusion.denoisers import (
    Denoiser,
    Prediction,
    Target,
    add_noise,
    to_prediction,
    training_target,
)
from triptych.diffusion.samplers import SOLVERS, trailing_times
from triptych.diffusion.schedules import Schedule, ScheduleName, make_schedule

T = 1000
SEEDS = (3, 14, 15)
THEIRS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
# what the network predicts, here and there: at the cosine schedule's end the image cannot be told from the
# noise (alpha = 5e-5), and each library limits that division in its own way
PREDICTED: dict[str, tuple[Target, str]] = {"linear": ("noise", "epsilon"), "cosine": ("image", "sample")}
START = torch.randn(len(SEEDS), 2, 4, 4, generator=torch.Generator().manual_seed(0))


def network(x: Tensor, t: int) -> Tensor:
    """Any smooth function will do: a sampler does not ask whether the prediction is good."""
    return (0.9 * x + 0.2 * torch.sin(3 * x)) * (0.2 + 0.8 * t / T)


def denoiser(schedule: Schedule, target: Target) -> Denoiser:
    def denoise(x: Tensor, t: Tensor) -> Prediction:
        return to_prediction(target, schedule, network(x, int(t[0])), x, t)

    return denoise


def ours(solver: str, name: ScheduleName, steps: int) -> Tensor:
    schedule = make_schedule(name, T)
    predict = denoiser(schedule, PREDICTED[name][0])
    sampler = SOLVERS[solver](predict, schedule, START, trailing_times(T, steps), SamplerNoise(SEEDS))
    *_, last = sampler
    return last.x0


def theirs(scheduler: Any, steps: int, **options: Any) -> Tensor:
    """Their loop. Their time t is the index of a table without t = 0: one less than ours."""
    scheduler.set_timesteps(steps)
    x = START
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, int(t) + 1), t, x, **options).prev_sample
    return x


def tables(name: str) -> dict[str, Any]:
    return {
        "num_train_timesteps": T, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": THEIRS[name],
        "prediction_type": PREDICTED[name][1],
    }  # fmt: skip


@pytest.mark.parametrize("name", THEIRS)
def test_schedules_are_those_of_diffusers(name: ScheduleName) -> None:
    schedule, scheduler = make_schedule(name, T), DDPMScheduler(**tables(name))
    assert torch.allclose(schedule.alpha[1:].square().float(), scheduler.alphas_cumprod, rtol=1e-4, atol=1e-9)
    times = torch.tensor([1, 500, 1000])
    noise = torch.randn(START.shape, generator=torch.Generator().manual_seed(1))
    expected = scheduler.add_noise(START, noise, times - 1)
    assert torch.allclose(add_noise(schedule, START, noise, times), expected, atol=1e-5)
    velocity = training_target("velocity", schedule, START, noise, times)
    assert torch.allclose(velocity, scheduler.get_velocity(START, noise, times - 1), atol=1e-5)


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("steps", [4, 50])
def test_ddim_is_that_of_diffusers(name: ScheduleName, steps: int) -> None:
    scheduler = DDIMScheduler(
        **tables(name), clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing"
    )
    result, expected = ours("ddim", name, steps), theirs(scheduler, steps)
    assert torch.allclose(result, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_few_steps_of_ddpm_are_ddims_with_eta_1() -> None:
    scheduler = DDIMScheduler(
        **tables("linear"), clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing"
    )
    draws = [generator(seed, "sampler") for seed in SEEDS]
    expected = theirs(scheduler, 50, eta=1.0, generator=draws)
    result = ours("ddpm", "linear", 50)
    assert torch.allclose(result, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_all_steps_of_ddpm_are_those_of_diffusers() -> None:
    scheduler = DDPMScheduler(**tables("linear"), clip_sample=False, variance_type="fixed_small")
    draws = [generator(seed, "sampler") for seed in SEEDS]
    expected = theirs(scheduler, T, generator=draws)
    result = ours("ddpm", "linear", T)
    assert torch.allclose(result, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs, in NumPy 2
@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("steps", [5, 20])
def test_dpm_solver_is_that_of_diffusers(name: ScheduleName, steps: int) -> None:
    scheduler = DPMSolverMultistepScheduler(
        **tables(name), algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint",
        timestep_spacing="trailing", final_sigmas_type="zero",
    )  # fmt: skip
    result, expected = ours("dpm++", name, steps), theirs(scheduler, steps)
    assert torch.allclose(result, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_the_rectified_path_is_flow_matchings() -> None:
    """DDIM's step on the linear interpolant is Euler's step along the velocity."""
    steps, schedule = 20, make_schedule("rectified", T)
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=T, shift=1.0)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    noise = torch.randn(START.shape, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(
        add_noise(schedule, START, noise, torch.full((len(START),), 750)),
        scheduler.scale_noise(START, scheduler.timesteps[5:6], noise), atol=1e-6,
    )  # fmt: skip
    x = START

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        return to_prediction("velocity", schedule, network(x, int(t[0])), x, t)

    for t in scheduler.timesteps:
        x = scheduler.step(network(x, round(float(t))), t, x).prev_sample
    sampler = SOLVERS["ddim"](denoise, schedule, START, trailing_times(T, steps), SamplerNoise(SEEDS))
    *_, last = sampler
    assert torch.allclose(last.x0, x, atol=1e-5)
