"""A ladder of latent variables: an encoder that climbs from pixels to one vector, and a decoder that comes
down.

Sonderby et al. 2016, "Ladder Variational Autoencoders", with the residual cells of Child 2021, "Very Deep
VAEs Generalize Autoregressive Models and Can Outperform Them on Images", section 3 and figure 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Rung(NamedTuple):
    """One group of latent variables: where it stands and how large it is."""

    size: int  # side of its feature map in pixels
    channels: int  # of the latent

    @property
    def numbers(self) -> int:
        """Latent variables in the group."""
        return self.channels * self.size**2


class ResidualCell(nn.Module):
    """Four convolutions with a bottleneck: 1x1, 3x3, 3x3, 1x1, each after a GELU."""

    def __init__(self, channels_in: int, channels_out: int, size: int, gain: float = 1.0) -> None:
        super().__init__()
        middle, kernel = max(channels_in // 4, 8), 3 if size > 2 else 1
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(channels_in, middle, 1),
                nn.Conv2d(middle, middle, kernel, padding=kernel // 2),
                nn.Conv2d(middle, middle, kernel, padding=kernel // 2),
                nn.Conv2d(middle, channels_out, 1),
            ]
        )
        self.residual = channels_in == channels_out
        with torch.no_grad():
            last = self.convs[-1]
            assert isinstance(last, nn.Conv2d)
            last.weight.mul_(gain)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H, W), added to x where the channels are the same."""
        h = x
        for conv in self.convs:
            h = conv(F.gelu(h))
        return x + h if self.residual else h


class LadderEncoder(nn.Module):
    """Bottom-up: feature maps of an image at every resolution of the ladder.

    Args:
        channels: Of an image.
        sizes: Sides of the feature maps, falling, the image's first; each divides the one before.
        width: Channels of every feature map.
        cells: Residual cells at each size.
    """

    def __init__(self, channels: int, sizes: Sequence[int], width: int, cells: int) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.conv_in = nn.Conv2d(channels, width, 3, padding=1)
        gain = 1 / math.sqrt(cells * len(sizes))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ResidualCell(width, width, size, gain) for _ in range(cells))) for size in sizes
        )

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """(B, C, H, W) -> size -> (B, width, size, size)."""
        h, maps = self.conv_in(images), {}
        for size, stage in zip(self.sizes, self.stages, strict=True):
            h = stage(F.adaptive_avg_pool2d(h, size) if h.shape[-1] != size else h)
            maps[size] = h
        return maps


class Gaussian(NamedTuple):
    """A diagonal Gaussian."""

    mean: Tensor
    log_std: Tensor

    @classmethod
    def of(cls, parameters: Tensor) -> Gaussian:
        """(B, 2 * channels, H, W) -> mean and log of the standard deviation, each held softly within 5."""
        mean, log_std = (5 * torch.tanh(part.float() / 5) for part in parameters.chunk(2, dim=1))
        return cls(mean, log_std)

    def at(self, noise: Tensor) -> Tensor:
        """The value that standard normal noise stands for."""
        return self.mean + self.log_std.exp() * noise

    def kl(self, prior: Gaussian) -> Tensor:
        """KL(self || prior) in nats, summed over all but the batch: (B,)."""
        ratio = 2 * (self.log_std - prior.log_std)
        moved = (self.mean - prior.mean) * (-prior.log_std).exp()
        return 0.5 * (ratio.exp() + moved.square() - 1 - ratio).flatten(1).sum(1)


