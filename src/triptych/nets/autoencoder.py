"""Convolutional encoder and decoder between images and vectors."""

from __future__ import annotations

from torch import nn

from triptych.core.types import ImageSpec
from triptych.nets.dcgan import doublings


def encoder(spec: ImageSpec, outputs: int, width: int) -> nn.Sequential:
    """Build the encoder: strided convolutions down to 4x4, then one linear layer.

    Activations are not done in place: autograd would first copy what they overwrite.

    Args:
        spec: shape of the images.
        outputs: length of the vectors.
        width: channels after the first convolution; they double at each halving, up to 4 * width.

    Returns:
        (B, C, size, size) -> (B, outputs).
    """
    channels = [min(width * 2**level, 4 * width) for level in range(doublings(spec.size))]
    layers: list[nn.Module] = []
    for in_channels, out_channels in zip([spec.channels, *channels], channels, strict=False):
        layers += [nn.Conv2d(in_channels, out_channels, 4, 2, 1), nn.BatchNorm2d(out_channels), nn.SiLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * 16, outputs))


def decoder(spec: ImageSpec, inputs: int, width: int, outputs: int | None = None) -> nn.Sequential:
    """Build the decoder: the encoder mirrored, with a 3x3 convolution at the end.

    That convolution smooths the checkerboard that a strided transposed convolution leaves.

    Args:
        spec: shape of the images.
        inputs: length of the vectors.
        width: channels of the finest level, as for the encoder.
        outputs: channels of an unbounded output; None: an image, through tanh.

    Returns:
        (B, inputs) -> (B, outputs, size, size), or (B, C, size, size) in [-1, 1].
    """
    channels = [min(width * 2**level, 4 * width) for level in range(doublings(spec.size))][::-1]
    layers: list[nn.Module] = [nn.Linear(inputs, channels[0] * 16), nn.Unflatten(1, (channels[0], 4, 4))]
    for in_channels, out_channels in zip(channels, [*channels[1:], channels[-1]], strict=True):
        layers += [
            nn.BatchNorm2d(in_channels), nn.SiLU(), nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1)
        ]  # fmt: skip
    layers += [nn.BatchNorm2d(channels[-1]), nn.SiLU()]
    layers += [nn.Conv2d(channels[-1], outputs or spec.channels, 3, padding=1)]
    return nn.Sequential(*layers) if outputs else nn.Sequential(*layers, nn.Tanh())
