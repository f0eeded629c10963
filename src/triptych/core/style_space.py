"""What a model adds to the contract when it has a space of styles between noise and picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from triptych.core.types import Condition


class StyleBased(ABC):
    """Noise becomes one style a layer, styles become a picture: what mixing and style directions act on.

    Karras, Laine and Aila 2019, "A style-based generator architecture", section 3.
    """

    mixed = False  # whether training shows pictures whose layers have unlike styles
    style_shape: tuple[int, int]  # (layers, width) of one picture; layer 0 decides the coarsest things

    @abstractmethod
    def styles(self, noise: Tensor, condition: Condition, controls: Any) -> Tensor:
        """(B, layers, width) styles of noise (B, *noise_shape), with truncation as the controls ask."""

    @abstractmethod
    def synthesize(self, styles: Tensor, seeds: Sequence[int], controls: Any = None) -> Tensor:
        """(B, C, H, W) in [-1, 1] of styles (B, layers, width); the seeds decide the random detail.

        controls: those that act after the styles; None for the defaults. Truncation is in the styles already.
        """

    @abstractmethod
    def style_affine_weights(self) -> list[Tensor]:
        """One (outputs, width) matrix a layer: the weights that a style meets first in that layer."""
