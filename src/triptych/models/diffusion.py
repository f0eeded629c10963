"""Denoising diffusion: a network learns to predict the noise in an image; sampling starts from pure noise.

Ho, Jain and Abbeel 2020 (DDPM); Nichol and Dhariwal 2021 (cosine schedule); Salimans and Ho 2022 (v target).
Samplers: Song, Meng and Ermon 2021 (DDIM); Karras et al. 2022 (Heun); Lu et al. 2022 (DPM-Solver++).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from triptych.diffusion.denoisers import Target
from triptych.diffusion.schedules import ScheduleName
from triptych.models._denoising import DenoisingConfig, DenoisingModel


class DiffusionConfig(DenoisingConfig):
    """What is fixed when training starts."""

    schedule: Literal["linear", "cosine"] = "linear"
    """How noise grows with t: the linear betas of DDPM, or the cosine schedule."""
    target: Target = "noise"
    """What the network predicts: the noise, v = alpha noise - sigma image (velocity), or the clean image."""


class Diffusion(DenoisingModel[DiffusionConfig]):
    """Minimizes E ||target - network(x_t, t)||^2 over t and noise (Ho et al. 2020, eq. 14).

    x_t = alpha_t x_0 + sigma_t eps is variance-preserving: alpha_t^2 + sigma_t^2 = 1.
    """

    Config = DiffusionConfig
    title = "Diffusion"
    accent_color = 2
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {"batch": 64, "schedule": "cosine", "target": "velocity"},
        "points": {"batch": 256, "schedule": "cosine", "target": "velocity", "conditional": False},
        "paper": {  # CIFAR-10's: 800,000 steps, with --flip, sampled by --solver ddpm --steps 1000
            "batch": 128, "schedule": "linear", "target": "noise", "timesteps": 1000, "network": "ddpm",
            "channels": (128, 256, 256, 256), "blocks_per_level": 2, "patch_size": 1, "attention": (16,),
            "dropout": 0.1, "lr": 2e-4, "beta2": 0.999, "lr_schedule": "constant", "conditional": False,
            "ema_std": 0.0125,  # as wide as an EMA with decay 0.9999 after 800,000 steps
        },
    }  # fmt: skip

    @staticmethod
    def path(config: DiffusionConfig) -> tuple[Target, ScheduleName]:
        """The config's target and schedule."""
        return config.target, config.schedule
