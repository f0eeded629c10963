"""StyleGAN's generator: a mapping network, and convolutions that a style modulates in every layer.

Karras, Laine and Aila 2019 for mapping, noise inputs and mixing; Karras et al. 2020 ("Analyzing and improving
the image quality of StyleGAN") for modulation, demodulation and output skips.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from triptych.core.types import ImageSpec
from triptych.nets.dcgan import doublings
from triptych.nets.equalized import (
    LRELU_GAIN,
    EqualizedLinear,
    leaky_relu_,
    upsample_2x,
)

MAPPING_LR_SCALE = 0.01  # at the full learning rate training is unstable (Karras et al. 2019, appendix C)
MEAN_DECAY = 0.998  # of the mean style, per image


def channels_at(size: int, width: int, max_channels: int) -> list[int]:
    """Channels at each resolution.

    Args:
        size: Side of the images in pixels, 4 * 2^k.
        width: Channels at full resolution, doubled at every halving.
        max_channels: Upper limit at any resolution.

    Returns:
        Channels at 4, 8, ..., size px.
    """
    k = doublings(size)
    return [min(max_channels, width * 2 ** (k - level)) for level in range(k + 1)]


def normalize(x: Tensor) -> Tensor:
    """Scale every row of x, (B, N), to mean square 1."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class Mapping(nn.Module):
    """The mapping network: latent vectors, and labels if there are any, to styles.

    It also tracks the mean style of each class, for truncation.

    Args:
        latent: Dimensions of the latent vector.
        style: Dimensions of the style.
        depth: Number of layers.
        classes: Number of classes; 0 for an unconditional network.
    """

    mean: Tensor  # (classes or 1, style): a buffer, hence saved, and averaged with the weights
    seen: Tensor  # (classes or 1, 1): images of each class so far

    def __init__(self, latent: int, style: int, depth: int, classes: int = 0) -> None:
        super().__init__()
        self.labels = nn.Parameter(torch.randn(classes, latent)) if classes else None
        widths = [latent * (2 if classes else 1)] + [style] * depth
        gains = [1.0] + [LRELU_GAIN] * (depth - 1)
        self.layers = nn.ModuleList(
            EqualizedLinear(inputs, outputs, MAPPING_LR_SCALE, gain)
            for inputs, outputs, gain in zip(widths[:-1], widths[1:], gains, strict=True)
        )
        self.register_buffer("mean", torch.zeros(max(classes, 1), style))
        self.register_buffer("seen", torch.zeros(max(classes, 1), 1))

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """noise: (B, latent), labels: (B,) int64. Returns (B, style)."""
        with torch.autocast(noise.device.type, enabled=False):
            x = normalize(noise)
            if self.labels is not None:
                assert labels is not None
                x = torch.cat([x, normalize(self.labels[labels])], dim=1)  # (B, 2 latent)
            for layer in self.layers:
                x = leaky_relu_(layer(x))  # (B, style)
            return x * LRELU_GAIN

    @torch.no_grad()
    def track(self, styles: Tensor, labels: Tensor | None) -> None:
        """Update the mean style of each class.

        It is the plain mean at first, then an exponential average: a fixed decay would keep a bias towards
        its start for long.

        Args:
            styles: (B, style).
            labels: (B,) int64; None where the network is unconditional.
        """
        classes = len(self.mean)
        with torch.autocast(styles.device.type, enabled=False):
            if classes == 1 or labels is None:
                labels = torch.zeros_like(styles[:, 0], dtype=torch.int64)
            members = F.one_hot(labels, classes).to(styles.dtype)  # (B, classes)
            counts = members.sum(0)[:, None]  # (classes, 1)
            batch_mean = members.T @ styles / counts.clamp(min=1)  # (classes, style)
            self.seen += counts
            weight = torch.maximum(1 - MEAN_DECAY**counts, counts / self.seen.clamp(min=1))
            self.mean.lerp_(batch_mean, weight)

    def center(self, labels: Tensor | None) -> Tensor:
        """(1 or B, style): the mean style, of each label's class where the network is conditional."""
        return self.mean if self.labels is None else self.mean[labels]


