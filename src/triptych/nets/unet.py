"""A U-Net made for minutes rather than for papers.

Two things make it quick on a small machine: 2x2 pixels are folded into channels before the first
convolution (a quarter of the positions), and there is no attention. What is left is the usual:
residual blocks with group norm, modulated by time and condition, joined across the U by skips
(Ronneberger et al. 2015; Ho et al. 2020; modulation after Dhariwal and Nichol 2021, eq. 5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def time_features(t: Tensor, width: int) -> Tensor:
    """Sines and cosines of t in [0, 1] at log-spaced frequencies. t: (B,). Returns (B, width)."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), width // 2, device=t.device))
    angles = t.float()[:, None] * frequencies * math.tau / 4  # (B, width / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)  # (B, width)


class ResidualBlock(nn.Module):
    """norm, SiLU, conv, norm modulated by the embedding, SiLU, conv; the last conv starts at zero."""

    def __init__(self, wide: int, narrow: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, wide), nn.Conv2d(wide, narrow, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(8, narrow), nn.Conv2d(narrow, narrow, 3, padding=1)
        self.modulate = nn.Linear(embedding, 2 * narrow)
        self.skip = nn.Identity() if wide == narrow else nn.Conv2d(wide, narrow, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x: (B, wide, H, W), embedding: (B, E). Returns (B, narrow, H, W)."""
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)  # (B, narrow, 1, 1) each
        h = self.conv1(F.silu(self.norm1(x)))  # (B, narrow, H, W)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return self.skip(x) + h


class UNet(nn.Module):
    """(x_t, t, label) -> an output of x_t's shape.

    channels: of each level, from the finest. blocks: residual blocks a level and side.
    fold: side of the pixel squares turned into channels first. classes: 0 = unconditional; else the
    label `classes` stands for "no label", which classifier-free guidance needs.
    """

    def __init__(
        self, picture_channels: int, channels: Sequence[int], blocks: int, fold: int, classes: int
    ) -> None:
        super().__init__()
        self.fold, width, embedding = fold, channels[0], 2 * channels[-1]
        self.time_width = width
        self.embed_time = nn.Sequential(
            nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.embed_label = nn.Embedding(classes + 1, embedding) if classes else None
        self.enter = nn.Conv2d(picture_channels * fold**2, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        skips = [width]
        for level, wide in enumerate(channels):
            if level:
                self.shrink.append(nn.Conv2d(skips[-1], wide, 3, stride=2, padding=1))
                skips.append(wide)
            self.down.append(nn.ModuleList(ResidualBlock(wide, wide, embedding) for _ in range(blocks)))
            skips += [wide] * blocks
        self.middle = ResidualBlock(channels[-1], channels[-1], embedding)
        below = channels[-1]
        for level, wide in reversed(list(enumerate(channels))):
            stack = nn.ModuleList()
            for _ in range(blocks + 1):
                stack.append(ResidualBlock(below + skips.pop(), wide, embedding))
                below = wide
            self.up.append(stack)
            if level:
                self.grow.append(nn.Conv2d(wide, wide, 3, padding=1))
        last = nn.Conv2d(width, picture_channels * fold**2, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.leave = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), last)

    @staticmethod
    def stacks(levels: nn.ModuleList) -> list[list[nn.Module]]:
        """The residual blocks of each level, in the order in which they are passed."""
        return [list(level.children()) for level in levels]

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """x: (B, C, H, W), t: (B,) in [0, 1], labels: (B,) int64 or None. Returns (B, C, H, W) float32."""
        e = self.embed_time(time_features(t, self.time_width))  # (B, E)
        if self.embed_label is not None and labels is not None:
            e = e + self.embed_label(labels)
        e = F.silu(e)
        h = self.enter(F.pixel_unshuffle(x, self.fold))  # (B, width, H / fold, W / fold)
        skips = [h]
        for level, stack in enumerate(self.stacks(self.down)):
            if level:
                h = self.shrink[level - 1](h)  # half the height and width
                skips.append(h)
            for block in stack:
                h = block(h, e)
                skips.append(h)
        h = self.middle(h, e)
        for level, stack in enumerate(self.stacks(self.up)):
            if level:
                h = self.grow[level - 1](F.interpolate(h, scale_factor=2.0, mode="nearest"))
            for block in stack:
                h = block(torch.cat([h, skips.pop()], dim=1), e)
        return F.pixel_shuffle(self.leave(h).float(), self.fold)  # (B, C, H, W)
