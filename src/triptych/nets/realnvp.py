"""Real NVP: an invertible network between vectors, made of affine coupling layers (Dinh et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AffineCoupling(nn.Module):
    """Scale and shift every second dimension by a function of the others and of a condition.

    The identity at initialization.
    """

    mask: Tensor

    def __init__(self, features: int, hidden: int, odd: bool, condition: int = 0) -> None:
        """Build the layer.

        Args:
            features: length of the vectors.
            hidden: width of the two hidden layers of its network.
            odd: whether the odd dimensions pass unchanged, instead of the even ones.
            condition: length of the condition.
        """
        super().__init__()
        mask = (torch.arange(features) % 2 == int(odd)).float()
        self.register_buffer("mask", mask, persistent=False)  # (features,) 1 where a dimension is unchanged
        self.net = nn.Sequential(
            nn.Linear(features + condition, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 2 * features),
        )
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def scale_and_shift(self, vectors: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """The transformation's parameters; both are 0 where a dimension is unchanged.

        Args:
            vectors: (B, features).
            condition: (B, condition), or None.

        Returns:
            Log-scale, in (-2, 2), and shift, (B, features) each.
        """
        inputs = vectors * self.mask
        if condition is not None:
            inputs = torch.cat([inputs, condition], dim=1)  # (B, features + condition)
        log_scale, shift = self.net(inputs).float().chunk(2, dim=1)
        transformed = 1 - self.mask
        return 2 * torch.tanh(log_scale / 2) * transformed, shift * transformed

    def forward(self, vectors: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, features) and (B, condition) -> (B, features)."""
        log_scale, shift = self.scale_and_shift(vectors, condition)
        return vectors * log_scale.exp() + shift

    def inverse(self, vectors: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo `forward`.

        Args:
            vectors: (B, features).
            condition: (B, condition), or None.

        Returns:
            (B, features), and the log-determinant of the inverse, (B,).
        """
        log_scale, shift = self.scale_and_shift(vectors, condition)
        return (vectors - shift) * (-log_scale).exp(), -log_scale.sum(1)


class RealNVP(nn.Module):
    """A normalizing flow of affine couplings, from standard normal noise to vectors.

    Without couplings it is the identity.
    """

    def __init__(self, features: int, couplings: int, hidden: int = 128, condition: int = 0) -> None:
        """Build the flow.

        Args:
            features: length of the vectors.
            couplings: coupling layers; they alternate between even and odd dimensions.
            hidden: width of the layers' networks.
            condition: length of the condition; 0 for an unconditional flow.
        """
        super().__init__()
        self.couplings = nn.ModuleList(
            AffineCoupling(features, hidden, k % 2 == 1, condition) for k in range(couplings)
        )

    def layers(self) -> list[AffineCoupling]:
        """The couplings in the order in which `forward` applies them."""
        return [coupling for coupling in self.couplings if isinstance(coupling, AffineCoupling)]

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, features) and (B, condition) -> (B, features)."""
        for coupling in self.layers():
            noise = coupling(noise, condition)
        return noise

    def inverse(self, vectors: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map vectors to noise.

        Args:
            vectors: (B, features).
            condition: (B, condition), or None.

        Returns:
            The noise, (B, features), and log |det d noise / d vectors|, (B,).
        """
        total = vectors.new_zeros(len(vectors))
        for coupling in reversed(self.layers()):
            vectors, log_det = coupling.inverse(vectors, condition)
            total = total + log_det
        return vectors, total
