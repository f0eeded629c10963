"""The convolutional autoencoder of latent diffusion: residual blocks, one attention in the middle.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", section 3.1 and
appendix G. The layers, and the names of the modules that hold them, are those of diffusers'
`AutoencoderKL`: weights of one load into the other unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

GROUPS = 32  # of every group norm; a number of channels must be a multiple of it
EPSILON = 1e-6


def group_norm(channels: int) -> nn.GroupNorm:
    """A group norm of 32 groups."""
    return nn.GroupNorm(GROUPS, channels, eps=EPSILON)


class ResnetBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1x1 convolution on x where the channels change."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = group_norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = group_norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class AttentionBlock(nn.Module):
    """Self-attention of one head over the positions of a feature map, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group_norm = group_norm(channels)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)  # (B, H * W, C)
        q, k, v = (layer(tokens)[:, None] for layer in (self.to_q, self.to_k, self.to_v))  # (B, 1, H * W, C)
        mixed = F.scaled_dot_product_attention(q, k, v)[:, 0]  # (B, H * W, C)
        return x + self.to_out[0](mixed).transpose(1, 2).reshape(x.shape)


class MiddleBlock(nn.Module):
    """Residual block, attention, residual block, all at the latent's resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([ResnetBlock(channels, channels), ResnetBlock(channels, channels)])
        self.attentions = nn.ModuleList([AttentionBlock(channels)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Downsample(nn.Module):
    """Half the size by a strided convolution, padded on the right and at the bottom alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / 2, W / 2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Twice the size by repeating pixels, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 2 H, 2 W)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class DownBlock(nn.Module):
    """The residual blocks of one resolution of the encoder, and the way to the next."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int, last: bool) -> None:
        super().__init__()
        inputs = [channels_in] + [channels_out] * (blocks - 1)
        self.resnets = nn.ModuleList(ResnetBlock(count, channels_out) for count in inputs)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(channels_out)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H / 2, W / 2), or the same size in the last block."""
        for layer in (*self.resnets, *self.downsamplers):
            x = layer(x)
        return x


class UpBlock(nn.Module):
    """The residual blocks of one resolution of the decoder, and the way to the next."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int, last: bool) -> None:
        super().__init__()
        inputs = [channels_in] + [channels_out] * (blocks - 1)
        self.resnets = nn.ModuleList(ResnetBlock(count, channels_out) for count in inputs)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(channels_out)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, 2 H, 2 W), or the same size in the last block."""
        for layer in (*self.resnets, *self.upsamplers):
            x = layer(x)
        return x


class Encoder(nn.Module):
    """Images to feature maps of the latent's resolution.

    Args:
        channels_in: Of an image.
        channels_out: Of the output: twice the latent's where it is the mean and log-variance of a Gaussian.
        widths: Channels at each resolution, from the image's on; each after the first halves the size.
        blocks: Residual blocks at each resolution.
    """

    def __init__(self, channels_in: int, channels_out: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels_in, widths[0], 3, padding=1)
        inputs = [widths[0], *widths[:-1]]
        last = len(widths) - 1
        self.down_blocks = nn.ModuleList(
            DownBlock(count, width, blocks, level == last)
            for level, (count, width) in enumerate(zip(inputs, widths, strict=True))
        )
        self.mid_block = MiddleBlock(widths[-1])
        self.conv_norm_out = group_norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H / f, W / f), f = 2 ** (resolutions - 1)."""
        h = self.conv_in(x)
        for block in self.down_blocks:
            h = block(h)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(h))))


class Decoder(nn.Module):
    """Latents to images: the mirror image of `Encoder`, with one residual block more at each resolution.

    Args:
        channels_in: Of a latent.
        channels_out: Of an image.
        widths: As the encoder's, from the image's resolution on.
        blocks: As the encoder's.
    """

    def __init__(self, channels_in: int, channels_out: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        reversed_widths = list(reversed(widths))
        self.conv_in = nn.Conv2d(channels_in, reversed_widths[0], 3, padding=1)
        self.mid_block = MiddleBlock(reversed_widths[0])
        inputs = [reversed_widths[0], *reversed_widths[:-1]]
        last = len(widths) - 1
        self.up_blocks = nn.ModuleList(
            UpBlock(count, width, blocks + 1, level == last)
            for level, (count, width) in enumerate(zip(inputs, reversed_widths, strict=True))
        )
        self.conv_norm_out = group_norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], channels_out, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, channels_in, H / f, W / f) -> (B, channels_out, H, W), without bounds."""
        h = self.mid_block(self.conv_in(z))
        for block in self.up_blocks:
            h = block(h)
        return self.conv_out(F.silu(self.conv_norm_out(h)))
