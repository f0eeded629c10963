"""Versions of what a run was made with."""

from __future__ import annotations

import os

import torch

from triptych._version import __version__
from triptych.core import device as devices


def versions() -> dict[str, str]:
    """What the run was made with."""
    import platform

    import numpy as np

    return {
        "triptych": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu": devices.describe(torch.device("cpu")),
        "cores": str(os.cpu_count()),
        "instructions": devices.instructions(),
    }
