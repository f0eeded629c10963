"""Randomness without hidden state: every draw is a function of numbers one can write down.

Two kinds of stream. A *training* draw depends on (run seed, step, stream), is made for the whole
global batch and then cut to the rows a worker holds, so neither the number of workers nor the
micro-batch size changes it. A *sampling* draw depends on the seed of one picture, so a picture
does not depend on the batch it was drawn in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def mix(*numbers: int | str) -> int:
    """Hash numbers and names to one 63-bit seed; neighbouring inputs give unrelated seeds."""
    text = "/".join(str(number) for number in numbers).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(*numbers: int | str) -> torch.Generator:
    """A CPU generator seeded with `mix(*numbers)`."""
    return torch.Generator("cpu").manual_seed(mix(*numbers))


def noise(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """The starting noise of pictures, one seed each: what diffusers draws for a list of generators.

    Returns (len(seeds), *shape) float32 on the CPU, standard normal.
    """
    return torch.stack(
        [torch.randn(*shape, generator=torch.Generator("cpu").manual_seed(int(s))) for s in seeds]
    )


def slerp(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """Noise on the great arc between two noises: spherical interpolation (Shoemake 1985).

    On the straight line the middle would be shorter than any noise the model was trained on.
    start, end: of one shape. shares: (K,) in [0, 1]. Returns (K, *shape). Noises on one line through the
    origin are joined by that line.
    """
    cosine = torch.nn.functional.cosine_similarity(start.flatten(), end.flatten(), dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    along = shares.to(start.dtype).view(-1, *([1] * start.dim()))  # (K, 1, ...)
    if float(torch.sin(angle)) < 1e-4:
        return (1 - along) * start + along * end
    return (torch.sin((1 - along) * angle) * start + torch.sin(along * angle) * end) / torch.sin(angle)


class SamplerNoise:
    """The noise a stochastic sampler adds on its way: a second stream of each picture's seed.

    stream: another name gives another, independent stream: a likelihood's draws are not a sampler's.
    """

    def __init__(self, seeds: Sequence[int], stream: str = "sampler") -> None:
        self._generators = [generator(int(seed), stream) for seed in seeds]

    def randn_like(self, batch: Tensor) -> Tensor:
        """The next standard normal draw for every picture. batch: (B, *shape); returns the same shape."""
        if len(batch) != len(self._generators):
            raise ValueError(f"{len(self._generators)} seeds but a batch of {len(batch)}")
        drawn = torch.stack([torch.randn(*batch.shape[1:], generator=g) for g in self._generators])
        return drawn.to(batch.device, batch.dtype)
