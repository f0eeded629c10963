"""Decoder distributions p(x|z) over the pixels of an image, given the decoder's outputs."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Protocol

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from triptych.core.bits_per_dim import discretized_gaussian_log_likelihood
from triptych.core.config import Settings, by_kind
from triptych.core.images import LEVEL_STEP, to_float

BOUNDARY = 0.999  # beyond it a pixel is at one of the two end levels, whose bins are open


class GaussianLikelihood(Settings):
    """A Gaussian around the decoder's image, with one standard deviation for all pixels."""

    kind: Literal["gaussian"] = "gaussian"
    scale: float | None = Field(None, gt=0)
    """Standard deviation, for images in [-1, 1]; left out: learned."""


class LogisticLikelihood(Settings):
    """A logistic distribution around the decoder's image, integrated over each 8-bit level's bin."""

    kind: Literal["logistic"] = "logistic"
    scale: float | None = Field(None, gt=0)
    """Scale of the logistic, for images in [-1, 1]; left out: learned."""


class BernoulliLikelihood(Settings):
    """Binary pixels: images are binarized anew at every step, their gray values being probabilities."""

    kind: Literal["bernoulli"] = "bernoulli"


LikelihoodSettings = Annotated[
    GaussianLikelihood | LogisticLikelihood | BernoulliLikelihood,
    Field(discriminator="kind"),
    BeforeValidator(by_kind),
]


class Likelihood(Protocol):
    """What a VAE needs of p(x|z). `log_scale` is None where the distribution has no scale."""

    def nats(self, images: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """-log p(x|z) in training, summed over an image's pixels.

        Args:
            images: (B, C, H, W) in [-1, 1].
            outputs: of the decoder, (B, C, H, W).
            log_scale: log of the distribution's scale, ().

        Returns:
            (B,), in nats.
        """
        ...

    def log_prob(self, pixels: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """log P of the stored values, per pixel.

        Args:
            pixels: (B, H, W, C) uint8.
            outputs: of the decoder, (B, C, H, W).
            log_scale: log of the distribution's scale, ().

        Returns:
            (B, C, H, W) float64 on the CPU, in nats.
        """
        ...

    def mean(self, outputs: Tensor) -> Tensor:
        """The mean image, in [-1, 1]."""
        ...


class _Gaussian(Likelihood):
    """log N(x; outputs, scale^2), a density."""

    def nats(self, images: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """See `Likelihood`."""
        assert log_scale is not None
        error = (images - outputs) * (-log_scale).exp()
        return (0.5 * error.square() + log_scale + 0.5 * math.log(math.tau)).flatten(1).sum(1)

    def log_prob(self, pixels: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """See `Likelihood`: of the 8-bit levels."""
        assert log_scale is not None
        return discretized_gaussian_log_likelihood(pixels, outputs, log_scale.exp())

    def mean(self, outputs: Tensor) -> Tensor:
        """The outputs themselves."""
        return outputs


class _Logistic(_Gaussian):
    """The discretized logistic: log of the mass on each level's bin, half a level to either side.

    Bins at both ends are open. With F the logistic function, F(b) - F(a) = F(b) F(-a) (1 - e^(a - b)),
    which is precise in the tails (Kingma et al. 2016, "Inverse Autoregressive Flow"; Salimans et al. 2017).
    """

    def _log_mass(self, images: Tensor, outputs: Tensor, log_scale: Tensor) -> Tensor:
        """(B, C, H, W) of the images' dtype; images exactly on 8-bit levels."""
        center, width = (images - outputs) * (-log_scale).exp(), 0.5 * LEVEL_STEP * (-log_scale).exp()
        upper = torch.where(images < BOUNDARY, F.logsigmoid(center + width), 0.0)
        lower = torch.where(images > -BOUNDARY, F.logsigmoid(width - center), 0.0)
        inside = (images.abs() < BOUNDARY).to(images.dtype)
        return upper + lower + inside * torch.log(-torch.expm1(-2 * width))

    def nats(self, images: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """See `Likelihood`: of the 8-bit levels, on which the images must lie."""
        assert log_scale is not None
        return -self._log_mass(images, outputs, log_scale).flatten(1).sum(1)

    def log_prob(self, pixels: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """See `Likelihood`: of the 8-bit levels."""
        assert log_scale is not None
        images, scale = to_float(pixels).cpu().double(), log_scale.cpu().double()
        return self._log_mass(images, outputs.cpu().double(), scale)


class _Bernoulli(Likelihood):
    """Binary pixels; the outputs are logits of white. There is no scale."""

    def nats(self, images: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """See `Likelihood`: of images whose pixels are -1 or 1."""
        return F.softplus(-images * outputs).flatten(1).sum(1)

    def log_prob(self, pixels: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """See `Likelihood`: of pixels that are 0 or 255."""
        return -F.softplus(-to_float(pixels).cpu().double() * outputs.cpu().double())

    def mean(self, outputs: Tensor) -> Tensor:
        """2 sigmoid(outputs) - 1."""
        return torch.tanh(0.5 * outputs)


LIKELIHOODS: dict[str, Likelihood] = {
    "gaussian": _Gaussian(),
    "logistic": _Logistic(),
    "bernoulli": _Bernoulli(),
}


def binarize(images: Tensor, uniform: Tensor) -> Tensor:
    """Draw binary images whose mean is the gray image (dynamic binarization).

    Args:
        images: (B, C, H, W) in [-1, 1].
        uniform: (B, C, H, W) in [0, 1).

    Returns:
        (B, C, H, W), each -1 or 1.

    References:
        Salakhutdinov and Murray 2008; Burda, Grosse and Salakhutdinov 2016, section 5.
    """
    return torch.where(uniform < 0.5 * (images + 1), 1.0, -1.0)
