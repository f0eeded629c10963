"""The networks of DCGAN (Radford, Metz and Chintala 2015): strided convolutions and batch norm only.

2-D points, images of one pixel, get fully connected networks (`nets.mlp`).
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
    """How often 4 px are doubled to reach the size.

    Args:
        size: Side of the images in pixels.

    Returns:
        k with size = 4 * 2^k, at least 1.

    Raises:
        UsageError: For any other size.
    """
    k = (size // 4).bit_length() - 1
    if size == 1:
        raise UsageError(
            "this network generates images, not points of 1 x 1 px: dcgan and wgan can generate points"
        )
    if size < 8 or 4 * 2**k != size:
        near = [4 * 2 ** max(k, 1), 4 * 2 ** (max(k, 1) + 1)]
        raise UsageError(
            f"this network needs a size of 4 * 2^k pixels, 8 or more, got {size}; "
            f"the nearest ones: --size {near[0]} or {near[1]}"
        )
    return k


def generator(latent: int, spec: ImageSpec, width: int = 64) -> nn.Sequential:
    """Build a generator of transposed convolutions with batch norm and ReLU, tanh at the end.

    The first layer makes a 4x4 map, the others double it. At 32 px: 4 * width, 2 * width, width channels,
    then the image.

    Args:
        latent: Channels of the input: dimensions of the latent vector plus label planes.
        spec: Of the images.
        width: Channels of the layer before the last.

    Returns:
        A network (B, latent, 1, 1) -> (B, C, size, size) in [-1, 1].
    """
    if spec.size == 1:
        return mlp.generator(latent, spec, width)
    k = doublings(spec.size)
    channels = [width * 2 ** (k - 1 - level) for level in range(k)]  # 32 px: 256, 128, 64
    layers: list[nn.Module] = []
    for level, (inputs, outputs) in enumerate(zip([latent, *channels], channels, strict=False)):
        stride, padding = (1, 0) if level == 0 else (2, 1)
        layers += [
            nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    layers += [nn.ConvTranspose2d(channels[-1], spec.channels, 4, 2, 1, bias=False), nn.Tanh()]
    return nn.Sequential(*layers)


def first_layer_weight(network: nn.Sequential, latent: int) -> Tensor | None:
    """The matrix of a generator's first layer, each channel scaled as its batch norm does when sampling.

    Args:
        network: As made by `generator`.
        latent: Dimensions of the latent vector; weights beyond them belong to label planes and are left out.

    Returns:
        (channels * 16, latent); None for a generator of 2-D points.
    """
    first, norm = network[0], network[1]
    if not isinstance(first, nn.ConvTranspose2d):
        return None
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # (channels,)
    return (first.weight[:latent] * scale[:, None, None]).flatten(1).T.detach()  # (channels * 16, latent)


def discriminator(spec: ImageSpec, width: int = 64, norm: Norm = "batch") -> nn.Sequential:
    """Build a discriminator: the generator mirrored, with leaky ReLU of slope 0.2.

    The sigmoid is left to the loss, where it is combined with the logarithm without overflow.

    Args:
        spec: Of the images, label planes counted as channels.
        width: Channels of the first layer.
        norm: Between convolution and leaky ReLU, except in the first layer, as the paper asks. Under batch
            norm an image's score depends on its batch; layer norm (over channels and pixels) keeps images
            independent, which a penalty on the gradient at each image needs (Gulrajani et al. 2017,
            section 4).

    Returns:
        A network (B, C, size, size) -> (B, 1, 1, 1): logits or scores.
    """
    if spec.size == 1:
        return mlp.discriminator(spec, width)
    k = doublings(spec.size)
    channels = [width * 2**level for level in range(k)]  # 32 px: 64, 128, 256
    layers: list[nn.Module] = []
    for level, (inputs, outputs) in enumerate(zip([spec.channels, *channels], channels, strict=False)):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)]
        if level > 0:
            layers += [nn.BatchNorm2d(outputs) if norm == "batch" else nn.GroupNorm(1, outputs)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    layers += [nn.Conv2d(channels[-1], 1, 4, 1, 0, bias=False)]
    return nn.Sequential(*layers)


def with_labels(planes: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Append one-hot label planes.

    Args:
        planes: (B, channels, H, W).
        labels: (B,) int64 in [0, classes).
        classes: Number of classes.

    Returns:
        (B, channels + classes, H, W): the plane of the label is 1, the others are 0.
    """
    one_hot = F.one_hot(labels, classes).to(planes.dtype)[:, :, None, None]  # (B, classes, 1, 1)
    return torch.cat([planes, one_hot.expand(-1, -1, *planes.shape[2:])], dim=1)


def init_normal(module: nn.Module) -> None:
    """The paper's initialization: weights N(0, 0.02), batch-norm gains N(1, 0.02), biases 0 (section 4)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
