"""The variational bound of a chain, against data whose best denoiser is known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from triptych.core.bits_per_dim import discretized_gaussian_log_likelihood
from triptych.core.images import to_float
from triptych.diffusion.denoisers import Denoiser, Prediction, add_noise
from triptych.diffusion.schedules import Schedule, make_schedule
from triptych.diffusion.variational_bound import (
    implied_variance,
    last_times,
    prior_nats,
    sample_times,
    step_nats,
    variational_bound,
)

NAMES = ("linear", "cosine", "rectified")
STD = 0.3  # of the data


def gaussian_pixels(count: int, size: int = 8) -> Tensor:
    values = torch.randn(count, size, size, 1, generator=torch.Generator().manual_seed(1)) * STD
    return ((values + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def gaussian_denoiser(schedule: Schedule) -> Denoiser:
    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.at(schedule.alpha, t, x_t), schedule.at(schedule.sigma, t, x_t)
        variance = alpha**2 * STD**2 + sigma**2
        return Prediction(alpha * STD**2 / variance * x_t, sigma / variance * x_t)

    return denoise


def uniform_denoiser(schedule: Schedule) -> Denoiser:
    """E[x_0 | x_t] for x_0 uniform over all the levels' bins: the mean of a cut normal."""

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.at(schedule.alpha, t, x_t), schedule.at(schedule.sigma, t, x_t)
        center, width = (y.double() / alpha.clamp(min=1e-6).double() for y in (x_t, sigma))
        low, high = (-256 / 255 - center) / width, (256 / 255 - center) / width
        normal = Normal(0.0, 1.0)
        share = (normal.cdf(high) - normal.cdf(low)).clamp(min=1e-12)
        image = center + width * (normal.log_prob(low).exp() - normal.log_prob(high).exp()) / share
        image = image.clamp(-1, 1).to(x_t.dtype)
        return Prediction(image, (x_t - alpha * image) / sigma)

    return denoise


def bits(nats: Tensor, pixels: Tensor) -> Tensor:
    return nats / math.log(2) / pixels[0].numel()


@pytest.mark.parametrize("name", ["linear", "rectified"])
def test_a_perfect_chain_needs_the_entropy_of_a_gaussian(name: str) -> None:
    """Within 0.01 bits at T = 1000."""
    schedule, pixels = make_schedule(name, 1000), gaussian_pixels(40, 32)  # type: ignore[arg-type]
    terms = variational_bound(gaussian_denoiser(schedule), schedule, pixels, 1000, range(40))
    exact = -discretized_gaussian_log_likelihood(pixels, torch.zeros(40, 1, 32, 32), STD).flatten(1).sum(1)
    gap = bits(sum(terms) - exact, pixels)  # type: ignore[arg-type]
    error = gap.std().item() / math.sqrt(40)
    assert error < 0.009
    assert -3 * error < gap.mean().item() < 0.01
    assert terms.choice.tolist() == [math.log(len(last_times(schedule)))] * 40
    assert bits(terms.choice, pixels).max().item() < 0.003


def test_even_noise_needs_eight_bits() -> None:
    schedule = make_schedule("rectified", 1000)
    pixels = torch.randint(0, 256, (64, 16, 16, 1), generator=torch.Generator().manual_seed(0)).byte()
    terms = variational_bound(uniform_denoiser(schedule), schedule, pixels, 250, range(64))
    bits_per_dim = bits(sum(terms), pixels)  # type: ignore[arg-type]
    assert 7.97 < bits_per_dim.mean().item() < 8.1


@pytest.mark.parametrize("name", NAMES)
def test_at_variance_0_a_step_is_ddpms(name: str) -> None:
    """L_(t-1) of Ho et al. 2020, eq. 8 with the means of eq. 7, and the SNR form of Kingma et al. 2021."""
    schedule = make_schedule(name, 50)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(2, 50)
    x_0, guess, x_t = (torch.randn(48, 1, generator=generator, dtype=torch.float64) for _ in range(3))
    alpha, sigma = schedule.alpha[:, None], schedule.sigma[:, None]
    kept = alpha[t] / alpha[t - 1]  # sqrt(1 - beta)
    beta = sigma[t] ** 2 - kept**2 * sigma[t - 1] ** 2  # of x_t given x_(t-1)
    beta_tilde = beta * sigma[t - 1] ** 2 / sigma[t] ** 2

    def mean(image: Tensor) -> Tensor:
        return (alpha[t - 1] * beta * image + kept * sigma[t - 1] ** 2 * x_t) / sigma[t] ** 2

    wanted = (mean(x_0) - mean(guess)).square() / (2 * beta_tilde)
    error = (x_0 - guess).square()
    assert torch.allclose(step_nats(schedule, error, torch.zeros(48, 1), t), wanted)
    snr = (alpha / sigma).square()
    assert torch.allclose(0.5 * (snr[t - 1] - snr[t]) * error, wanted)

    variance = torch.rand(48, 1, generator=generator, dtype=torch.float64)
    wider = beta_tilde * (1 + (snr[t - 1] - snr[t]) * variance)
    wanted = kl_divergence(Normal(mean(x_0), beta_tilde.sqrt()), Normal(mean(guess), wider.sqrt()))
    assert torch.allclose(step_nats(schedule, error, variance, t), wanted)


