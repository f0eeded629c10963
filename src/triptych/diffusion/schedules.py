"""Noise schedules: x_t = alpha_t x_0 + sigma_t eps for t = 0 (clean) .. T (noise)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

ScheduleName = Literal["linear", "cosine", "rectified"]


@dataclass(frozen=True)
class Schedule:
    """Tables of alpha and sigma over t = 0..T, float64, with their derivatives d/dtau.

    tau is the natural time of the path: the angle for variance-preserving schedules (alpha = cos tau,
    sigma = sin tau), t / T for the linear interpolant. In both, alpha d_sigma - sigma d_alpha = 1, so that
    one formula reads (x_0, eps) off (x_t, velocity); see `triptych.diffusion.denoisers`.
    """

    alpha: Tensor  # (T + 1,)
    sigma: Tensor  # (T + 1,)
    d_alpha: Tensor  # (T + 1,) d alpha / d tau
    d_sigma: Tensor  # (T + 1,) d sigma / d tau
    tau: Tensor  # (T + 1,)

    @property
    def steps(self) -> int:
        """T: the number of noising steps."""
        return len(self.alpha) - 1

    @property
    def snr(self) -> Tensor:
        """The signal-to-noise ratio (alpha / sigma)^2, (T + 1,): falling, infinite at t = 0."""
        return (self.alpha / self.sigma).square()

    def at(self, table: Tensor, t: Tensor, like: Tensor) -> Tensor:
        """The table's values at t, shaped to multiply a batch.

        Args:
            table: (T + 1,), one of the schedule's tables or a function of them.
            t: (B,) int64 in 0..T.
            like: (B, *), whose dtype, device and number of dimensions the result takes.

        Returns:
            (B, 1, ...).
        """
        values = table.to(like.device)[t].to(like.dtype)  # (B,)
        return values.view(-1, *([1] * (like.dim() - 1)))  # (B, 1, ...)


def make_schedule(name: ScheduleName, steps: int) -> Schedule:
    """Build a schedule by name.

    Args:
        name: "linear": DDPM's linear betas, 1e-4 to 0.02 at T = 1000, scaled to other T. "cosine":
            alpha_bar = cos^2 of a shifted ramp. "rectified": the linear interpolant alpha = 1 - t/T,
            sigma = t/T of rectified flow, which flow matching calls the conditional optimal-transport path.
        steps: T, at least 2.

    Returns:
        The tables.

    Raises:
        ValueError: for an unknown name, and for fewer than 2 steps.

    References:
        Ho, Jain and Abbeel 2020, section 4 (linear); Nichol and Dhariwal 2021, eq. 17 (cosine); Liu, Gong
        and Liu 2022, eq. 1, and Lipman et al. 2022, section 4.1 (rectified; t runs the other way there).
    """
    if steps < 2:
        raise ValueError(f"a schedule needs at least 2 steps, got {steps}")
    if name == "rectified":
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
        return [min(1 - _cosine((t + 1) / steps) / _cosine(t / steps), 0.999) for t in range(steps)]
    raise ValueError(f"unknown schedule {name!r}: expected linear, cosine or rectified")


def _cosine(u: float, offset: float = 0.008) -> float:
    """alpha_bar at u = t / T, up to a constant factor (Nichol and Dhariwal 2021, eq. 17)."""
    return math.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
