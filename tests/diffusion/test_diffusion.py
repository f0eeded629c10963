"""The mathematics of noising against closed forms: a Gaussian's denoiser is known exactly."""

from __future__ import annotations

import math
from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from triptych.core.rng import SamplerNoise
from triptych.diffusion.denoisers import (
    Denoiser,
    Prediction,
    add_noise,
    clip_denoised,
    to_prediction,
    training_target,
)
from triptych.diffusion.guidance import classifier_free_guidance
from triptych.diffusion.samplers import SOLVERS, ode_inversion, trailing_times
from triptych.diffusion.schedules import Schedule, make_schedule

NAMES = ("linear", "cosine", "rectified")
MEAN, STD = 0.3, 0.5  # of the data


def gaussian_denoiser(schedule: Schedule) -> Denoiser:
    """E[x_0 | x_t] for data N(MEAN, STD^2), element by element."""

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        a, s = schedule.at(schedule.alpha, t, x_t), schedule.at(schedule.sigma, t, x_t)
        variance = a**2 * STD**2 + s**2
        image = MEAN + a * STD**2 / variance * (x_t - a * MEAN)
        noise = s / variance * (x_t - a * MEAN)
        return Prediction(image, noise)

    return denoise


def exact_flow(schedule: Schedule, x: Tensor) -> Tensor:
    """Where the probability-flow ODE takes x_T: quantiles are kept, so a Gaussian is mapped affinely."""
    a, s = schedule.alpha[-1], schedule.sigma[-1]
    return MEAN + STD * (x - a * MEAN) / (a**2 * STD**2 + s**2).sqrt()


def solve(solver: str, schedule: Schedule, x: Tensor, steps: int) -> Tensor:
    steps_taken = SOLVERS[solver](  # type: ignore[index]
        gaussian_denoiser(schedule),
        schedule,
        x,
        trailing_times(schedule.steps, steps),
        SamplerNoise(range(len(x))),
    )
    *_, last = steps_taken
    return last.x0


@pytest.mark.parametrize("name", NAMES)
def test_schedules_go_from_clean_to_noise(name: str) -> None:
    schedule = make_schedule(name, 1000)  # type: ignore[arg-type]
    assert schedule.alpha[0] == 1 and schedule.sigma[0] == 0
    assert schedule.alpha[-1] < 0.01 and schedule.sigma[-1] > 0.99
    snr = schedule.alpha / schedule.sigma
    assert bool((snr[1:].diff() < 0).all())
    determinant = schedule.alpha * schedule.d_sigma - schedule.sigma * schedule.d_alpha
    assert torch.allclose(determinant, torch.ones_like(determinant))


def test_linear_betas_are_ddpms() -> None:
    alpha_bar = make_schedule("linear", 1000).alpha ** 2
    assert (1 - alpha_bar[1]).item() == pytest.approx(1e-4)
    assert (1 - alpha_bar[1000] / alpha_bar[999]).item() == pytest.approx(0.02)
    assert alpha_bar[1000].item() == pytest.approx(4.036e-5, rel=1e-3)


def test_cosine_alpha_bar_is_the_papers() -> None:
    alpha_bar = make_schedule("cosine", 1000).alpha ** 2
    f = lambda t: math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
    for t in (1, 250, 500, 900):
        assert alpha_bar[t].item() == pytest.approx(f(t) / f(0), rel=1e-9)


