"""How likely a denoiser thinks a picture is: the variational bound of a chain, term by term.

The chain that is bounded draws x_T from N(0, I), goes from x_t to x_(t-1) by a Gaussian around q's own mean
with the denoiser's picture in x_0's place, and at its last time reads the gray levels off, by a Gaussian
integrated over each level's bin (Ho et al. 2020, eq. 5 and 13). Two things differ from that paper's chain;
both are free to choose, since any chain has such a bound:

The variance of a step is the one that the residual noise implies: what is left to be guessed of the picture
is what the denoiser did not take for noise (Bao et al. 2022, theorem 1). With the variance beta-tilde even a
perfect denoiser pays for each step of the grid: 0.4 to 0.7 bits a dimension over 1000 steps.

The last time is not t = 1 but drawn from a few, where the noise is as coarse as 1/2, 1, 2, 4 ... gray
levels. Finer noise prices a continuous picture, which no stored picture is, and a network trained for good
samples may see nothing in it. A picture is bounded with the time that a first look at it prefers, and pays
log K for the choice among K.
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

COARSEST = 0.25  # noise of a last time on the scale of [-1, 1]: beyond it, levels are mostly guessed


class Terms(NamedTuple):
    """The bound in nats a picture, (B,) float64 each; their sum is at least -log P(picture) on average."""

    prior: Tensor  # what x_T still tells of the picture
    steps: Tensor  # from T to the last time
    levels: Tensor  # from there to gray levels
    choice: Tensor  # of the last time


class Look(NamedTuple):
    """What the denoiser makes of the pictures at one moment."""

    image: Tensor  # (B, C, H, W)
    error: Tensor  # (B, C, H, W) float64: its squared error
    variance: Tensor  # (B, 1, 1, 1) float64: what error it implies itself


def last_times(schedule: Schedule) -> Tensor:
    """The first times whose noise, sigma_t / alpha_t, is as coarse as 1/2, 1, 2, 4 ... gray levels: (K,)."""
    ratio = schedule.sigma / schedule.alpha  # (T + 1,), rising from 0
    most = max(1, math.floor(math.log2(COARSEST / (0.5 * LEVEL_STEP)) + 1))
    marks = 0.5 * LEVEL_STEP * 2.0 ** torch.arange(most, dtype=ratio.dtype)
    return torch.searchsorted(ratio, marks).clamp(1, schedule.steps - 1).unique()


def prior_nats(schedule: Schedule, image: Tensor) -> Tensor:
    """KL(q(x_T | x_0) || N(0, I)), (B,) float64 (Ho et al. 2020, eq. 5, L_T). image: (B, *)."""
    alpha, variance = schedule.alpha[-1], schedule.sigma[-1] ** 2
    squares = image.cpu().double().square()  # (B, *)
    return 0.5 * (alpha**2 * squares + variance - 1 - variance.log()).flatten(1).sum(1)


def step_nats(schedule: Schedule, error: Tensor, variance: Tensor, t: Tensor) -> Tensor:
    """KL(q(x_(t-1) | x_t, x_0) || p(x_(t-1) | x_t)) of every number, in nats.

    error: (x_0 - predicted picture)^2, (B, *). variance: what p thinks error is on average, of a shape
    that fits. t: (B,) int64 in 2..T. At variance 0 p has q's own variance beta-tilde and the term is
    (SNR(t-1) - SNR(t)) error / 2 (Kingma et al. 2021, eq. 13 to 15), which is L_(t-1) of Ho et al.
    2020, eq. 8. Else p's variance is larger by the factor 1 + (SNR(t-1) - SNR(t)) variance.
    """
    snr = (schedule.alpha / schedule.sigma).square()  # infinite at 0
    drop = schedule.at(snr, t - 1, error) - schedule.at(snr, t, error)
    excess = drop * variance
    return 0.5 * (drop * error / (1 + excess) + excess.log1p() - excess / (1 + excess))


def implied_variance(schedule: Schedule, noise: Tensor, t: Tensor) -> Tensor:
    """The mean error of each predicted picture that its predicted noise implies, (B, 1, 1, 1).

    noise: (B, C, H, W), (x_t - alpha_t picture) / sigma_t. For the best denoiser E|eps - noise|^2 = 1 -
    E|noise|^2 (Bao et al. 2022, theorem 1, with the mean over one picture's numbers for the
    expectation). At most 1: pictures lie in [-1, 1].
    """
    energy = noise.square().mean((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    alpha, sigma = schedule.at(schedule.alpha, t, energy), schedule.at(schedule.sigma, t, energy)
    return ((1 - energy).clamp(min=0) * (sigma / alpha.clamp(min=1e-12)).square()).clamp(max=1)


def spread(schedule: Schedule, last: Tensor, draws: int, offset: Tensor) -> tuple[Tensor, Tensor]:
    """`draws` different times in last + 1..T for each picture, spread over the path, and their weights.

    last: (B,) int64. offset: (B,) in [0, 1), uniform. Returns t, int64, and weight, float64, (draws, B) each:
    the sum of weight * f(t) has the sum of f over all times as its mean (systematic sampling with the
    weights of Horvitz and Thompson 1952). All times with weight 1 where `draws` is as many as there are.
    """
    tables = {end: _chances(schedule, end, draws) for end in set(last.tolist())}
    chance = torch.stack([tables[end] for end in last.tolist()])  # (B, T + 1)
    counts = chance.sum(1).round()  # (B,): draws, or as many times as there are
    marks = torch.arange(int(counts.max()), dtype=torch.float64) + offset.double()[:, None]  # (B, draws)
    t = torch.searchsorted(chance.cumsum(1), marks, right=True).clamp(max=schedule.steps)
    weight = torch.where(marks < counts[:, None], 1 / chance.gather(1, t), 0.0)
    return t.T, weight.T


def _chances(schedule: Schedule, last: int, draws: int) -> Tensor:
    """How probable each time's choice is, (T + 1,): by its likely share, at most 1, and 0 up to `last`."""
    told = 0.5 * (0.25 * (schedule.alpha / schedule.sigma)[last:].square()).log1p()  # nats, x_0 ~ N(0, 1/4)
    share = -told.diff()  # (T - last,)
    share = 0.5 * share / share.sum() + 0.5 / len(share)  # half evenly: no weight is more than doubled
    chance, sure = share, torch.zeros_like(share, dtype=torch.bool)
    while draws < len(share):
        chance = torch.where(sure, 1.0, share * (draws - sure.sum()) / share[~sure].sum())
        if not bool((over := (chance > 1) & ~sure).any()):
            return torch.cat([torch.zeros(last + 1, dtype=share.dtype), chance])
        sure |= over
    return torch.cat([torch.zeros(last + 1, dtype=share.dtype), torch.ones_like(share)])


