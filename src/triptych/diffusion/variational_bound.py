"""The variational bound on -log P(image) of a Gaussian diffusion chain, term by term.

The generative chain draws x_T from N(0, I), goes from x_t to x_(t-1) by a Gaussian around q's own mean with
the predicted image in place of x_0, and at its last time decodes 8-bit levels by a Gaussian integrated over
each level's bin (Ho, Jain and Abbeel 2020, eq. 5 and 13). It holds for every schedule whose signal-to-noise
ratio falls, the linear interpolant of flow matching among them: q(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I) is
then the marginal of a Markov chain. Two things differ from that paper's chain; any chain has such a bound, so
both are free to choose:

The variance of a step is the one that the residual noise implies: the remaining uncertainty about the image
is what the denoiser did not predict as noise (Bao et al. 2022, theorem 1). With the variance beta-tilde even
a perfect denoiser pays for each step of the grid: 0.4 to 0.7 bits a dimension over 1000 steps.

The last time is not t = 1 but one of a few at which the noise is as coarse as 1/2, 1, 2, 4 ... levels. Finer
noise prices a continuous image, which no stored image is, and a network trained for good samples may have
learned nothing there. Each image takes the last time that a pilot evaluation finds cheapest, and pays log K
for the choice among K.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from triptych.core.bits_per_dim import crop, discretized_gaussian_log_likelihood
from triptych.core.images import LEVEL_STEP, to_float
from triptych.core.rng import SamplerNoise, generator
from triptych.core.types import Box
from triptych.diffusion.denoisers import Denoiser, add_noise
from triptych.diffusion.schedules import Schedule

COARSEST = (
    0.25  # standard deviation of the noise at a last time, images in [-1, 1]: beyond it levels are lost
)


class BoundTerms(NamedTuple):
    """The bound's terms in nats per image, (B,) float64 each; their sum is at least -log P in expectation."""

    prior: Tensor  # KL(q(x_T | x_0) || N(0, I))
    steps: Tensor  # from T to the last time
    levels: Tensor  # decoding the 8-bit levels at the last time
    choice: Tensor  # log K, for the choice of the last time


class _Denoised(NamedTuple):
    """A denoiser's prediction at one time."""

    x0: Tensor  # (B, C, H, W)
    error: Tensor  # (B, C, H, W) float64: its squared error
    variance: Tensor  # (B, 1, 1, 1) float64: the mean squared error that it implies itself


def last_times(schedule: Schedule) -> Tensor:
    """The first times whose noise, sigma_t / alpha_t, is as coarse as 1/2, 1, 2, 4 ... levels: (K,)."""
    ratio = schedule.sigma / schedule.alpha  # (T + 1,), rising from 0
    most = max(1, math.floor(math.log2(COARSEST / (0.5 * LEVEL_STEP)) + 1))
    marks = 0.5 * LEVEL_STEP * 2.0 ** torch.arange(most, dtype=ratio.dtype)
    return torch.searchsorted(ratio, marks).clamp(1, schedule.steps - 1).unique()


def prior_nats(schedule: Schedule, x0: Tensor) -> Tensor:
    """KL(q(x_T | x_0) || N(0, I)), L_T of the bound.

    Args:
        schedule: of the noise.
        x0: images, (B, *), in [-1, 1].

    Returns:
        (B,) float64, in nats, on the CPU.

    References:
        Ho, Jain and Abbeel 2020, eq. 5.
    """
    alpha, variance = schedule.alpha[-1], schedule.sigma[-1] ** 2
    squares = x0.cpu().double().square()  # (B, *)
    return 0.5 * (alpha**2 * squares + variance - 1 - variance.log()).flatten(1).sum(1)


