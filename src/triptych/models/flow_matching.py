"""Flow matching on the linear interpolant (rectified flow): learn the velocity of straight paths to noise.

Lipman et al. 2022 (conditional optimal-transport path), Liu, Gong and Liu 2022 (rectified flow). Time runs
from image (t = 0) to noise (t = T), as for `diffusion`; in Lipman et al. it runs the other way.
"""

from __future__ import annotations

from typing import Any, ClassVar

from triptych.diffusion.denoisers import Target
from triptych.diffusion.schedules import ScheduleName
from triptych.models._denoising import DenoisingConfig, DenoisingModel


class FlowMatchingConfig(DenoisingConfig):
    """What is fixed when training starts."""

    target: Target = "velocity"
    """What the network predicts: the velocity noise - image, the noise, or the clean image."""


class FlowMatching(DenoisingModel[FlowMatchingConfig]):
    """Minimizes E ||(eps - x_0) - network(x_t, t)||^2 for x_t = (1 - t/T) x_0 + t/T eps.

    This is the conditional flow matching loss (Lipman et al. 2022, eq. 23 with sigma_min = 0; Liu, Gong and
    Liu 2022, eq. 1). Times are drawn from a grid of T. Sampling integrates the velocity field from noise to
    image. The likelihood bound is the variational bound of the Gaussian diffusion with the same marginals
    q(x_t | x_0), not the likelihood of the ODE.
    """

    Config = FlowMatchingConfig
    title = "Flow matching"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {"batch": 64},
        "points": {"batch": 256, "conditional": False},
        "paper": {  # CIFAR-10's of Tong et al. 2024 (I-CFM, 400,000 steps, with --flip), on DDPM's U-Net
            "batch": 128, "target": "velocity", "network": "ddpm", "channels": (128, 256, 256, 256),
            "blocks_per_level": 2, "patch_size": 1, "attention": (16,), "dropout": 0.1, "lr": 2e-4,
            "beta2": 0.999, "lr_schedule": "constant", "conditional": False,
            "ema_std": 0.025,  # as wide as an EMA with decay 0.9999 after 400,000 steps
        },
    }  # fmt: skip

    @staticmethod
    def path(config: FlowMatchingConfig) -> tuple[Target, ScheduleName]:
        """The config's target on the linear interpolant."""
        return config.target, "rectified"