def test_the_right_variance_is_the_cheapest() -> None:
    schedule, t = make_schedule("cosine", 100), torch.tensor([7])
    cost = [step_nats(schedule, torch.tensor([[0.04]]), torch.tensor([[v]]), t).item() for v in (0, 0.04, 1)]
    assert cost[1] < min(cost[0], cost[2])


@pytest.mark.parametrize("name", NAMES)
def test_the_prior_term_is_a_kl(name: str) -> None:
    schedule = make_schedule(name, 20)  # type: ignore[arg-type]
    image = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 1, 2, 2)
    q = Normal(schedule.alpha[-1] * image, schedule.sigma[-1])
    wanted = kl_divergence(q, Normal(torch.zeros_like(image), 1.0)).flatten(1).sum(1)
    assert torch.allclose(prior_nats(schedule, image), wanted)


@pytest.mark.parametrize("t", [5, 60, 200])
def test_the_residual_noise_tells_the_error(t: int) -> None:
    """Of each image by itself: one is open, one known."""
    schedule, times = make_schedule("rectified", 500), torch.full((2,), t)
    generator = torch.Generator().manual_seed(0)
    image = STD * torch.randn(2, 1, 64, 64, generator=generator)
    x_t = add_noise(schedule, image, torch.randn(2, 1, 64, 64, generator=generator), times)
    best = gaussian_denoiser(schedule)(x_t, times).x0
    best[1] = image[1]
    alpha, sigma = schedule.alpha[t].item(), schedule.sigma[t].item()
    open_, known = implied_variance(schedule, (x_t - alpha * best) / sigma, times).flatten().tolist()
    error = STD**2 * sigma**2 / (alpha**2 * STD**2 + sigma**2)
    noise = 4 * math.sqrt(2) / 64 * (sigma / alpha) ** 2  # four standard errors of a mean of squares
    assert open_ == pytest.approx(error, abs=noise) and 0 <= known < noise


def test_where_no_image_is_left_the_variance_is_finite() -> None:
    schedule = make_schedule("rectified", 10)
    variance = implied_variance(schedule, torch.full((1, 1, 4, 4), 0.5), torch.tensor([10]))
    assert variance.flatten().tolist() == [1.0]


@pytest.mark.parametrize("name", NAMES)
def test_last_times_double_the_noise_from_half_a_level(name: str) -> None:
    for steps in (2, 16, 1000, 5000):
        schedule = make_schedule(name, steps)  # type: ignore[arg-type]
        ratio, ends = schedule.sigma / schedule.alpha, last_times(schedule).tolist()
        assert ends == sorted(set(ends)) and ends[0] >= 1 and ends[-1] < steps
        assert ratio[ends[0] - 1] < 0.5 / 127.5
        if steps >= 1000:
            assert 0.1 < ratio[ends[-1]] < 0.25
            assert all(1.2 < (ratio[b] / ratio[a]).item() < 2.6 for a, b in pairwise(ends))


@pytest.mark.parametrize("draws", [1, 2, 7, 60, 95])
def test_sums_over_drawn_times_are_unbiased(draws: int) -> None:
    schedule = make_schedule("rectified", 100)
    offset = (torch.arange(40_000, dtype=torch.float64) + 0.5) / 40_000
    t, weight = sample_times(schedule, torch.full((40_000,), 3), draws, offset)
    assert t.shape == weight.shape == (draws, 40_000)
    assert t.min().item() >= 4 and t.max().item() <= 100
    assert bool((t.diff(dim=0) > 0).all())  # no time twice
    mean_weights = torch.zeros(101, dtype=torch.float64).index_add(0, t.flatten(), weight.flatten()) / 40_000
    assert mean_weights[:4].tolist() == [0.0] * 4
    assert mean_weights[4:].tolist() == pytest.approx([1.0] * 97, abs=0.01)