class LrScales(NamedTuple):
    """Factors on the optimizer's learning rate for parts of a generator."""

    affine: float = 1.0  # of the layers that read the style: affine layers, and the map added to the input
    noise: float = 1.0  # of the noise strengths


EQUAL = LrScales()


class ModulatedConv(nn.Module):
    """A convolution whose input channels a style scales (Karras et al. 2020, eqs. 1 to 3).

    w'_ijk = s_i w_ijk, and demodulated w''_ijk = w'_ijk / sqrt(sum_ik w'_ijk^2 + eps), i counts inputs, j
    outputs and k the kernel's positions; then a bias. One kernel per image is never formed: scaling the
    inputs by s, then the outputs by the root, gives the same with one plain convolution for the whole batch.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        style: Dimensions of the style.
        lr_scale: Factor on the learning rate of the affine layer.
        kernel: Side of the kernel in pixels, odd.
        gain: Factor that gives the inputs unit variance.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style: int,
        lr_scale: float = 1.0,
        kernel: int = 3,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style, in_channels, lr_scale, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.scale, self.gain = (in_channels * kernel**2) ** -0.5, gain  # scale: equalizes the learning rate
        self.padding = kernel // 2

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: (B, in_channels, H, W), style: (B, style). Returns (B, out_channels, H, W)."""
        s, root = self.scales(style)  # (B, in_channels), (B, out_channels)
        y = F.conv2d(x * (s * self.gain).to(x.dtype)[:, :, None, None], self.weight, padding=self.padding)
        bias = self.bias.to(y.dtype)[:, None, None]  # in one pass with the scale: memory passes dominate
        return torch.addcmul(bias, y, root.to(y.dtype)[:, :, None, None])

    def scales(self, style: Tensor) -> tuple[Tensor, Tensor]:
        """Factors on the inputs, (B, in_channels), and on the outputs, (B, out_channels)."""
        with torch.autocast(style.device.type, enabled=False):
            s = self.affine(style) * self.scale
            energy = self.weight.square().sum(dim=(2, 3))  # (out_channels, in_channels)
            return s, (s.square() @ energy.T + 1e-8).rsqrt()


class StyledConv(nn.Module):
    """Modulated convolution, optional upsampling, noise of a learned strength, leaky ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        style: Dimensions of the style.
        lr_scales: Factors on learning rates.
        upsample: Whether the resolution is doubled, after the convolution: a quarter of the work of before.
        gain: Factor that gives the inputs unit variance.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style: int,
        lr_scales: LrScales,
        upsample: bool = False,
        gain: float = LRELU_GAIN,
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, out_channels, style, lr_scales.affine, gain=gain)
        self.upsample = upsample
        self.lr_scale = lr_scales.noise
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Compute the layer.

        Args:
            x: (B, in_channels, H, W).
            style: (B, style).
            noise: (B, 1, H, W), or twice the resolution where the layer upsamples.

        Returns:
            (B, out_channels, H, W) at the resolution of the noise.
        """
        y = self.conv(x, style)
        y = upsample_2x(y) if self.upsample else y  # (B, out_channels, H, H)
        return leaky_relu_(y.add_((noise * (self.strength * self.lr_scale)).to(y.dtype)))