class TopDownBlock(nn.Module):
    """One group of latent variables: its prior, its posterior, and what it adds to the feature map."""

    def __init__(self, width: int, rung: Rung, gain: float) -> None:
        super().__init__()
        self.posterior = ResidualCell(2 * width, 2 * rung.channels, rung.size)
        self.prior = ResidualCell(width, 2 * rung.channels + width, rung.size, gain=0.0)
        self.expand = nn.Conv2d(rung.channels, width, 1)
        self.out = ResidualCell(width, width, rung.size, gain)
        self.channels = rung.channels
        with torch.no_grad():
            self.expand.weight.mul_(gain)

    def priors(self, x: Tensor) -> tuple[Gaussian, Tensor]:
        """The prior of this group given all above it, and the feature map that goes on."""
        parameters = self.prior(x)
        return Gaussian.of(parameters[:, : 2 * self.channels]), x + parameters[:, 2 * self.channels :]

    def posteriors(self, x: Tensor, seen: Tensor) -> Gaussian:
        """The posterior of this group given all groups above it.

        Args:
            x: (B, width, size, size), the decoder's feature map.
            seen: (B, width, size, size), the encoder's feature map of this size.

        Returns:
            Its mean and log standard deviation, (B, channels, size, size) each.
        """
        return Gaussian.of(self.posterior(torch.cat([x, seen], dim=1)))

    def add(self, x: Tensor, latent: Tensor) -> Tensor:
        """Add a group's latent variables to the feature map.

        Args:
            x: (B, width, size, size).
            latent: (B, channels, size, size).

        Returns:
            (B, width, size, size).
        """
        return self.out(x + self.expand(latent))


Choose = Callable[[int, TopDownBlock, Gaussian, Tensor], Tensor]


class LadderDecoder(nn.Module):
    """Top-down: from nothing, group by group of latent variables, to the features of an image.

    Args:
        rungs: Groups of latent variables from the top on; sizes rise, each divides the next.
        size: Side of the image in pixels.
        width: Channels of every feature map.
        channels_out: Of the output.
        classes: Number of classes, 0 for none: an embedding is added where a size begins.
    """

    def __init__(
        self, rungs: Sequence[Rung], size: int, width: int, channels_out: int, classes: int = 0
    ) -> None:
        super().__init__()
        self.rungs, self.size = tuple(rungs), size
        sizes = sorted({rung.size for rung in rungs} | {size})
        self.starts = nn.ParameterDict({str(s): nn.Parameter(torch.zeros(width, s, s)) for s in sizes})
        self.labels = nn.ModuleDict({str(s): nn.Embedding(classes, width) for s in sizes if classes})
        gain = 1 / math.sqrt(len(rungs))
        self.blocks = nn.ModuleList(TopDownBlock(width, rung, gain) for rung in rungs)
        self.last = nn.Sequential(
            ResidualCell(width, width, size, gain), ResidualCell(width, width, size, gain)
        )
        self.norm = nn.GroupNorm(1, width)
        self.conv_out = nn.Conv2d(width, channels_out, 3, padding=1)

    def start(self, x: Tensor | None, size: int, labels: Tensor | None, batch: int) -> Tensor:
        """Begin a new size: the feature map before, its pixels repeated, plus what is learned for the size.

        Args:
            x: (B, width, s, s), s dividing `size`; None at the top.
            size: Side in pixels.
            labels: (B,) int64, or None.
            batch: B.

        Returns:
            (B, width, size, size).
        """
        begun = self.starts[str(size)].expand(batch, -1, -1, -1)  # (B, width, size, size)
        if labels is not None:
            begun = begun + self.labels[str(size)](labels)[:, :, None, None]
        return begun if x is None else begun + F.interpolate(x, size=size, mode="nearest")

    def forward(self, batch: int, labels: Tensor | None, choose: Choose) -> Tensor:
        """Come down the ladder.

        Args:
            batch: B, the number of images.
            labels: (B,) int64, or None.
            choose: Called as `choose(number, block, prior, x)` for each group, from the top; returns the
                group's latent variables, (B, channels, size, size).

        Returns:
            (B, channels_out, H, W).
        """
        x: Tensor | None = None
        for number, (rung, block) in enumerate(zip(self.rungs, self.blocks, strict=True)):
            if x is None or x.shape[-1] != rung.size:
                x = self.start(x, rung.size, labels, batch)
            assert isinstance(block, TopDownBlock)
            prior, x = block.priors(x)
            x = block.add(x, choose(number, block, prior, x))
        return self.output(x, labels)

    def output(self, x: Tensor | None, labels: Tensor | None) -> Tensor:
        """The output from the last feature map.

        Args:
            x: (B, width, s, s).
            labels: (B,) int64, or None.

        Returns:
            (B, channels_out, H, W).
        """
        assert x is not None
        x = self.start(x, self.size, labels, len(x)) if x.shape[-1] != self.size else x
        return self.conv_out(F.gelu(self.norm(self.last(x))))