def test_with_enough_draws_every_time_comes_once() -> None:
    """Also where the images' chains have different last times: the shorter one's rest weighs nothing."""
    schedule = make_schedule("cosine", 30)
    for draws in (29, 1000):
        t, weight = sample_times(schedule, torch.tensor([1, 1, 4]), draws, torch.tensor([0.0, 0.37, 0.9999]))
        assert t.T[:2].tolist() == [list(range(2, 31))] * 2 and t.T[2, :26].tolist() == list(range(5, 31))
        assert weight.T.tolist() == [[1.0] * 29, [1.0] * 29, [1.0] * 26 + [0.0] * 3]


def test_a_network_blind_to_fine_noise_is_read_at_coarser() -> None:
    """It sees x_t alone below noise 0.1 and a black image above: the chain had better end there."""
    schedule, pixels = make_schedule("rectified", 1000), torch.zeros(8, 16, 16, 1, dtype=torch.uint8)

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.at(schedule.alpha, t, x_t), schedule.at(schedule.sigma, t, x_t)
        guess = torch.where(sigma < 0.1, x_t / alpha, -torch.ones_like(x_t))
        return Prediction(guess, (x_t - alpha * guess) / sigma)

    blind = variational_bound(denoise, schedule, pixels, 100, range(8))
    coarse = float((schedule.sigma / schedule.alpha)[last_times(schedule)[-1]])
    wanted = -discretized_gaussian_log_likelihood(pixels, -torch.ones(8, 1, 16, 16), coarse).flatten(1).sum(1)
    assert torch.allclose(blind.levels, wanted)
    assert bits(sum(blind), pixels).max().item() < 1.05  # type: ignore[arg-type]


def test_the_pilot_evaluations_noise_is_not_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []
    schedule, pixels = make_schedule("rectified", 1000), gaussian_pixels(1)

    def spy(x_t: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.at(schedule.alpha, t, x_t), schedule.at(schedule.sigma, t, x_t)
        drawn.append((x_t - alpha * to_float(pixels)) / sigma)
        return gaussian_denoiser(schedule)(x_t, t)

    variational_bound(spy, schedule, pixels, 3, [0])
    assert len(drawn) == len(last_times(schedule)) + 1 + 3
    noises = torch.stack(drawn).flatten(1)
    correlation = torch.corrcoef(noises).fill_diagonal_(0)
    assert noises.std().item() == pytest.approx(1, abs=0.1) and correlation.abs().max().item() < 0.5


def test_few_times_have_the_mean_of_all() -> None:
    schedule, pixels = make_schedule("cosine", 60), gaussian_pixels(1).expand(600, 8, 8, 1)
    few, all_ = (
        sum(variational_bound(gaussian_denoiser(schedule), schedule, pixels, draws, range(600)))
        for draws in (5, 60)
    )
    assert isinstance(few, Tensor) and isinstance(all_, Tensor)
    error = math.sqrt((few.var().item() + all_.var().item()) / 600)
    assert error < 0.01 * all_.mean().item()
    assert few.mean().item() == pytest.approx(all_.mean().item(), abs=3.5 * error)


def test_a_bound_is_a_function_of_image_and_seed() -> None:
    schedule, pixels = make_schedule("rectified", 200), gaussian_pixels(6)
    denoise = gaussian_denoiser(schedule)
    seeds = [11, 5, 11, 7, 8, 9]
    pixels[2] = pixels[0]
    whole = sum(variational_bound(denoise, schedule, pixels, 6, seeds))
    again = [sum(variational_bound(denoise, schedule, pixels[i, None], 6, [seeds[i]])) for i in range(6)]
    assert isinstance(whole, Tensor)
    assert torch.allclose(whole, torch.cat(again), rtol=1e-6)  # type: ignore[arg-type]
    assert whole[0] == whole[2]
    other = sum(variational_bound(denoise, schedule, pixels, 6, range(6)))
    assert not torch.allclose(whole, torch.as_tensor(other), rtol=1e-3)


def test_padding_is_not_read_but_stays_in_the_chain() -> None:
    schedule, pixels = make_schedule("rectified", 4), gaussian_pixels(3)  # one last time
    denoise = gaussian_denoiser(schedule)
    whole = variational_bound(denoise, schedule, pixels, 6, range(3))
    part = variational_bound(denoise, schedule, pixels, 6, range(3), box=(2, 2, 6, 6))
    assert torch.equal(whole.prior, part.prior) and torch.equal(whole.steps, part.steps)
    assert bool((part.levels < 0.5 * whole.levels).all()) and bool((part.levels > 0).all())
