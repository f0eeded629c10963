"""The averaged weights: what is shown, saved for sampling and exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from triptych.core.weights import named_under


def gamma_from_width(width: float) -> float:
    """gamma of the power-function average whose width is `width` times the training's length so far.

    Solves width^2 = (gamma + 1) (gamma + 2)^-2 (gamma + 3)^-1 (Karras et al. 2024, "Analyzing and
    Improving the Training Dynamics of Diffusion Models", eq. 126). Raises ValueError outside (0, 0.28).
    """
    if not 0 < width < 0.28:
        raise ValueError(f"the average's width must lie between 0 and 0.28 of the run, got {width}")
    inverse = width**-2
    roots = np.roots([1, 7, 16 - inverse, 12 - inverse])
    return float(max(root.real for root in roots))


class PowerFunctionEMA:
    """A power-function average of the weights: its memory grows with the run, so it needs no warm-up.

    After step t (from 1) the average is beta * average + (1 - beta) * weights with
    beta = (1 - 1/t)^(gamma + 1) (the same paper, eq. 121): at t = 1 it is the weights themselves, so
    nothing of the random start remains, in a run of a hundred steps or of a million. Floating-point
    buffers (batch norm's statistics) are averaged alike; integers are copied.
    """

    def __init__(self, module: nn.Module, prefixes: Sequence[str], width: float) -> None:
        self.power = gamma_from_width(width)
        self._live = named_under(module, prefixes)
        if not self._live:
            raise ValueError(f"the module has nothing named {', '.join(prefixes)}")
        self.tensors = {name: tensor.clone() for name, tensor in self._live.items()}
        floating = [name for name, tensor in self._live.items() if tensor.is_floating_point()]
        self._averaged = ([self.tensors[n] for n in floating], [self._live[n] for n in floating])
        self._copied = [(self.tensors[n], self._live[n]) for n in self._live if n not in set(floating)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` (from 1)."""
        beta = (1 - 1 / step) ** (self.power + 1)
        torch._foreach_lerp_(*self._averaged, 1 - beta)
        for kept, live in self._copied:
            kept.copy_(live)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over saved averages. Raises ValueError when names differ."""
        if set(tensors) != set(self.tensors):
            raise ValueError(f"saved averages differ in {sorted(set(tensors) ^ set(self.tensors))[:3]}")
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
