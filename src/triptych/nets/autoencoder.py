"""Convolutional encoder and decoder between pictures and vectors."""

from __future__ import annotations

from torch import nn

from triptych.core.types import ImageSpec
from triptych.nets.dcgan import doublings


def encoder(spec: ImageSpec, outputs: int, width: int) -> nn.Sequential:
    """(B, C, size, size) -> (B, outputs): halvings down to 4x4, then one linear layer.

    Activations are not done in place: autograd would first copy what they overwrite.
    Channels double at each halving, from `width`, and stay at 4 * width from the third on.
    """
    channels = [min(width * 2**level, 4 * width) for level in range(doublings(spec.size))]
    layers: list[nn.Module] = []
    for narrow, wide in zip([spec.channels, *channels], channels, strict=False):
        layers += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.BatchNorm2d(wide), nn.SiLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * 16, outputs))


def decoder(spec: ImageSpec, inputs: int, width: int) -> nn.Sequential:
    """(B, inputs) -> (B, C, size, size) in [-1, 1]: the encoder mirrored, with a convolution a level.

    The 3x3 convolution after each doubling mends the seams that a fractionally strided one leaves.
    """
    channels = [min(width * 2**level, 4 * width) for level in range(doublings(spec.size))][::-1]
    layers: list[nn.Module] = [nn.Linear(inputs, channels[0] * 16), nn.Unflatten(1, (channels[0], 4, 4))]
    for wide, narrow in zip(channels, [*channels[1:], channels[-1]], strict=True):
        layers += [nn.BatchNorm2d(wide), nn.SiLU(), nn.ConvTranspose2d(wide, narrow, 4, 2, 1)]
    layers += [nn.BatchNorm2d(channels[-1]), nn.SiLU()]
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], spec.channels, 3, padding=1), nn.Tanh())