class _Chain:
    """Pictures, and what a denoiser makes of them at any time."""

    def __init__(self, denoiser: Denoiser, schedule: Schedule, pixels: Tensor, counted: Box | None) -> None:
        self.denoiser, self.schedule = denoiser, schedule
        self.pixels, self.counted, self.image = pixels, counted, to_float(pixels)  # (B, C, H, W)

    def look(self, t: Tensor, noise: SamplerNoise) -> Look:
        """Noise the pictures to t, (B,), and denoise them."""
        t = t.to(self.image.device)
        x_t = add_noise(self.schedule, self.image, noise.randn_like(self.image), t)
        parts = self.denoiser(x_t, t)
        error = (self.image - parts.image).square().cpu().double()
        return Look(parts.image, error, implied_variance(self.schedule, parts.noise, t).cpu().double())

    def levels(self, look: Look, t: Tensor) -> Tensor:
        """Nats to tell the counted gray levels from a look at t: (B,)."""
        coarse = self.schedule.at(self.schedule.sigma / self.schedule.alpha, t, look.error)
        return (
            -crop(discretized_gaussian_log_likelihood(self.pixels, look.image, coarse), self.counted)
            .flatten(1)
            .sum(1)
        )

    def preferred(self, ends: Tensor, noise: SamplerNoise) -> Tensor:
        """Which of the times ends, (K,), promises each picture the smallest bound: (B,) int64.

        Steps between two of them are priced by the error at both, as the integral of error dSNR / 2.
        """
        snr = (self.schedule.alpha / self.schedule.sigma)[ends].square()  # (K,), falling
        moments = [end.expand(len(self.image)) for end in ends]
        looks = [self.look(t, noise) for t in moments]
        total = torch.stack([self.levels(look, t) for look, t in zip(looks, moments, strict=True)])  # (K, B)
        rates = snr[:, None] * torch.stack([look.error.flatten(1).sum(1) for look in looks])  # by log SNR
        between = -0.25 * snr.log().diff()[:, None] * (rates[1:] + rates[:-1])  # (K - 1, B)
        total[:-1] += between.flip(0).cumsum(0).flip(0)  # all the way from the coarsest
        return total.argmin(0)


def variational_bound(
    denoiser: Denoiser,
    schedule: Schedule,
    pixels: Tensor,
    draws: int,
    seeds: Sequence[int],
    counted: Box | None = None,
) -> Terms:
    """The terms for uint8 pictures, (B, H, W, C), with `draws` + K + 1 network calls for K last times.

    Times and noise are drawn from each picture's seed; the first look has noise of its own, so that its
    preference cannot profit from the noise that the bound is then measured with. counted: only these
    pixels' levels are read, the others are marginalised; their share of prior and steps stays in, so that
    the sum bounds -log P of the counted pixels, if less tightly.
    """
    chain, ends, count = _Chain(denoiser, schedule, pixels, counted), last_times(schedule), len(pixels)
    last = ends[chain.preferred(ends, SamplerNoise(seeds, "first look"))]  # (B,)
    noise = SamplerNoise(seeds, "bound")
    levels = chain.levels(chain.look(last, noise), last)
    offset = torch.cat([torch.rand(1, generator=generator(int(s), "times")) for s in seeds])
    steps = torch.zeros(count, dtype=torch.float64)
    for t, weight in zip(*spread(schedule, last, draws, offset), strict=True):
        look = chain.look(t, noise)
        steps += weight * step_nats(schedule, look.error, look.variance, t).flatten(1).sum(1)
    choice = torch.full((count,), math.log(len(ends)), dtype=torch.float64)
    return Terms(prior_nats(schedule, chain.image), steps, levels, choice)
