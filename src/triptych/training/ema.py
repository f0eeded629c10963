"""Exponential moving average (EMA) of the weights with a power-function profile (EDM2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from triptych.core.weights import named_under


def gamma_from_width(width: float) -> float:
    """Solve for the exponent gamma of the power function whose relative standard deviation is `width`.

    It solves width^2 = (gamma + 1) (gamma + 2)^-2 (gamma + 3)^-1.

    Args:
        width: Standard deviation of the profile as a share of the steps so far, between 0 and 0.28.

    Returns:
        gamma, above -1.

    Raises:
        ValueError: If the width is out of range.

    References:
        Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models", eq. 126.
    """
    if not 0 < width < 0.28:
        raise ValueError(f"the EMA's width must lie between 0 and 0.28 of the run, got {width}")
    inverse = width**-2
    roots = np.roots([1, 7, 16 - inverse, 12 - inverse])
    return float(max(root.real for root in roots))


class PowerFunctionEMA:
    """Weights averaged with a power-function profile: its memory grows with the run, so it needs no warm-up.

    After step t (from 1) the average is beta * average + (1 - beta) * weights with
    beta = (1 - 1/t)^(gamma + 1). At t = 1 it equals the weights, so nothing of the initialization remains, in
    a run of a hundred steps or of a million. Floating-point buffers (batch norm's statistics) are averaged
    too; integers are copied.

    Args:
        module: The module in training; its tensors are read at each update.
        prefixes: Name prefixes of the weights and buffers that are averaged.
        width: Standard deviation of the profile as a share of the steps so far, between 0 and 0.28.

    Raises:
        ValueError: If nothing has one of the prefixes, or for a width out of range.

    References:
        Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models", eq. 121.
    """

    def __init__(self, module: nn.Module, prefixes: Sequence[str], width: float) -> None:
        self.gamma = gamma_from_width(width)
        self._live = named_under(module, prefixes)
        if not self._live:
            raise ValueError(f"the module has nothing named {', '.join(prefixes)}")
        self.tensors = {name: tensor.clone() for name, tensor in self._live.items()}
        floating = [name for name, tensor in self._live.items() if tensor.is_floating_point()]
        self._averaged = ([self.tensors[n] for n in floating], [self._live[n] for n in floating])
        self._copied = [(self.tensors[n], self._live[n]) for n in self._live if n not in set(floating)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the weights after `step` (from 1)."""
        beta = (1 - 1 / step) ** (self.gamma + 1)
        torch._foreach_lerp_(*self._averaged, 1 - beta)
        for kept, live in self._copied:
            kept.copy_(live)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load saved EMA weights.

        Args:
            tensors: Name -> tensor, as in `tensors`.

        Raises:
            ValueError: If names differ.
        """
        if set(tensors) != set(self.tensors):
            raise ValueError(f"saved EMA weights differ in {sorted(set(tensors) ^ set(self.tensors))[:3]}")
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
