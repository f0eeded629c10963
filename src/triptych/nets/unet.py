"""A compact U-Net for training in minutes on a processor.

It is fast for two reasons: patches of 2x2 pixels become channels before the first convolution (a quarter of
the positions), and there is no attention. The rest is standard: residual blocks with group norm, scaled and
shifted by the embedding of time and label, and skip connections (Ronneberger, Fischer and Brox 2015; Ho, Jain
and Abbeel 2020; scale and shift as in Dhariwal and Nichol 2021, eq. 5). For the U-Net of Ho et al. as
published see `triptych.nets.ddpm_unet`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def time_features(t: Tensor, width: int) -> Tensor:
    """Sines and cosines of t at log-spaced frequencies.

    Args:
        t: times as a share of T, (B,) in [0, 1].
        width: an even number of features.

    Returns:
        (B, width) float32 in [-1, 1].
    """
    frequencies = torch.exp(torch.linspace(0, math.log(1000), width // 2, device=t.device))
    angles = t.float()[:, None] * frequencies * math.tau / 4  # (B, width / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)  # (B, width)


class ResidualBlock(nn.Module):
    """norm, SiLU, conv, norm scaled and shifted by the embedding, SiLU, conv (initialized to zero)."""

    def __init__(self, in_channels: int, out_channels: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.modulate = nn.Linear(embedding, 2 * out_channels)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Apply the block.

        Args:
            x: (B, in_channels, H, W).
            embedding: of time and label, (B, E).

        Returns:
            (B, out_channels, H, W).
        """
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)  # (B, out_channels, 1, 1)
        h = self.conv1(F.silu(self.norm1(x)))  # (B, out_channels, H, W)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return self.skip(x) + h


class UNet(nn.Module):
    """(x_t, t, labels) -> an output of x_t's shape. The last layer starts with zero weights."""

    def __init__(
        self, image_channels: int, channels: Sequence[int], blocks: int, patch_size: int, classes: int
    ) -> None:
        """Build the network.

        Args:
            image_channels: of x_t and of the output.
            channels: of each level, the finest first; multiples of 8.
            blocks: residual blocks per level on the way down; one more on the way up.
            patch_size: side of the pixel patches that become channels before the first convolution.
            classes: 0 for an unconditional network; otherwise the label `classes` stands for "no label",
                which classifier-free guidance needs.
        """
        super().__init__()
        self.patch_size, width, embedding = patch_size, channels[0], 2 * channels[-1]
        self.time_width = width
        self.embed_time = nn.Sequential(
            nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.embed_label = nn.Embedding(classes + 1, embedding) if classes else None
        self.enter = nn.Conv2d(image_channels * patch_size**2, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        skips = [width]
        for level, out in enumerate(channels):
            if level:
                self.shrink.append(nn.Conv2d(skips[-1], out, 3, stride=2, padding=1))
                skips.append(out)
            self.down.append(nn.ModuleList(ResidualBlock(out, out, embedding) for _ in range(blocks)))
            skips += [out] * blocks
        self.middle = ResidualBlock(channels[-1], channels[-1], embedding)
        below = channels[-1]
        for level, out in reversed(list(enumerate(channels))):
            stack = nn.ModuleList()
            for _ in range(blocks + 1):
                stack.append(ResidualBlock(below + skips.pop(), out, embedding))
                below = out
            self.up.append(stack)
            if level:
                self.grow.append(nn.Conv2d(out, out, 3, padding=1))
        last = nn.Conv2d(width, image_channels * patch_size**2, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.leave = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), last)

    @staticmethod
    def _stacks(levels: nn.ModuleList) -> list[list[nn.Module]]:
        """The residual blocks of each level, in the order in which they are applied."""
        return [list(level.children()) for level in levels]

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """Predict the training target.

        Args:
            x: noisy images x_t, (B, C, H, W), H and W multiples of patch_size * 2^(levels - 1).
            t: times as a share of T, (B,) in [0, 1].
            labels: (B,) int64 in 0..classes; None for an unconditional network.

        Returns:
            (B, C, H, W) float32.
        """
        e = self.embed_time(time_features(t, self.time_width))  # (B, E)
        if self.embed_label is not None and labels is not None:
            e = e + self.embed_label(labels)
        e = F.silu(e)
        h = self.enter(F.pixel_unshuffle(x, self.patch_size))  # (B, width, H / patch_size, W / patch_size)
        skips = [h]
        for level, stack in enumerate(self._stacks(self.down)):
            if level:
                h = self.shrink[level - 1](h)  # half the height and width
                skips.append(h)
            for block in stack:
                h = block(h, e)
                skips.append(h)
        h = self.middle(h, e)
        for level, stack in enumerate(self._stacks(self.up)):
            if level:
                h = self.grow[level - 1](F.interpolate(h, scale_factor=2.0, mode="nearest"))
            for block in stack:
                h = block(torch.cat([h, skips.pop()], dim=1), e)
        return F.pixel_shuffle(self.leave(h).float(), self.patch_size)  # (B, C, H, W)


class PointNet(nn.Module):
    """A fully connected denoiser for images of one pixel (points of a plane), with the U-Net's signature."""

    def __init__(self, image_channels: int, hidden: int, classes: int) -> None:
        """Build the network.

        Args:
            image_channels: numbers per point.
            hidden: width of the four hidden layers; even.
            classes: as in `UNet`.
        """
        super().__init__()
        self.embed_time = nn.Linear(hidden, hidden)
        self.embed_label = nn.Embedding(classes + 1, hidden) if classes else None
        self.enter = nn.Linear(image_channels, hidden)
        self.hidden = nn.Sequential(*[nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden)) for _ in range(3)])
        self.leave = nn.Sequential(nn.SiLU(), nn.Linear(hidden, image_channels))
        nn.init.zeros_(self.leave[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """As `UNet.forward`, for x of shape (B, C, 1, 1)."""
        h = self.enter(x.flatten(1)) + self.embed_time(time_features(t, self.embed_time.in_features))
        if self.embed_label is not None and labels is not None:
            h = h + self.embed_label(labels)
        return self.leave(self.hidden(h)).float()[:, :, None, None]  # (B, C, 1, 1)
