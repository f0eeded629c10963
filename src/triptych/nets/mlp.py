"""Fully connected networks for pictures of one pixel: points of a plane."""

from __future__ import annotations

from torch import nn

from triptych.core.types import ImageSpec

HIDDEN = 3  # layers


def generator(latent: int, spec: ImageSpec, width: int = 64) -> nn.Sequential:
    """(B, latent, 1, 1) noise -> (B, C, 1, 1) in [-1, 1]: three hidden layers of 2 * width, ReLU, tanh."""
    layers: list[nn.Module] = [nn.Flatten()]  # (B, latent)
    for wide, narrow in zip([latent, *[2 * width] * HIDDEN], [2 * width] * HIDDEN, strict=False):
        layers += [nn.Linear(wide, narrow), nn.ReLU(inplace=True)]
    layers += [nn.Linear(2 * width, spec.channels), nn.Tanh(), nn.Unflatten(1, (spec.channels, 1, 1))]
    return nn.Sequential(*layers)


def discriminator(spec: ImageSpec, width: int = 64) -> nn.Sequential:
    """(B, C, 1, 1) -> (B, 1, 1, 1) logits or scores: the generator mirrored, LeakyReLU 0.2."""
    layers: list[nn.Module] = [nn.Flatten()]  # (B, C)
    for wide, narrow in zip([spec.channels, *[2 * width] * HIDDEN], [2 * width] * HIDDEN, strict=False):
        layers += [nn.Linear(wide, narrow), nn.LeakyReLU(0.2, inplace=True)]
    layers += [nn.Linear(2 * width, 1, bias=False), nn.Unflatten(1, (1, 1, 1))]
    return nn.Sequential(*layers)
