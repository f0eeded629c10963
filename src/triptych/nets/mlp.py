"""Fully connected networks for 2-D points, stored as images of one pixel."""

from __future__ import annotations

from torch import nn

from triptych.core.types import ImageSpec

HIDDEN = 3  # layers


def generator(latent: int, spec: ImageSpec, width: int = 64) -> nn.Sequential:
    """Build a generator: three hidden layers with ReLU, tanh at the end.

    Args:
        latent: Dimensions of the input.
        spec: Of the points: size 1; its channels are the coordinates.
        width: Half the size of the hidden layers.

    Returns:
        A network (B, latent, 1, 1) -> (B, C, 1, 1) in [-1, 1].
    """
    layers: list[nn.Module] = [nn.Flatten()]  # (B, latent)
    for inputs, outputs in zip([latent, *[2 * width] * HIDDEN], [2 * width] * HIDDEN, strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    layers += [nn.Linear(2 * width, spec.channels), nn.Tanh(), nn.Unflatten(1, (spec.channels, 1, 1))]
    return nn.Sequential(*layers)


def discriminator(spec: ImageSpec, width: int = 64) -> nn.Sequential:
    """Build a discriminator: the generator mirrored, with leaky ReLU of slope 0.2.

    Args:
        spec: Of the points: size 1; its channels are the coordinates.
        width: Half the size of the hidden layers.

    Returns:
        A network (B, C, 1, 1) -> (B, 1, 1, 1): logits or scores.
    """
    layers: list[nn.Module] = [nn.Flatten()]  # (B, C)
    for inputs, outputs in zip([spec.channels, *[2 * width] * HIDDEN], [2 * width] * HIDDEN, strict=False):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2, inplace=True)]
    layers += [nn.Linear(2 * width, 1, bias=False), nn.Unflatten(1, (1, 1, 1))]
    return nn.Sequential(*layers)
