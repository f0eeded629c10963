"""The U-Net of Ho, Jain and Abbeel 2020 (appendix B), in the topology of diffusers' `UNet2DModel`.

Block by block the same computation as `UNet2DModel(norm_eps=1e-6, freq_shift=1, flip_sin_to_cos=False,
downsample_padding=0, attention_head_dim=None)`, so that weights can be converted in both directions;
`tests/nets/test_ddpm_unet.py` holds the map of names and compares outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

EPS = 1e-6  # of all group norms


def sinusoidal_embedding(index: Tensor, width: int) -> Tensor:
    """Sines and cosines of a time index at frequencies 1 .. 1e-4, log-spaced.

    Args:
        index: (B,), in 0..T - 1.
        width: an even number of features, at least 4.

    Returns:
        (B, width) float32: all sines, then all cosines.

    References:
        Vaswani et al. 2017, section 3.5, with the last frequency at 1e-4 as in DDPM's code.
    """
    half = width // 2
    powers = torch.arange(half, dtype=torch.float32, device=index.device) / (half - 1)
    angles = index.float()[:, None] * torch.exp(-math.log(10_000) * powers)  # (B, width / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ResnetBlock(nn.Module):
    """norm, SiLU, conv, plus the projected embedding, norm, SiLU, dropout, conv."""

    def __init__(
        self, in_channels: int, out_channels: int, embedding: int, groups: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, EPS)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embed = nn.Linear(embedding, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, EPS)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Apply the block.

        Args:
            x: (B, in_channels, H, W).
            embedding: of time and label, after its SiLU, (B, E).

        Returns:
            (B, out_channels, H, W).
        """
        h = self.conv1(F.silu(self.norm1(x))) + self.embed(embedding)[:, :, None, None]
        return self.skip(x) + self.conv2(self.dropout(F.silu(self.norm2(h))))


class SelfAttention(nn.Module):
    """Single-head self-attention over all positions of a feature map, with a residual connection."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, EPS)
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, H W, C)
        heads = (layer(tokens)[:, None] for layer in (self.query, self.key, self.value))  # (B, 1, H W, C)
        attended = F.scaled_dot_product_attention(*heads)[:, 0]  # (B, H W, C)
        return x + self.out(attended).transpose(1, 2).reshape(x.shape)


class Stage(nn.Module):
    """The residual blocks of one level and direction, with self-attention after each at some levels."""

    def __init__(self, blocks: Sequence[ResnetBlock], attention: Sequence[SelfAttention]) -> None:
        super().__init__()
        self.blocks, self.attention = nn.ModuleList(blocks), nn.ModuleList(attention)

    def apply_block(self, place: int, x: Tensor, embedding: Tensor) -> Tensor:
        """Apply one of the blocks.

        Args:
            place: index of the block.
            x: (B, in_channels, H, W).
            embedding: of time and label, after its SiLU, (B, E).

        Returns:
            (B, out_channels, H, W).
        """
        x = self.blocks[place](x, embedding)
        return self.attention[place](x) if len(self.attention) else x


class DdpmUNet(nn.Module):
    """(x_t, t, labels) -> an output of x_t's shape.

    The paper's for CIFAR-10 has channels (128, 256, 256, 256), two blocks per level and attention at 16 px:
    35.7 million parameters.
    """

    def __init__(
        self,
        image_channels: int,
        image_size: int,
        channels: Sequence[int],
        blocks: int,
        attention: Sequence[int],
        classes: int,
        timesteps: int,
        dropout: float = 0.0,
    ) -> None:
        """Build the network.

        Args:
            image_channels: of x_t and of the output.
            image_size: side of the images in pixels, a multiple of 2^(levels - 1).
            channels: of each level, the finest first; group norms have the greatest common divisor of
                these and 32 as their number of groups.
            blocks: residual blocks per level on the way down; one more on the way up.
            attention: sides in pixels of the feature maps that get self-attention.
            classes: 0 for an unconditional network; otherwise the label `classes` stands for "no label".
            timesteps: T; the network sees the time's index in 0..T - 1.
            dropout: probability, within residual blocks.
        """
        super().__init__()
        width, embedding = channels[0], 4 * channels[0]
        groups = math.gcd(32, *channels)
        self.timesteps, self.width = timesteps, width
        self.embed_time = nn.Sequential(
            nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.embed_label = nn.Embedding(classes + 1, embedding) if classes else None
        self.enter = nn.Conv2d(image_channels, width, 3, padding=1)

        def block(in_channels: int, out_channels: int) -> ResnetBlock:
            return ResnetBlock(in_channels, out_channels, embedding, groups, dropout)

        def attend(out_channels: int, level: int, count: int) -> list[SelfAttention]:
            here = image_size // 2**level in attention
            return [SelfAttention(out_channels, groups) for _ in range(count if here else 0)]

        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        skips, last = [width], len(channels) - 1
        for level, out in enumerate(channels):
            ins = [skips[-1], *[out] * (blocks - 1)]
            self.down.append(Stage([block(n, out) for n in ins], attend(out, level, blocks)))
            skips += [out] * blocks
            if level < last:
                self.shrink.append(nn.Conv2d(out, out, 3, stride=2))
                skips.append(out)
        deepest = channels[-1]
        self.middle = nn.ModuleList(
            [block(deepest, deepest), SelfAttention(deepest, groups), block(deepest, deepest)]
        )
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        below = deepest
        for level, out in reversed(list(enumerate(channels))):
            ins = [n + skips.pop() for n in [below, *[out] * blocks]]
            self.up.append(Stage([block(n, out) for n in ins], attend(out, level, blocks + 1)))
            if level:
                self.grow.append(nn.Conv2d(out, out, 3, padding=1))
            below = out
        self.leave = nn.Sequential(
            nn.GroupNorm(groups, width, EPS), nn.SiLU(), nn.Conv2d(width, image_channels, 3, padding=1)
        )

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """Predict the training target.

        Args:
            x: noisy images x_t, (B, C, H, W).
            t: times as a share of T, (B,) in (0, 1].
            labels: (B,) int64 in 0..classes; None for an unconditional network.

        Returns:
            (B, C, H, W) float32.
        """
        index = (t * self.timesteps).round() - 1  # (B,) in 0..T - 1
        e = self.embed_time(sinusoidal_embedding(index, self.width))  # (B, E)
        if self.embed_label is not None and labels is not None:
            e = e + self.embed_label(labels)
        e = F.silu(e)
        h = self.enter(x)
        skips = [h]
        for level, stage in enumerate(self._stages(self.down)):
            for place in range(len(stage.blocks)):
                h = stage.apply_block(place, h, e)
                skips.append(h)
            if level < len(self.shrink):
                h = self.shrink[level](F.pad(h, (0, 1, 0, 1)))  # half the height and width
                skips.append(h)
        before, attention, after = self.middle
        h = after(attention(before(h, e)), e)
        for level, stage in enumerate(self._stages(self.up)):
            for place in range(len(stage.blocks)):
                h = stage.apply_block(place, torch.cat([h, skips.pop()], dim=1), e)
            if level < len(self.grow):
                h = self.grow[level](F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.leave(h).float()

    @staticmethod
    def _stages(stages: nn.ModuleList) -> list[Stage]:
        return [stage for stage in stages if isinstance(stage, Stage)]
