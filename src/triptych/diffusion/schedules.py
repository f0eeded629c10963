"""How much picture and how much noise: x_t = alpha_t x_0 + sigma_t eps for t = 0 (clean) .. T (noise)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

ScheduleName = Literal["linear", "cosine", "straight"]


@dataclass(frozen=True)
class Schedule:
    """Tables over t = 0..T, float64.

    Beside alpha and sigma stand their derivatives along the path's own parameter tau: the angle
    for variance-preserving schedules (alpha = cos tau, sigma = sin tau), t / T for the straight
    path. In both, alpha dsigma - sigma dalpha = 1, so that (picture, noise) can be read off
    (x_t, velocity) by one formula; see `triptych.diffusion.denoisers`.
    """

    alpha: Tensor  # (T + 1,)
    sigma: Tensor  # (T + 1,)
    alpha_slope: Tensor  # (T + 1,) d alpha / d tau
    sigma_slope: Tensor  # (T + 1,) d sigma / d tau
    tau: Tensor  # (T + 1,)

    @property
    def steps(self) -> int:
        """T: the number of noising steps."""
        return len(self.alpha) - 1

    def at(self, table: Tensor, t: Tensor, like: Tensor) -> Tensor:
        """The table's values at t, (B,) int64, shaped to multiply `like`, (B, ...)."""
        values = table.to(like.device)[t].to(like.dtype)  # (B,)
        return values.view(-1, *([1] * (like.dim() - 1)))  # (B, 1, ...)


def make_schedule(name: ScheduleName, steps: int) -> Schedule:
    """A schedule by name.

    linear: betas from 1e-4 to 0.02 at T = 1000, scaled to other T (Ho et al. 2020, section 4).
    cosine: alpha_bar = cos^2 of a shifted ramp (Nichol and Dhariwal 2021, eq. 17).
    straight: alpha = 1 - t/T, sigma = t/T (Liu et al. 2022; Lipman et al. 2022).
    """
    if steps < 2:
        raise ValueError(f"a schedule needs at least 2 steps, got {steps}")
    if name == "straight":
        tau = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        return Schedule(1 - tau, tau, -torch.ones_like(tau), torch.ones_like(tau), tau)
    alpha_bar = torch.cumprod(1 - torch.tensor(_betas(name, steps), dtype=torch.float64), dim=0)
    alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar])
    alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    return Schedule(alpha, sigma, -sigma, alpha, torch.atan2(sigma, alpha))


def _betas(name: ScheduleName, steps: int) -> list[float]:
    if name == "linear":
        # the same total noise whatever T: beta scales with 1 / T, capped where T is small
        scale = 1000 / steps
        ramp = torch.linspace(1e-4 * scale, 0.02 * scale, steps, dtype=torch.float64)
        return [min(float(beta), 0.999) for beta in ramp]
    if name == "cosine":
        offset = 0.008
        level: Callable[[float], float] = lambda u: math.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2  # noqa: E731
        return [min(1 - level((t + 1) / steps) / level(t / steps), 0.999) for t in range(steps)]
    raise ValueError(f"unknown schedule {name!r}: expected linear, cosine or straight")
