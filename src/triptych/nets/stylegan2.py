"""StyleGAN's generator: noise becomes a style, and the style steers every layer of the picture.

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
from triptych.nets.equalized import RECTIFIED, EqualizedConv, EqualizedLinear, doubled, halved, rectify

SLOW = 0.01  # the mapping's pace: at the full one it is thrown about (Karras et al. 2019, appendix C)
MEMORY = 0.998  # of the mean style, a picture


def channels_at(size: int, width: int, max_channels: int) -> list[int]:
    """Channels at 4, 8, ..., size px: `width` at full size, doubled at each halving up to `max_channels`."""
    k = doublings(size)
    return [min(max_channels, width * 2 ** (k - level)) for level in range(k + 1)]


def normalised(x: Tensor) -> Tensor:
    """x with mean square 1 in every row. x: (B, N)."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class Mapping(nn.Module):
    """Latent vectors, and labels if there are any, to styles; keeps the mean style of each class.

    classes: 0 for none. depth: layers.
    """

    mean: Tensor  # (classes or 1, style): a buffer, hence averaged with the weights and saved with them
    seen: Tensor  # (classes or 1, 1): pictures of each class so far

    def __init__(self, latent: int, style: int, depth: int, classes: int = 0) -> None:
        super().__init__()
        self.labels = nn.Parameter(torch.randn(classes, latent)) if classes else None
        widths = [latent * (2 if classes else 1)] + [style] * depth
        gains = [1.0] + [RECTIFIED] * (depth - 1)
        self.layers = nn.ModuleList(
            EqualizedLinear(wide, narrow, SLOW, gain)
            for wide, narrow, gain in zip(widths[:-1], widths[1:], gains, strict=True)
        )
        self.register_buffer("mean", torch.zeros(max(classes, 1), style))
        self.register_buffer("seen", torch.zeros(max(classes, 1), 1))

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """noise: (B, latent), labels: (B,) int64. Returns (B, style)."""
        with torch.autocast(noise.device.type, enabled=False):
            x = normalised(noise)
            if self.labels is not None:
                assert labels is not None
                x = torch.cat([x, normalised(self.labels[labels])], dim=1)  # (B, 2 latent)
            for layer in self.layers:
                x = rectify(layer(x))  # (B, style)
            return x * RECTIFIED

    @torch.no_grad()
    def track(self, styles: Tensor, labels: Tensor | None) -> None:
        """Move the mean style of each class towards the styles, (B, style), of its pictures.

        It is the plain mean at first: an average with a fixed memory would long lean towards its start.
        """
        kinds = len(self.mean)
        with torch.autocast(styles.device.type, enabled=False):
            told = (
                torch.zeros_like(styles[:, 0], dtype=torch.int64) if kinds == 1 or labels is None else labels
            )
            members = F.one_hot(told, kinds).to(styles.dtype)  # (B, classes)
            counts = members.sum(0)[:, None]  # (classes, 1)
            found = members.T @ styles / counts.clamp(min=1)  # (classes, style)
            self.seen += counts
            self.mean.lerp_(found, torch.maximum(1 - MEMORY**counts, counts / self.seen.clamp(min=1)))

    def center(self, labels: Tensor | None) -> Tensor:
        """(1 or B, style): the mean style, of the pictures' classes if there are any."""
        return self.mean if self.labels is None else self.mean[labels]


class LrScales(NamedTuple):
    """How fast parts of a generator learn, as shares of the optimiser's learning rate."""

    affine: float = 1.0  # what reads the style: for the scale of every channel, and for the layout
    noise: float = 1.0  # the strength of the random detail


EQUAL = LrScales()


