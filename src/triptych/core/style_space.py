"""What a model adds to the contract when styles stand between noise and image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from triptych.core.types import Condition


class StyleBased(ABC):
    """A model that maps noise to one style per layer, and styles to an image.

    Style mixing and directions in style space act on the styles.

    References:
        Karras, Laine and Aila 2019, "A style-based generator architecture for generative adversarial
        networks", section 3.
    """

    trained_with_mixing = False
    """Whether training includes images whose layers have different styles."""
    style_shape: tuple[int, int]
    """(layers, style dimensions) of one image; layer 0 is the coarsest."""

    @abstractmethod
    def styles(self, noise: Tensor, condition: Condition, controls: Any) -> Tensor:
        """Map noise to styles, with truncation.

        Args:
            noise: (B, *noise_shape) standard normal.
            condition: Labels, where the model is conditional.
            controls: The sampling settings, of which those that act on styles are used.

        Returns:
            (B, layers, style).
        """

    @abstractmethod
    def synthesize(self, styles: Tensor, seeds: Sequence[int], controls: Any = None) -> Tensor:
        """Turn styles into images.

        Args:
            styles: (B, layers, style), already truncated.
            seeds: One per image: they decide the randomness other than the styles.
            controls: The sampling settings, of which those that act after the styles are used; None: the
                defaults.

        Returns:
            (B, C, H, W) in [-1, 1].
        """

    @abstractmethod
    def style_affine_weights(self) -> list[Tensor]:
        """One (outputs, style) matrix per layer: all weights that multiply the layer's style first."""