class ToRGB(nn.Module):
    """A layer's part of the image: a 1x1 modulated convolution; not demodulated, so that it sets contrast.

    Args:
        in_channels: Channels of the input.
        image_channels: Channels of the image.
        style: Dimensions of the style.
        lr_scale: Factor on the learning rate of the affine layer.
    """

    def __init__(self, in_channels: int, image_channels: int, style: int, lr_scale: float) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style, in_channels, lr_scale, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(image_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(image_channels))
        self.scale = LRELU_GAIN * in_channels**-0.5

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: (B, in_channels, H, W), style: (B, style). Returns (B, image_channels, H, W) float32."""
        B, C, H, W = x.shape
        kernels = self.weight * (self.affine(style).float() * self.scale)[:, None]  # (B, image_channels, C)
        pixels = x.permute(0, 2, 3, 1).reshape(B, H * W, C)  # no copy in channels-last memory format
        y = pixels @ kernels.to(x.dtype).transpose(1, 2)  # (B, H W, image_channels)
        return y.float().view(B, H, W, -1).permute(0, 3, 1, 2) + self.bias[:, None, None]


class StyleGenerator(nn.Module):
    """A learned 4x4 input, upsampled until it is an image; every block adds its part to the upsampled sum.

    Two convolutions per resolution (one at 4 px), each with a style of its own: `layers` = 2 * doublings + 1.
    A block's part of the image is read under the style of its last convolution. The paper's input is
    constant, so that a style can only scale its channels; with `style_dependent_input` the first layer's
    style also adds a (linear) map, so that the layers above need not move content by scaling alone.

    Args:
        spec: Of the images.
        channels: At 4, 8, ..., size px, as `channels_at` gives them.
        latent: Dimensions of the latent vector.
        style: Dimensions of a style.
        depth: Layers of the mapping network.
        classes: Number of classes; 0 for an unconditional generator.
        lr_scales: Factors on learning rates.
        style_dependent_input: Whether the 4x4 input depends on the style.
    """

    def __init__(
        self,
        spec: ImageSpec,
        channels: list[int],
        latent: int,
        style: int,
        depth: int,
        classes: int = 0,
        lr_scales: LrScales = EQUAL,
        style_dependent_input: bool = False,
    ) -> None:
        super().__init__()
        self.mapping = Mapping(latent, style, depth, classes)
        self.start = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        numbers = channels[0] * 16
        self.layout = (
            EqualizedLinear(style, numbers, lr_scales.affine, bias_init=None)
            if style_dependent_input
            else None
        )
        convs = [StyledConv(channels[0], channels[0], style, lr_scales, gain=1.0)]
        for lower, higher in pairwise(channels):
            convs.append(StyledConv(lower, higher, style, lr_scales, upsample=True))
            convs.append(StyledConv(higher, higher, style, lr_scales))
        self.convs = nn.ModuleList(convs)
        self.pictures = nn.ModuleList(
            ToRGB(count, spec.channels, style, lr_scales.affine) for count in channels
        )
        self.layers = len(convs)
        self.sides = [4 * 2 ** ((layer + 1) // 2) for layer in range(self.layers)]  # 4, 8, 8, 16, 16, ...
        self.noise_numbers = sum(side**2 for side in self.sides)  # of all noise inputs of one image

    def forward(self, styles: Tensor, noise: Tensor) -> Tensor:
        """styles: (B, layers, style), noise: (B, noise_numbers). Returns (B, C, size, size)."""
        planes = noise.split([side**2 for side in self.sides], dim=1)
        x, image = self.start.expand(len(styles), -1, -1, -1), None  # (B, channels, 4, 4)
        if self.layout is not None:
            x = x + self.layout(styles[:, 0]).view(x.shape)
        for layer, (conv, side) in enumerate(zip(self.convs, self.sides, strict=True)):
            x = conv(x, styles[:, layer], planes[layer].view(-1, 1, side, side))  # (B, channels, side, side)
            if layer % 2 == 0:
                part = self.pictures[layer // 2](x, styles[:, layer])  # (B, C, side, side)
                image = part if image is None else upsample_2x(image) + part
        assert image is not None
        return image

    def affine_weights(self) -> list[Tensor]:
        """One (outputs, style) matrix per layer: all weights that multiply the layer's style first.

        The rows of a style-dependent input are one pixel of a channel each, not all 16, and are scaled down
        accordingly.
        """
        matrices: list[list[Tensor]] = [[] for _ in range(self.layers)]
        for layer, conv in enumerate(self.convs):
            assert isinstance(conv, StyledConv)
            matrices[layer].append(conv.conv.affine.scaled_weight())
        for block, part in enumerate(self.pictures):
            assert isinstance(part, ToRGB)
            matrices[2 * block].append(part.affine.scaled_weight())
        if self.layout is not None:
            matrices[0].append(self.layout.scaled_weight() / 4)  # a channel has 16 rows, which weigh as one
        return [torch.cat(parts) for parts in matrices]
