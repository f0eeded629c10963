"""From a density to the probability of a stored image, in bits per dimension.

A stored image is discrete: each number has one of 256 levels. A model with a density gives a level the
probability mass of the level's bin, half a level to either side and open at both ends (Ho et al. 2020,
eq. 13). Probabilities then sum to 1, no noise is added to the image, and 8 bits per dimension is the value of
the uniform distribution. Nats on binarized images are another quantity and are never compared with these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from triptych.core.images import level_edges
from triptych.core.types import Box

DEQUANTIZATION = "discretised"  # how densities become probabilities of levels; stored in score cards


def discretized_gaussian_log_likelihood(
    pixels: np.ndarray | Tensor, mean: Tensor, scale: Tensor | float
) -> Tensor:
    """Log of the mass that a Gaussian puts on the bin of each pixel's level.

    Precise in the tails too: the difference of two normal distribution functions is taken on the side
    where both are small.

    Args:
        pixels: (B, H, W, C) uint8.
        mean: (B, C, H, W), on the scale of [-1, 1].
        scale: Standard deviation, above 0, on the same scale; a number or a tensor that broadcasts.

    Returns:
        (B, C, H, W) float64 on the CPU, in nats.

    References:
        Ho, Jain and Abbeel 2020, "Denoising diffusion probabilistic models", eq. 13.
    """
    lower, upper = level_edges(pixels)
    center = mean.cpu().double()
    width = scale.cpu().double() if isinstance(scale, Tensor) else scale
    low, high = (lower - center) / width, (upper - center) / width
    right = low + high > 0
    low, high = torch.where(right, -high, low), torch.where(right, -low, high)
    log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return log_high + torch.log(-torch.expm1(log_low - log_high))


def crop(images: Tensor, box: Box | None) -> Tensor:
    """Cut images to a box.

    Args:
        images: (B, C, H, W).
        box: (top, left, bottom, right) in pixels; None: the whole image.

    Returns:
        (B, C, bottom - top, right - left).
    """
    if box is None:
        return images
    top, left, bottom, right = box
    return images[..., top:bottom, left:right]


def dimensions(shape: Sequence[int], box: Box | None) -> int:
    """Count the numbers of an image that lie in a box.

    Args:
        shape: (H, W, C) of the image.
        box: (top, left, bottom, right) in pixels; None: the whole image.

    Returns:
        The number of dimensions, at least 1.

    Raises:
        ValueError: If the box is empty or reaches beyond the image.
    """
    height, width, channels = shape
    top, left, bottom, right = box or (0, 0, height, width)
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise ValueError(
            f"the box {box} (top, left, bottom, right) does not lie in an image of {height}x{width} pixels"
        )
    return (bottom - top) * (right - left) * channels


def nats_to_bits_per_dim(nats: Tensor, shape: Sequence[int], box: Box | None) -> Tensor:
    """Convert nats per image to bits per dimension.

    Args:
        nats: (B,) negative log-likelihoods of whole images, or of what lies in the box.
        shape: (H, W, C) of one image.
        box: (top, left, bottom, right) in pixels; None: the whole image.

    Returns:
        (B,) bits per dimension.
    """
    return nats / (math.log(2) * dimensions(shape, box))