def step_nats(schedule: Schedule, error: Tensor, variance: Tensor, t: Tensor) -> Tensor:
    """KL(q(x_(t-1) | x_t, x_0) || p(x_(t-1) | x_t)) per dimension.

    At variance 0, p has q's own variance beta-tilde and the term is (SNR(t-1) - SNR(t)) error / 2, which is
    L_(t-1) of Ho et al. Otherwise p's variance is larger by the factor 1 + (SNR(t-1) - SNR(t)) variance.

    Args:
        schedule: of the noise.
        error: (x_0 - predicted image)^2, (B, *).
        variance: the mean squared error that p assumes, of a shape that broadcasts to `error`.
        t: (B,) int64 in 2..T.

    Returns:
        (B, *), in nats.

    References:
        Ho, Jain and Abbeel 2020, eq. 8; Kingma et al. 2021, eq. 13 to 15.
    """
    drop = schedule.at(schedule.snr, t - 1, error) - schedule.at(schedule.snr, t, error)
    excess = drop * variance
    return 0.5 * (drop * error / (1 + excess) + excess.log1p() - excess / (1 + excess))


def implied_variance(schedule: Schedule, eps: Tensor, t: Tensor) -> Tensor:
    """The mean squared error of each predicted image that its predicted noise implies.

    For the best denoiser E|eps - predicted eps|^2 = 1 - E|predicted eps|^2, with the mean over one image's
    dimensions for the expectation. At most 1, since images lie in [-1, 1].

    Args:
        schedule: of the noise.
        eps: predicted noise, (B, C, H, W): (x_t - alpha_t x0) / sigma_t.
        t: (B,) int64 in 1..T.

    Returns:
        (B, 1, 1, 1), in 0..1.

    References:
        Bao et al. 2022, "Analytic-DPM", theorem 1.
    """
    energy = eps.square().mean((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    alpha, sigma = schedule.at(schedule.alpha, t, energy), schedule.at(schedule.sigma, t, energy)
    return ((1 - energy).clamp(min=0) * (sigma / alpha.clamp(min=1e-12)).square()).clamp(max=1)


def sample_times(schedule: Schedule, last: Tensor, draws: int, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Draw distinct times of the chain for each image, and the weights that make sums over them unbiased.

    Systematic sampling: the sum of weight * f(t) has the sum of f over all times as its mean. All times with
    weight 1 where `draws` is as many as there are.

    Args:
        schedule: of the noise.
        last: the last time of each image's chain, (B,) int64: times are drawn from last + 1..T.
        draws: times per image, at least 1.
        offset: (B,) uniform in [0, 1).

    Returns:
        Times, (draws, B) int64, and weights, (draws, B) float64.

    References:
        Horvitz and Thompson 1952 (the weights).
    """
    tables = {end: _inclusion_probabilities(schedule, end, draws) for end in set(last.tolist())}
    probability = torch.stack([tables[end] for end in last.tolist()])  # (B, T + 1)
    counts = probability.sum(1).round()  # (B,): draws, or as many times as there are
    marks = torch.arange(int(counts.max()), dtype=torch.float64) + offset.double()[:, None]  # (B, draws)
    t = torch.searchsorted(probability.cumsum(1), marks, right=True).clamp(max=schedule.steps)
    weight = torch.where(marks < counts[:, None], 1 / probability.gather(1, t), 0.0)
    return t.T, weight.T


def _inclusion_probabilities(schedule: Schedule, last: int, draws: int) -> Tensor:
    """The probability of each time, (T + 1,): its expected share of the bound, at most 1; 0 up to `last`."""
    remaining = 0.5 * (0.25 * schedule.snr[last:]).log1p()  # nats about an x_0 ~ N(0, 1/4)
    share = -remaining.diff()  # (T - last,)
    share = 0.5 * share / share.sum() + 0.5 / len(share)  # half uniform: no weight is more than doubled
    probability, certain = share, torch.zeros_like(share, dtype=torch.bool)
    while draws < len(share):
        probability = torch.where(certain, 1.0, share * (draws - certain.sum()) / share[~certain].sum())
        if not bool((over := (probability > 1) & ~certain).any()):
            return torch.cat([torch.zeros(last + 1, dtype=share.dtype), probability])
        certain |= over
    return torch.cat([torch.zeros(last + 1, dtype=share.dtype), torch.ones_like(share)])


class _Chain:
    """Images, and a denoiser's predictions for them at any time."""

    def __init__(self, denoiser: Denoiser, schedule: Schedule, pixels: Tensor, box: Box | None) -> None:
        self.denoiser, self.schedule = denoiser, schedule
        self.pixels, self.box, self.images = pixels, box, to_float(pixels)  # (B, C, H, W)

    def denoise(self, t: Tensor, noise: SamplerNoise) -> _Denoised:
        """Add noise up to t, (B,), and predict the images."""
        t = t.to(self.images.device)
        x_t = add_noise(self.schedule, self.images, noise.randn_like(self.images), t)
        prediction = self.denoiser(x_t, t)
        error = (self.images - prediction.x0).square().cpu().double()
        variance = implied_variance(self.schedule, prediction.eps, t).cpu().double()
        return _Denoised(prediction.x0, error, variance)

    def level_nats(self, denoised: _Denoised, t: Tensor) -> Tensor:
        """-log P of the 8-bit levels within the box given a prediction at t: (B,)."""
        scale = self.schedule.at(self.schedule.sigma / self.schedule.alpha, t, denoised.error)
        log_likelihood = discretized_gaussian_log_likelihood(self.pixels, denoised.x0, scale)
        return -crop(log_likelihood, self.box).flatten(1).sum(1)

    def cheapest(self, ends: Tensor, noise: SamplerNoise) -> Tensor:
        """Which of the times `ends`, (K,), promises each image the smallest bound: (B,) int64.

        Steps between two of them cost the integral of error dSNR / 2, by the trapezoidal rule in log SNR.
        """
        snr = self.schedule.snr[ends]  # (K,), falling
        times = [end.expand(len(self.images)) for end in ends]
        predictions = [self.denoise(t, noise) for t in times]
        total = torch.stack(
            [self.level_nats(p, t) for p, t in zip(predictions, times, strict=True)]
        )  # (K, B)
        slopes = snr[:, None] * torch.stack([p.error.flatten(1).sum(1) for p in predictions])  # (K, B)
        between = -0.25 * snr.log().diff()[:, None] * (slopes[1:] + slopes[:-1])  # (K - 1, B)
        total[:-1] += between.flip(0).cumsum(0).flip(0)  # all the way from the coarsest
        return total.argmin(0)


def variational_bound(
    denoiser: Denoiser,
    schedule: Schedule,
    pixels: Tensor,
    draws: int,
    seeds: Sequence[int],
    box: Box | None = None,
) -> BoundTerms:
    """Estimate the terms of the bound, with `draws` + K + 1 network calls for K last times.

    Times and noise are drawn from each image's seed. The pilot evaluation that chooses the last time has
    noise of its own, so that its choice cannot profit from the noise that the bound is then estimated with.

    Args:
        denoiser: predicts x_0 and eps.
        schedule: that the denoiser was trained with.
        pixels: (B, H, W, C) uint8.
        draws: times drawn per image, at least 1.
        seeds: one per image.
        box: the pixels whose levels are decoded; None for all. The others are marginalized, but
            their share of `prior` and `steps` stays in, so that the sum still bounds -log P of the pixels
            within the box, less tightly.

    Returns:
        The terms, in nats per image.
    """
    chain, ends, count = _Chain(denoiser, schedule, pixels, box), last_times(schedule), len(pixels)
    last = ends[chain.cheapest(ends, SamplerNoise(seeds, "first look"))]  # (B,)
    noise = SamplerNoise(seeds, "bound")
    levels = chain.level_nats(chain.denoise(last, noise), last)
    offset = torch.cat([torch.rand(1, generator=generator(int(s), "times")) for s in seeds])
    steps = torch.zeros(count, dtype=torch.float64)
    for t, weight in zip(*sample_times(schedule, last, draws, offset), strict=True):
        denoised = chain.denoise(t, noise)
        steps += weight * step_nats(schedule, denoised.error, denoised.variance, t).flatten(1).sum(1)
    choice = torch.full((count,), math.log(len(ends)), dtype=torch.float64)
    return BoundTerms(prior_nats(schedule, chain.images), steps, levels, choice)
