"""StyleGAN2's residual discriminator, with minibatch standard deviation and labels by projection.

Karras et al. 2018 for the minibatch standard deviation, Karras et al. 2020 for the residual blocks, Miyato
and Koyama 2018 for the projection.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from triptych.core.types import ImageSpec
from triptych.nets.equalized import LRELU_GAIN, EqualizedConv, EqualizedLinear, downsample_2x, leaky_relu_


class ResidualBlock(nn.Module):
    """Convolution, downsampling, convolution, and a 1x1 skip path. Mean square 1 in gives about 1 out.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        deep: False leaves the first convolution out; the output is then 1.2 times as large.
    """

    def __init__(self, in_channels: int, out_channels: int, deep: bool = True) -> None:
        super().__init__()
        self.conv1 = EqualizedConv(in_channels, in_channels, 3) if deep else None
        self.conv2 = EqualizedConv(in_channels, out_channels, 3, gain=LRELU_GAIN)
        self.skip = EqualizedConv(in_channels, out_channels, 1, gain=1 / LRELU_GAIN, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, in_channels, H, W). Returns (B, out_channels, H / 2, W / 2)."""
        small = downsample_2x(x)
        inner = small if self.conv1 is None else downsample_2x(leaky_relu_(self.conv1(x)))
        return leaky_relu_(self.conv2(inner)) + self.skip(small)


def minibatch_std(x: Tensor, rows: Tensor, group: int) -> Tensor:
    """Standard deviation of each channel over groups of images, averaged over pixels.

    The paper gives the discriminator one number, the mean over channels; one per channel keeps more diversity
    (`benchmarks/results/stylegan_minutes.md`).

    Args:
        x: (k B, C, H, W): k sides (real, fake) of B images each, which are grouped apart.
        rows: (B,) int64: the rows of these images within the batch of the step. A group is `group` successive
            rows of that batch, so that micro-batches change nothing; the last group may be smaller.
        group: Images in a group, at least 1.

    Returns:
        (k B, C).

    Raises:
        ValueError: When a micro-batch begins within a group.

    References:
        Karras et al. 2018, "Progressive growing of GANs", section 3.
    """
    C, H, W = x.shape[1:]
    B = len(rows)
    if int(rows[0]) % group:
        raise ValueError(
            f"a micro-batch begins with image {int(rows[0])} of the step, inside a group of {group} that the "
            f"discriminator sees together: choose a --micro-batch that is a multiple of {group}, or "
            "--minibatch-std-group 1"
        )
    parts = []
    for side in x.float().split(B):
        for part in (side[: B - B % group], side[B - B % group :]):
            if len(part):
                size = min(group, len(part))
                y = part.reshape(-1, size, C, H, W)  # (groups, size, C, H, W)
                centered = y - y.mean(dim=1, keepdim=True)
                variance = centered.square().mean(dim=1)  # (groups, C, H, W); var takes 13 times as long
                y = (variance + 1e-8).sqrt().mean(dim=(2, 3))  # (groups, C)
                parts.append(y.repeat_interleave(size, dim=0))
    return torch.cat(parts).to(x.dtype)


class StyleDiscriminator(nn.Module):
    """Residual blocks down to 4x4, minibatch standard deviation, two more layers; labels by projection.

    At full resolution there is one convolution, the entry. A second one there took a quarter of a step
    without a visible gain (`benchmarks/results/stylegan_minutes.md`).
    The logit of features phi and label y is v . phi + e_y . phi (Miyato and Koyama 2018, eq. 3). Neither it
    nor the features have biases: real and fake of a pair share a label, so in the relativistic loss biases
    cancel as far as the features are linear, and most become so.

    Args:
        spec: Of the images.
        channels: At 4, 8, ..., size px, as `channels_at` gives them.
        classes: Number of classes; 0 for an unconditional discriminator.
        group: Images over which the minibatch standard deviation is taken.
    """

    def __init__(self, spec: ImageSpec, channels: list[int], classes: int, group: int) -> None:
        super().__init__()
        downwards = channels[::-1]  # from full resolution to 4 px
        self.group, last = group, downwards[-1]
        self.entry = EqualizedConv(spec.channels, downwards[0], 3, gain=LRELU_GAIN)
        sizes = enumerate(pairwise(downwards))
        self.blocks = nn.Sequential(*(ResidualBlock(a, b, deep=level > 0) for level, (a, b) in sizes))
        self.conv = EqualizedConv(last, last, 3)
        self.dense = EqualizedLinear(last * (16 + 1), last, gain=LRELU_GAIN, bias_init=None)  # see above
        self.verdict = EqualizedLinear(last, 1, gain=LRELU_GAIN, bias_init=None)
        self.labels = nn.Parameter(torch.randn(classes, last)) if classes else None

    def forward(self, images: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        """Compute logits.

        Args:
            images: (k B, C, H, W): k sides (real, fake) of B images each.
            labels: (k B,) int64; None where the network is unconditional.
            rows: (B,) int64: the rows of each side's images within the batch of the step.

        Returns:
            (k B,): above 0 is real.
        """
        x = self.entry(images)
        if self.conv.weight.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)  # gray images do not determine the format
        x = self.blocks(leaky_relu_(x))  # (B, last, 4, 4)
        deviation = 4 * minibatch_std(x, rows, self.group)  # (B, last), weighted as if at each of 16 pixels
        x = leaky_relu_(self.conv(x))
        phi = leaky_relu_(self.dense(torch.cat([x.flatten(1), deviation], dim=1)))  # (B, last)
        with torch.autocast(images.device.type, enabled=False):
            phi = phi.float()
            logits = self.verdict(phi)[:, 0]  # (B,)
            if self.labels is not None:
                assert labels is not None
                logits = logits + (self.labels[labels] * phi).sum(1) * self.verdict.scale
        return logits
