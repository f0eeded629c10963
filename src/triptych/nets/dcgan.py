"""The networks of DCGAN (Radford, Metz and Chintala 2015): strided convolutions and batch norm only.

Points of a plane, pictures of one pixel, get fully connected ones (`nets.mlp`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from triptych.core.errors import UsageError
from triptych.core.types import ImageSpec
from triptych.nets import mlp

Norm = Literal["batch", "layer"]


def doublings(size: int) -> int:
    """How often 4 pixels are doubled to `size`. Raises UsageError unless size = 4 * 2^k, k >= 1."""
    k = (size // 4).bit_length() - 1
    if size == 1:
        raise UsageError(
            "this network draws pictures, not points of 1 x 1 px: dcgan and wgan can draw points"
        )
    if size < 8 or 4 * 2**k != size:
        near = [4 * 2 ** max(k, 1), 4 * 2 ** (max(k, 1) + 1)]
        raise UsageError(
            f"this network needs a size of 4 * 2^k pixels, from 8 up, got {size}; "
            f"near ones: --size {near[0]} or {near[1]}"
        )
    return k


def generator(latent: int, spec: ImageSpec, width: int = 64) -> nn.Sequential:
    """(B, latent, 1, 1) noise -> (B, C, size, size) in [-1, 1].

    A 4x4 stamp, then doublings by fractionally strided convolutions; batch norm and ReLU after each
    but the last, which ends in tanh. At 32 px: 4 * width, 2 * width, width channels, then the picture.
    """
    if spec.size == 1:
        return mlp.generator(latent, spec, width)
    k = doublings(spec.size)
    channels = [width * 2 ** (k - 1 - level) for level in range(k)]  # 32 px: 256, 128, 64
    layers: list[nn.Module] = []
    for level, (wide, narrow) in enumerate(zip([latent, *channels], channels, strict=False)):
        stride, padding = (1, 0) if level == 0 else (2, 1)
        layers += [
            nn.ConvTranspose2d(wide, narrow, 4, stride, padding, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
        ]
    layers += [nn.ConvTranspose2d(channels[-1], spec.channels, 4, 2, 1, bias=False), nn.Tanh()]
    return nn.Sequential(*layers)


def first_layer_weight(network: nn.Sequential, latent: int) -> Tensor | None:
    """(channels * 16, latent): a generator's stamp, each channel scaled as its batch norm does when drawing.

    Weights beyond `latent` read the label and are left out. None for a generator of points.
    """
    stamp, norm = network[0], network[1]
    if not isinstance(stamp, nn.ConvTranspose2d):
        return None
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # (channels,)
    return (stamp.weight[:latent] * scale[:, None, None]).flatten(1).T.detach()  # (channels * 16, latent)


def discriminator(spec: ImageSpec, width: int = 64, norm: Norm = "batch") -> nn.Sequential:
    """(B, C, size, size) -> (B, 1, 1, 1) logits or scores: the generator mirrored, LeakyReLU 0.2.

    norm: between convolution and LeakyReLU, but in the first layer, as the paper asks. Under batch norm
    a picture's score depends on its batch; layer norm (over channels and places) leaves each to itself, which
    a penalty on the gradient at each picture needs (Gulrajani et al. 2017, section 4). The sigmoid is
    left to the loss, where it can be taken together with the logarithm without overflow.
    """
    if spec.size == 1:
        return mlp.discriminator(spec, width)
    k = doublings(spec.size)
    channels = [width * 2**level for level in range(k)]  # 32 px: 64, 128, 256
    layers: list[nn.Module] = []
    for level, (narrow, wide) in enumerate(zip([spec.channels, *channels], channels, strict=False)):
        layers += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=False)]
        if level > 0:
            layers += [nn.BatchNorm2d(wide) if norm == "batch" else nn.GroupNorm(1, wide)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    layers += [nn.Conv2d(channels[-1], 1, 4, 1, 0, bias=False)]
    return nn.Sequential(*layers)


def with_labels(planes: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(B, channels, H, W), followed by one constant plane a class: 1 for the label's, else 0."""
    told = F.one_hot(labels, classes).to(planes.dtype)[:, :, None, None]  # (B, classes, 1, 1)
    return torch.cat([planes, told.expand(-1, -1, *planes.shape[2:])], dim=1)


def init_normal(module: nn.Module) -> None:
    """The paper's start: weights N(0, 0.02), batch-norm gains N(1, 0.02), offsets 0 (section 4)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
