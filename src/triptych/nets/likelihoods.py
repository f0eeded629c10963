"""Likelihoods p(x|z) of the pixels of an image, given a decoder's outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple, Protocol

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from triptych.core.bits_per_dim import discretized_gaussian_log_likelihood
from triptych.core.config import Settings, by_kind
from triptych.core.images import LEVEL_STEP, to_float
from triptych.core.rng import SamplerNoise

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


class MixtureLikelihood(Settings):
    """A mixture of discretized logistic distributions, whose parameters the decoder predicts per pixel."""

    kind: Literal["mixture"] = "mixture"
    components: int = Field(5, ge=1)
    """Components of each pixel's mixture."""


LikelihoodSettings = Annotated[
    GaussianLikelihood | LogisticLikelihood | BernoulliLikelihood | MixtureLikelihood,
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


def logistic_log_mass(images: Tensor, center: Tensor, log_scale: Tensor) -> Tensor:
    """Log of the mass that a logistic distribution puts on the bin of each pixel's level.

    Bins reach half a level to either side and are open at both ends. With F the logistic function,
    F(b) - F(a) = F(b) F(-a) (1 - e^(a - b)), which is precise in the tails.

    Args:
        images: 8-bit levels on the scale of [-1, 1]; all three arguments broadcast.
        center: mean of the distribution, on the same scale.
        log_scale: log of its scale.

    Returns:
        Of the common shape and dtype, in nats.

    References:
        Salimans, Karpathy, Chen and Kingma 2017, "PixelCNN++", section 2.1.
    """
    inverse = (-log_scale).exp()
    centered, width = (images - center) * inverse, 0.5 * LEVEL_STEP * inverse
    upper = torch.where(images < BOUNDARY, F.logsigmoid(centered + width), 0.0)
    lower = torch.where(images > -BOUNDARY, F.logsigmoid(width - centered), 0.0)
    inside = (images.abs() < BOUNDARY).to(centered.dtype)
    return upper + lower + inside * torch.log(-torch.expm1(-2 * width))


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
    """The discretized logistic with one scale (Kingma et al. 2016, "Inverse Autoregressive Flow")."""

    def nats(self, images: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """See `Likelihood`: of the 8-bit levels, on which the images must lie."""
        assert log_scale is not None
        return -logistic_log_mass(images, outputs, log_scale).flatten(1).sum(1)

    def log_prob(self, pixels: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """See `Likelihood`: of the 8-bit levels."""
        assert log_scale is not None
        images, scale = to_float(pixels).cpu().double(), log_scale.cpu().double()
        return logistic_log_mass(images, outputs.cpu().double(), scale)


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


class _Mixture(Likelihood):
    """The discretized logistic mixture; the outputs hold its parameters, scales included."""

    def __init__(self, channels: int, components: int) -> None:
        self.channels, self.components = channels, components

    def of(self, outputs: Tensor) -> LogisticMixture:
        """The mixtures that the decoder's outputs stand for."""
        return LogisticMixture.of(outputs, self.channels, self.components)

    def nats(self, images: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """See `Likelihood`: of the 8-bit levels, on which the images must lie."""
        return -self.of(outputs).log_prob(images).flatten(1).sum(1)

    def log_prob(self, pixels: Tensor, outputs: Tensor, log_scale: Tensor | None) -> Tensor:
        """See `Likelihood`: of the 8-bit levels, all channels of a pixel together: (B, 1, H, W)."""
        mixture = self.of(outputs.cpu().double())
        return mixture.log_prob(to_float(pixels).cpu().double())[:, None]

    def mean(self, outputs: Tensor) -> Tensor:
        """The mixture's mean."""
        return self.of(outputs).mean()


def likelihood(settings: LikelihoodSettings, channels: int) -> Likelihood:
    """Build the likelihood that the settings name.

    Args:
        settings: one member of the tagged union.
        channels: of an image, 1 or 3.

    Returns:
        Its functions; they have no parameters.
    """
    if isinstance(settings, MixtureLikelihood):
        return _Mixture(channels, settings.components)
    return {"gaussian": _Gaussian, "logistic": _Logistic, "bernoulli": _Bernoulli}[settings.kind]()


def output_channels(settings: LikelihoodSettings, channels: int) -> int | None:
    """Channels of the decoder's unbounded output; None: it is an image in [-1, 1].

    Args:
        settings: one member of the tagged union.
        channels: of an image, 1 or 3.

    Returns:
        Their number, or None.
    """
    if isinstance(settings, MixtureLikelihood):
        return mixture_channels(channels, settings.components)
    return channels if settings.kind == "bernoulli" else None


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


def binarize_stored(pixels: Tensor, seeds: Sequence[int]) -> Tensor:
    """Binarize stored images once, each as its seed decides.

    Args:
        pixels: (B, H, W, C) uint8.
        seeds: one per image.

    Returns:
        (B, H, W, C) uint8, each 0 or 255.
    """
    images = to_float(pixels)  # (B, C, H, W)
    uniform = torch.special.ndtr(SamplerNoise(seeds, "binarize").randn_like(images))
    return (255 * (binarize(images, uniform) > 0)).to(torch.uint8).permute(0, 2, 3, 1)


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
    """A mixture of discretized logistic distributions for each pixel.

    Green and blue may depend linearly on the channels before them (Salimans, Karpathy, Chen and Kingma 2017,
    "PixelCNN++", sections 2.1 and 2.2).
    """

    log_weights: Tensor  # (B, K, H, W), normalized over K
    means: Tensor  # (B, K, C, H, W)
    log_scales: Tensor  # (B, K, C, H, W)
    coefficients: Tensor | None  # (B, K, 3, H, W) in [-1, 1]: green of red, blue of red, blue of green

    @classmethod
    def of(cls, parameters: Tensor, channels: int, components: int) -> LogisticMixture:
        """Read a decoder's output.

        Args:
            parameters: Float32 or float64, (B, `mixture_channels(channels, components)`, H, W).
            channels: Of an image, 1 or 3.
            components: K.

        Returns:
            The mixture of each pixel.
        """
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
        each = logistic_log_mass(images[:, None], self.means_given(images), self.log_scales)
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