@pytest.mark.parametrize(("name", "target"), list(product(NAMES, ("noise", "velocity", "image"))))
def test_the_prediction_is_read_back_from_every_target(name: str, target: str) -> None:
    schedule = make_schedule(name, 100)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    image, noise = (torch.randn(60, 3, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    t = torch.arange(20, 80)
    x_t = add_noise(schedule, image, noise, t)
    output = training_target(target, schedule, image, noise, t)  # type: ignore[arg-type]
    prediction = to_prediction(target, schedule, output, x_t, t)  # type: ignore[arg-type]
    assert torch.allclose(prediction.x0, image) and torch.allclose(prediction.eps, noise)


def test_the_velocity_is_the_derivative_of_the_path() -> None:
    for name in NAMES:
        schedule = make_schedule(name, 20_000)  # type: ignore[arg-type]
        image, noise, t = torch.tensor([[0.7]]), torch.tensor([[-1.2]]), torch.tensor([9_000])
        ahead, behind = (add_noise(schedule, image.double(), noise.double(), t + k) for k in (1, -1))
        slope = (ahead - behind) / (schedule.tau[9_001] - schedule.tau[8_999])
        assert slope.item() == pytest.approx(
            training_target("velocity", schedule, image, noise, t).item(), rel=1e-3
        )


@pytest.mark.parametrize(("solver", "name"), list(product(("ddim", "euler", "heun", "dpm++"), NAMES)))
def test_deterministic_solvers_find_the_exact_flow(solver: str, name: str) -> None:
    schedule = make_schedule(name, 1000)  # type: ignore[arg-type]
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    assert torch.allclose(solve(solver, schedule, x, 500), exact_flow(schedule, x), atol=0.01)


@pytest.mark.parametrize(
    ("solver", "low", "high"),
    [("ddim", 0.7, 1.4), ("euler", 0.7, 1.4), ("heun", 1.7, 2.6), ("dpm++", 1.6, 2.8)],
)
def test_orders_of_convergence(solver: str, low: float, high: float) -> None:
    """Error falls by 2^order when the steps double."""
    schedule = make_schedule("rectified", 6400)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    errors = [
        (solve(solver, schedule, x, n) - exact_flow(schedule, x)).abs().max().item() for n in (40, 80, 160)
    ]
    order = math.log2(errors[0] / errors[2]) / 2
    assert low < order < high, errors


@pytest.mark.parametrize("name", NAMES)
def test_ancestral_sampling_draws_the_data(name: str) -> None:
    schedule = make_schedule(name, 1000)  # type: ignore[arg-type]
    x = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = solve("ddpm", schedule, x, 100)
    assert drawn.mean().item() == pytest.approx(MEAN, abs=0.05)
    assert drawn.std().item() == pytest.approx(STD, rel=0.06)


def test_ancestral_variance_is_ddpms_posterior() -> None:
    """Over neighboring steps the fresh noise is beta-tilde (Ho et al. 2020, eq. 7)."""
    schedule, t = make_schedule("linear", 1000), 400
    alpha_bar = schedule.alpha**2
    beta = 1 - alpha_bar[t] / alpha_bar[t - 1]
    wanted = ((1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * beta).sqrt().item()
    x = torch.zeros(4000, 1, dtype=torch.float64)
    steps_taken = SOLVERS["ddpm"](
        gaussian_denoiser(schedule), schedule, x, [t, t - 1], SamplerNoise(range(4000))
    )
    *_, last = steps_taken
    assert last.x_t.std().item() == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_inversion_and_sampling_are_inverse(name: str) -> None:
    schedule = make_schedule(name, 1000)  # type: ignore[arg-type]
    image = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    denoise = gaussian_denoiser(schedule)
    noise = ode_inversion(denoise, schedule, image, trailing_times(1000, 200))
    assert torch.allclose(solve("heun", schedule, noise, 200), image, atol=0.01)


def test_times_begin_at_the_end_and_end_at_the_beginning() -> None:
    for steps in (1, 7, 16, 1000):
        times = trailing_times(1000, steps)
        assert times[0] == 1000 and times[-1] == 0 and len(times) == steps + 1
        assert all(a > b for a, b in pairwise(times))
    with pytest.raises(ValueError, match=r"1\.\.1000"):
        trailing_times(1000, 1001)


def test_guidance_one_is_none_and_more_pulls_further() -> None:
    def constant(value: float) -> Denoiser:
        return lambda x_t, t: Prediction(torch.full_like(x_t, value), torch.zeros_like(x_t))

    x, t = torch.zeros(1, 1), torch.ones(1, dtype=torch.int64)
    one, none = constant(0.2), constant(0.1)
    assert classifier_free_guidance(one, none, 1.0) is one
    assert classifier_free_guidance(one, none, 3.0)(x, t).x0.item() == pytest.approx(0.1 + 3 * 0.1)
    assert classifier_free_guidance(one, none, 0.0)(x, t).x0.item() == pytest.approx(0.1)


def test_clipping_keeps_image_and_noise_in_agreement() -> None:
    schedule = make_schedule("cosine", 100)
    wild: Denoiser = lambda x_t, t: Prediction(torch.full_like(x_t, 3.0), x_t)  # noqa: E731
    x, t = torch.randn(5, 2), torch.full((5,), 50)
    prediction = clip_denoised(wild, schedule)(x, t)
    assert prediction.x0.max() == 1
    assert torch.allclose(add_noise(schedule, prediction.x0, prediction.eps, t), x, atol=1e-5)


def test_unknown_schedules_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown schedule"):
        make_schedule("sigmoid", 10)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 2"):
        make_schedule("linear", 1)