class ModulatedConv(nn.Module):
    """A convolution whose input channels a style scales (Karras et al. 2020, eqs. 1 to 3).

    w'_ijk = s_i w_ijk, and demodulated w''_ijk = w'_ijk / sqrt(sum_ik w'_ijk^2 + eps), i counts inputs, j
    outputs and k the kernel's places; then an offset. One kernel a picture is never made: scaling the inputs
    by s, then the outputs by the root, is the same and keeps one plain convolution for the whole batch.
    gain: what the inputs are multiplied by to have unit variance. pace: of what reads the style.
    """

    def __init__(
        self, wide: int, narrow: int, style: int, pace: float = 1.0, kernel: int = 3, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style, wide, pace, start=1.0)
        self.weight = nn.Parameter(torch.randn(narrow, wide, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(narrow))
        self.scale, self.gain = (wide * kernel**2) ** -0.5, gain  # scale: of the weights, by equalisation
        self.padding = kernel // 2

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: (B, wide, H, W), style: (B, style). Returns (B, narrow, H, W)."""
        s, root = self.scales(style)  # (B, wide), (B, narrow)
        y = F.conv2d(x * (s * self.gain).to(x.dtype)[:, :, None, None], self.weight, padding=self.padding)
        offset = self.bias.to(y.dtype)[:, None, None]  # in one pass with the scale: passes are what costs
        return torch.addcmul(offset, y, root.to(y.dtype)[:, :, None, None])

    def scales(self, style: Tensor) -> tuple[Tensor, Tensor]:
        """What inputs and outputs are multiplied by: (B, wide) and (B, narrow)."""
        with torch.autocast(style.device.type, enabled=False):
            s = self.affine(style) * self.scale
            energy = self.weight.square().sum(dim=(2, 3))  # (narrow, wide)
            return s, (s.square() @ energy.T + 1e-8).rsqrt()


class StyledConv(nn.Module):
    """Modulated convolution, perhaps twice the side, noise of a learnt strength, leaky ReLU.

    lr_scales: of what reads the style and of the strength, as shares of the optimiser's learning rate.
    """

    def __init__(
        self,
        wide: int,
        narrow: int,
        style: int,
        lr_scales: LrScales,
        doubles: bool = False,
        gain: float = RECTIFIED,
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(wide, narrow, style, lr_scales.affine, gain=gain)
        self.doubles = doubles  # after the convolution: a quarter of the work of before
        self.pace = lr_scales.noise
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """x: (B, wide, h, h), style: (B, style), noise: (B, 1, H, H). Returns (B, narrow, H, H)."""
        y = self.conv(x, style)
        y = doubled(y) if self.doubles else y  # (B, narrow, H, H)
        return rectify(y.add_((noise * (self.strength * self.pace)).to(y.dtype)))


class ToPicture(nn.Module):
    """The picture's channels from a layer's, scaled by a style; not demodulated, so that it sets contrast."""

    def __init__(self, wide: int, colors: int, style: int, pace: float) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style, wide, pace, start=1.0)
        self.weight = nn.Parameter(torch.randn(colors, wide))
        self.bias = nn.Parameter(torch.zeros(colors))
        self.scale = RECTIFIED * wide**-0.5

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: (B, wide, H, W), style: (B, style). Returns (B, colors, H, W) float32."""
        B, C, H, W = x.shape
        kernels = self.weight * (self.affine(style).float() * self.scale)[:, None]  # (B, colors, wide)
        pixels = x.permute(0, 2, 3, 1).reshape(B, H * W, C)  # no copy where channels are stored last
        y = pixels @ kernels.to(x.dtype).transpose(1, 2)  # (B, H W, colors)
        return y.float().view(B, H, W, -1).permute(0, 3, 1, 2) + self.bias[:, None, None]


class StyleGenerator(nn.Module):
    """A learnt 4x4 start, doubled until it is a picture: every block adds its part to the one below.

    Two convolutions a size (one at 4 px), each with a style of its own: `layers` = 2 * doublings + 1. What a
    block adds to the picture is read under the style of its last convolution. The paper's start is constant,
    so that a style can only scale its channels; with `layout` the first layer's style also adds a map of its
    own (linear), which spares the layers above from moving things by scales alone.
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
        layout: bool = False,
    ) -> None:
        super().__init__()
        self.mapping = Mapping(latent, style, depth, classes)
        self.start = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        first = channels[0] * 16
        self.layout = EqualizedLinear(style, first, lr_scales.affine, start=None) if layout else None
        convs = [StyledConv(channels[0], channels[0], style, lr_scales, gain=1.0)]
        for wide, narrow in pairwise(channels):
            convs.append(StyledConv(wide, narrow, style, lr_scales, doubles=True))
            convs.append(StyledConv(narrow, narrow, style, lr_scales))
        self.convs = nn.ModuleList(convs)
        self.pictures = nn.ModuleList(
            ToPicture(wide, spec.channels, style, lr_scales.affine) for wide in channels
        )
        self.layers = len(convs)
        self.sides = [4 * 2 ** ((layer + 1) // 2) for layer in range(self.layers)]  # 4, 8, 8, 16, 16, ...
        self.noise_numbers = sum(side**2 for side in self.sides)  # of one picture's noise inputs

    def forward(self, styles: Tensor, noise: Tensor) -> Tensor:
        """styles: (B, layers, style), noise: (B, noise_numbers). Returns (B, C, size, size)."""
        planes = noise.split([side**2 for side in self.sides], dim=1)
        x, picture = self.start.expand(len(styles), -1, -1, -1), None  # (B, wide, 4, 4)
        if self.layout is not None:
            x = x + self.layout(styles[:, 0]).view(x.shape)
        for layer, (conv, side) in enumerate(zip(self.convs, self.sides, strict=True)):
            x = conv(x, styles[:, layer], planes[layer].view(-1, 1, side, side))  # (B, wide, side, side)
            if layer % 2 == 0:
                part = self.pictures[layer // 2](x, styles[:, layer])  # (B, C, side, side)
                picture = part if picture is None else doubled(picture) + part
        assert picture is not None
        return picture

    def affine_weights(self) -> list[Tensor]:
        """One (outputs, style) matrix a layer: what its style is multiplied by first.

        A layout's rows are one place of a channel each, not all 16, and are scaled down by as much.
        """
        found: list[list[Tensor]] = [[] for _ in range(self.layers)]
        for layer, conv in enumerate(self.convs):
            assert isinstance(conv, StyledConv)
            found[layer].append(conv.conv.affine.scaled())
        for block, part in enumerate(self.pictures):
            assert isinstance(part, ToPicture)
            found[2 * block].append(part.affine.scaled())
        if self.layout is not None:
            found[0].append(self.layout.scaled() / 4)  # a channel has 16 rows, which weigh as one
        return [torch.cat(matrices) for matrices in found]


class ResidualBlock(nn.Module):
    """Convolution, half the side, convolution; beside it a 1x1 path. Mean square 1 in gives about 1 out.

    deep: False leaves the first convolution out; what comes out is then 1.2 times as loud.
    """

    def __init__(self, narrow: int, wide: int, deep: bool = True) -> None:
        super().__init__()
        self.conv1 = EqualizedConv(narrow, narrow, 3) if deep else None
        self.conv2 = EqualizedConv(narrow, wide, 3, gain=RECTIFIED)
        self.skip = EqualizedConv(narrow, wide, 1, gain=1 / RECTIFIED, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, narrow, H, W). Returns (B, wide, H / 2, W / 2)."""
        small = halved(x)
        inner = small if self.conv1 is None else halved(rectify(self.conv1(x)))  # (B, narrow, H / 2, W / 2)
        return rectify(self.conv2(inner)) + self.skip(small)


def spread(x: Tensor, rows: Tensor, group: int) -> Tensor:
    """How much the pictures of a group differ in each channel (Karras et al. 2018, section 3).

    The paper tells one number, the mean over channels; told channel by channel, generators keep more variety
    (`benchmarks/results/stylegan_minutes.md`).
    x: (k B, C, H, W), of k sides (the real one, the forged one) of B pictures each, that are grouped apart.
    rows: (B,), which pictures of the step these are: groups are rows 0..group-1, the next as many, ... of the
    whole step, so that micro-batches change nothing; the last group may be smaller.
    Returns (k B, C). Raises ValueError when a group is torn apart.
    """
    C, H, W = x.shape[1:]
    B = len(rows)
    if int(rows[0]) % group:
        raise ValueError(
            f"a micro-batch begins with picture {int(rows[0])} of the step, inside a group of {group} "
            f"seen together: choose a --micro-batch that is a multiple of {group}, or --minibatch-std-group 1"
        )
    parts = []
    for side in x.float().split(B):
        for part in (side[: B - B % group], side[B - B % group :]):
            if len(part):
                size = min(group, len(part))
                y = part.reshape(-1, size, C, H, W)  # (groups, size, C, H, W)
                apart = (y - y.mean(dim=1, keepdim=True)).square().mean(dim=1)  # var takes 13 times as long
                y = (apart + 1e-8).sqrt().mean(dim=(2, 3))  # (groups, C)
                parts.append(y.repeat_interleave(size, dim=0))
    return torch.cat(parts).to(x.dtype)


class StyleDiscriminator(nn.Module):
    """Residual blocks down to 4x4, two layers more, the second told the group's spread; labels by projection.

    At the full size there is one convolution, the entry. A second one there took a quarter of a step and
    bought nothing that was seen (`benchmarks/results/stylegan_minutes.md`).
    The verdict on features phi and label y is v . phi + e_y . phi (Miyato and Koyama 2018, eq. 3). Neither it
    nor the features have offsets: real and fake of a pair share a label, so in the relativistic loss they
    cancel as far as features do not bend, and most come not to.
    """

    def __init__(self, spec: ImageSpec, channels: list[int], classes: int, group: int) -> None:
        super().__init__()
        rising = channels[::-1]  # from the picture inwards
        self.group, last = group, rising[-1]
        self.entry = EqualizedConv(spec.channels, rising[0], 3, gain=RECTIFIED)
        sizes = enumerate(pairwise(rising))
        self.blocks = nn.Sequential(*(ResidualBlock(a, b, deep=level > 0) for level, (a, b) in sizes))
        self.conv = EqualizedConv(last, last, 3)
        self.dense = EqualizedLinear(last * (16 + 1), last, gain=RECTIFIED, start=None)  # see above
        self.verdict = EqualizedLinear(last, 1, gain=RECTIFIED, start=None)
        self.labels = nn.Parameter(torch.randn(classes, last)) if classes else None

    def forward(self, images: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        """images: (k B, C, H, W) of k sides, labels: (k B,) int64, rows: (B,) int64, of each side.

        Returns (k B,): above 0 is real.
        """
        x = self.entry(images)
        if self.conv.weight.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)  # gray pictures have no layout to pass on
        x = self.blocks(rectify(x))  # (B, last, 4, 4)
        apart = 4 * spread(x, rows, self.group)  # (B, last), as loud as if told at each of the 16 places
        x = rectify(self.conv(x))
        phi = rectify(self.dense(torch.cat([x.flatten(1), apart], dim=1)))  # (B, last)
        with torch.autocast(images.device.type, enabled=False):
            phi = phi.float()
            logits = self.verdict(phi)[:, 0]  # (B,)
            if self.labels is not None:
                assert labels is not None
                logits = logits + (self.labels[labels] * phi).sum(1) * self.verdict.scale
        return logits
