"""A small invertible network between two vectors: affine couplings (Dinh et al. 2017, "Real NVP")."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Coupling(nn.Module):
    """Scales and shifts every second number by a function of the others, and of a condition."""

    held: Tensor

    def __init__(self, features: int, hidden: int, odd: bool, condition: int = 0) -> None:
        super().__init__()
        held = (torch.arange(features) % 2 == int(odd)).float()
        self.register_buffer(
            "held", held, persistent=False
        )  # (features,) 1 where the number passes unchanged
        self.net = nn.Sequential(
            nn.Linear(features + condition, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 2 * features),
        )
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # begins as the identity
        nn.init.zeros_(last.bias)

    def moves(self, vectors: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Log-scale, bounded to (-2, 2), and shift, (B, features) each; 0 where the number is held."""
        seen = vectors * self.held
        if condition is not None:
            seen = torch.cat([seen, condition], dim=1)  # (B, features + condition)
        log_scale, shift = self.net(seen).float().chunk(2, dim=1)
        free = 1 - self.held
        return 2 * torch.tanh(log_scale / 2) * free, shift * free

    def forward(self, vectors: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, features) -> (B, features)."""
        log_scale, shift = self.moves(vectors, condition)
        return vectors * log_scale.exp() + shift

    def inverse(self, vectors: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, features) back, and the log-determinant of going back, (B,)."""
        log_scale, shift = self.moves(vectors, condition)
        return (vectors - shift) * (-log_scale).exp(), -log_scale.sum(1)


class Flow(nn.Module):
    """Couplings in a row: turns standard normal noise into vectors of a learnt law, and back.

    Without couplings it is the identity. condition: numbers of the condition on which the law depends.
    """

    def __init__(self, features: int, couplings: int, hidden: int = 128, condition: int = 0) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(
            Coupling(features, hidden, k % 2 == 1, condition) for k in range(couplings)
        )

    def in_turn(self) -> list[Coupling]:
        """The couplings in the order in which noise passes them."""
        return [coupling for coupling in self.couplings if isinstance(coupling, Coupling)]

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, features), and (B, condition) where the law depends on one -> (B, features)."""
        for coupling in self.in_turn():
            noise = coupling(noise, condition)
        return noise

    def inverse(self, vectors: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The noise behind vectors, (B, features), and log |det d noise / d vectors|, (B,)."""
        total = vectors.new_zeros(len(vectors))
        for coupling in reversed(self.in_turn()):
            vectors, log_det = coupling.inverse(vectors, condition)
            total = total + log_det
        return vectors, total
