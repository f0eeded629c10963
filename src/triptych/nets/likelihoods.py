"""Likelihoods of an image given a decoder's output.

The discretized logistic mixture is that of Salimans, Karpathy, Chen and Kingma 2017, "PixelCNN++", section
2.1 to 2.2: a gray level has the mass of its bin, open at both ends, and green and blue may depend linearly
on the channels before them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

HALF_LEVEL = 1 / 255  # half a gray level on the scale of [-1, 1]


def mixture_channels(channels: int, components: int) -> int:
    """Channels of a decoder's output: weights, means, log scales, and coefficients for RGB.

    Args:
        channels: Of an image, 1 or 3.
        components: Of the mixture.

    Returns:
        Their number.
    """
    return components * (1 + 2 * channels + (3 if channels == 3 else 0))


class LogisticMixture(NamedTuple):
    """A mixture of discretized logistic distributions for each pixel."""

    log_weights: Tensor  # (B, K, H, W), normalized over K
    means: Tensor  # (B, K, C, H, W)
    log_scales: Tensor  # (B, K, C, H, W)
    coefficients: Tensor | None  # (B, K, 3, H, W) in [-1, 1]: green of red, blue of red, blue of green

    @classmethod
    def of(cls, parameters: Tensor, channels: int, components: int) -> LogisticMixture:
        """Read a decoder's output.

        Args:
            parameters: (B, `mixture_channels(channels, components)`, H, W).
            channels: Of an image, 1 or 3.
            components: K.

        Returns:
            The mixture of each pixel.
        """
        parameters = parameters.float()
        batch, _, height, width = parameters.shape
        logits, rest = parameters[:, :components], parameters[:, components:]
        rest = rest.view(batch, components, -1, height, width)  # (B, K, 2 C (+ 3), H, W)
        coefficients = torch.tanh(rest[:, :, 2 * channels :]) if channels == 3 else None
        return cls(
            F.log_softmax(logits, dim=1),
            rest[:, :, :channels],
            rest[:, :, channels : 2 * channels].clamp(min=-7.0),
            coefficients,
        )

    def means_given(self, images: Tensor) -> Tensor:
        """Each component's mean given the channels before it, (B, K, C, H, W); images: (B, C, H, W)."""
        if self.coefficients is None:
            return self.means
        red, green = images[:, None, 0], images[:, None, 1]  # (B, 1, H, W)
        c = self.coefficients
        return torch.stack(
            [
                self.means[:, :, 0],
                self.means[:, :, 1] + c[:, :, 0] * red,
                self.means[:, :, 2] + c[:, :, 1] * red + c[:, :, 2] * green,
            ],
            dim=2,
        )

    def log_prob(self, images: Tensor) -> Tensor:
        """Log of the probability of each pixel's gray levels, in nats.

        Args:
            images: (B, C, H, W), stored levels on the scale of [-1, 1].

        Returns:
            (B, H, W): the sum over channels, the mixture's components weighed.
        """
        centered = images[:, None] - self.means_given(images)  # (B, K, C, H, W)
        inverse = torch.exp(-self.log_scales)
        high, low = inverse * (centered + HALF_LEVEL), inverse * (centered - HALF_LEVEL)
        black, white = images[:, None] < -1 + HALF_LEVEL, images[:, None] > 1 - HALF_LEVEL
        mass = (torch.sigmoid(high) - torch.sigmoid(low)).clamp(min=1e-12).log()
        middle = inverse * centered  # where the bin's mass underflows: its width times the density
        density = middle - self.log_scales - 2 * F.softplus(middle) + math.log(2 * HALF_LEVEL)
        inside = torch.where(mass > -11, mass, density)
        each = torch.where(black, F.logsigmoid(high), torch.where(white, -F.softplus(low), inside))
        return (each.sum(2) + self.log_weights).logsumexp(1)

    def mean(self) -> Tensor:
        """The mixture's mean image, (B, C, H, W), each channel given the means of those before it."""
        weights = self.log_weights.exp()[:, :, None]  # (B, K, 1, H, W)
        return self._in_order(lambda values: (weights * values).sum(1))

    def mode(self) -> Tensor:
        """The mean of each pixel's likeliest component, (B, C, H, W): sharp where the mixture is
        undecided."""
        choice = self.log_weights.argmax(1, keepdim=True)[:, :, None]  # (B, 1, 1, H, W)
        return self._in_order(
            lambda values: values.gather(1, choice.expand(-1, -1, values.shape[2], -1, -1))[:, 0]
        )

    def _in_order(self, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        means = reduce(self.means)
        if self.coefficients is None:
            return means.clamp(-1, 1)
        c = reduce(self.coefficients)
        red = means[:, 0].clamp(-1, 1)
        green = (means[:, 1] + c[:, 0] * red).clamp(-1, 1)
        blue = (means[:, 2] + c[:, 1] * red + c[:, 2] * green).clamp(-1, 1)
        return torch.stack([red, green, blue], dim=1)
