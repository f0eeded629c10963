"""Counter-based random numbers: every draw is a function of numbers that can be written down.

A *training* draw depends on (run seed, step, number of the draw); it is made for the global batch and cut to
the rows that are needed, so that neither the number of workers nor the size of micro-batches changes it. A
*sampling* draw depends on the seed of one image, so that an image does not depend on its batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def mix(*numbers: int | str) -> int:
    """Hash numbers and names to one 63-bit seed; similar inputs give unrelated seeds."""
    text = "/".join(str(number) for number in numbers).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(*numbers: int | str) -> torch.Generator:
    """A CPU generator seeded with `mix(*numbers)`."""
    return torch.Generator("cpu").manual_seed(mix(*numbers))


def noise(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Draw the initial noise of images, as diffusers does for a list of generators.

    Args:
        seeds: One per image.
        shape: Shape of one image's noise.

    Returns:
        (len(seeds), *shape) float32 on the CPU, standard normal.
    """
    return torch.stack(
        [torch.randn(*shape, generator=torch.Generator("cpu").manual_seed(int(s))) for s in seeds]
    )


def slerp(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """Interpolate spherically between two noises.

    On the straight line the middle would have a smaller norm than any noise the model was trained on.

    Args:
        start: Any shape.
        end: The same shape. Where both lie on one line through the origin, interpolation is linear.
        shares: (K,) in [0, 1]: 0 is `start`, 1 is `end`.

    Returns:
        (K, *shape).

    References:
        Shoemake 1985, "Animating rotation with quaternion curves".
    """
    cosine = torch.nn.functional.cosine_similarity(start.flatten(), end.flatten(), dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    along = shares.to(start.dtype).view(-1, *([1] * start.dim()))  # (K, 1, ...)
    if float(torch.sin(angle)) < 1e-4:
        return (1 - along) * start + along * end
    return (torch.sin((1 - along) * angle) * start + torch.sin(along * angle) * end) / torch.sin(angle)


class SamplerNoise:
    """The noise that a stochastic sampler adds: a second random stream of each image's seed.

    Args:
        seeds: One per image.
        stream: The name of the stream; streams of different names are independent.
    """

    def __init__(self, seeds: Sequence[int], stream: str = "sampler") -> None:
        self._generators = [generator(int(seed), stream) for seed in seeds]

    def randn_like(self, batch: Tensor) -> Tensor:
        """Draw the next noise of every image.

        Args:
            batch: (B, *shape), one row per seed.

        Returns:
            (B, *shape) standard normal, on the device and in the dtype of `batch`.

        Raises:
            ValueError: If the number of rows is not that of the seeds.
        """
        if len(batch) != len(self._generators):
            raise ValueError(f"{len(self._generators)} seeds but a batch of {len(batch)}")
        drawn = torch.stack([torch.randn(*batch.shape[1:], generator=g) for g in self._generators])
        return drawn.to(batch.device, batch.dtype)
