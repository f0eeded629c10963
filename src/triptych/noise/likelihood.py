"""How likely a denoiser thinks a picture is: the variational bound of a chain, term by term.

The chain that is bounded draws x_T from N(0, I), goes from x_t to x_(t-1) by a Gaussian around q's own mean
with the denoiser's picture in x_0's place, and from the first time on whose noise is as coarse as the grey
levels it reads the levels themselves, by a Gaussian integrated over each level's bin. (Ho et al. 2020, eq. 5;
times with finer noise than that would price a continuous picture, which no stored picture is.)

The bound holds for any variance that is a function of x_t. Here it is the one that the residual noise
implies: what is left to be guessed of the picture is what the denoiser did not take for noise (Bao et al.
2022, theorem 1). With the variance beta-tilde even a perfect denoiser would pay for each step of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from triptych.core.bits import Box, cut, log_mass
from triptych.core.images import LEVEL_STEP, to_float
from triptych.core.seeds import SamplerNoise, generator
from triptych.noise.denoisers import Denoiser, noised
from triptych.noise.schedules import Schedule

WINDOW_PX = 5  # over which the residual noise is averaged


class Terms(NamedTuple):
    """The bound in nats a picture, (B,) float64 each; their sum is at least -log P(picture)."""

    prior: Tensor  # what x_T still tells of the picture
    steps: Tensor  # T .. first
    levels: Tensor  # from x_first to grey levels


def first_time(schedule: Schedule) -> int:
    """The first t at which the noise, sigma_t / alpha_t, is as coarse as half a grey level."""
    return int((schedule.sigma >= 0.5 * LEVEL_STEP * schedule.alpha).nonzero()[0])


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
    """The error of the predicted picture that the predicted noise implies, (B, 1, H, W).

    noise: (B, C, H, W), (x_t - alpha_t picture) / sigma_t. For the best denoiser E|eps - noise|^2 = 1 -
    E|noise|^2 (Bao et al. 2022, theorem 1); the mean is taken over channels and a window around each
    pixel, since a picture may be certain here and open there. At most 1: pictures lie in [-1, 1].
    """
    energy = noise.square().mean(1, keepdim=True)  # (B, 1, H, W)
    energy = F.avg_pool2d(energy, WINDOW_PX, 1, WINDOW_PX // 2, count_include_pad=False)
    alpha, sigma = schedule.at(schedule.alpha, t, energy), schedule.at(schedule.sigma, t, energy)
    return ((1 - energy).clamp(min=0) * (sigma / alpha.clamp(min=1e-12)).square()).clamp(max=1)


def spread(schedule: Schedule, first: int, draws: int, offset: Tensor) -> tuple[Tensor, Tensor]:
    """`draws` different times in first + 1..T for each picture, spread over the path, and their weights.

    offset: (B,) in [0, 1), uniform. Returns t, int64, and weight, float64, both (draws, B): the sum of
    weight * f(t) has the sum of f over all times as its mean (systematic sampling with the weights of
    Horvitz and Thompson 1952). All times with weight 1 where `draws` is as many as there are.
    """
    chance = _chances(schedule, first, min(draws, schedule.steps - first))  # (T - first,)
    count = round(float(chance.sum()))
    marks = torch.arange(count, dtype=torch.float64)[:, None] + offset.double()  # (draws, B)
    place = torch.searchsorted(chance.cumsum(0), marks, right=True).clamp(max=len(chance) - 1)
    return first + 1 + place, 1 / chance[place]


def _chances(schedule: Schedule, first: int, draws: int) -> Tensor:
    """How probable each time's choice is, (T - first,): in proportion to its likely share, at most 1."""
    told = 0.5 * (0.25 * (schedule.alpha / schedule.sigma)[first:].square()).log1p()  # nats, x_0 ~ N(0, 1/4)
    share = -told.diff()
    share = 0.5 * share / share.sum() + 0.5 / len(share)  # half evenly: no weight is more than doubled
    chance = torch.zeros_like(share)
    sure = torch.zeros_like(share, dtype=torch.bool)
    while True:
        chance = torch.where(sure, 1.0, share * ((draws - sure.sum()) / share[~sure].sum().clamp(min=1e-300)))
        if not bool((over := (chance > 1) & ~sure).any()):
            return chance
        sure |= over


def variational_bound(
    denoiser: Denoiser,
    schedule: Schedule,
    pixels: Tensor,
    draws: int,
    seeds: Sequence[int],
    counted: Box | None = None,
) -> Terms:
    """The three terms for uint8 pictures, (B, H, W, C), with `draws` + 1 network calls.

    Times and noise are drawn from each picture's seed. counted: only these pixels' levels are read, the
    others are marginalised; their share of prior and steps stays in, so that the sum bounds -log P of the
    counted pixels, if less tightly.
    """
    image = to_float(pixels)  # (B, C, H, W)
    noise, first = SamplerNoise(seeds, "bound"), first_time(schedule)

    def look(t: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error of the predicted picture after noising to t, and what it was to be expected."""
        x_t = noised(schedule, image, noise.randn_like(image), t)
        parts = denoiser(x_t, t)
        return parts.image, implied_variance(schedule, parts.noise, t)

    t = torch.full((len(image),), first, device=image.device)
    mean, _ = look(t)
    coarse = float(schedule.sigma[first] / schedule.alpha[first])
    levels = -cut(log_mass(pixels, mean, coarse), counted).flatten(1).sum(1)

    offset = torch.cat([torch.rand(1, generator=generator(int(s), "times")) for s in seeds])
    steps = torch.zeros(len(image), dtype=torch.float64)
    for t, weight in zip(*spread(schedule, first, draws, offset), strict=True):
        mean, variance = look(t.to(image.device))
        error = (image - mean).square().cpu().double()
        steps += weight * step_nats(schedule, error, variance.cpu().double(), t).flatten(1).sum(1)
    return Terms(prior_nats(schedule, image), steps, levels)
