"""A network with fixed random weights, for sources without labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.core import rng
from triptych.metrics.extractors.base import FeatureNetwork, NetworkExtractor


class RandomConv(FeatureNetwork):
    """Three convolutions with fixed random weights: features without training.

    Random filters respond to edges, textures and colors (means of the second layer) and roughly to where they
    are (the third layer on a 2 x 2 grid), but not to objects. The network is the same for all sources, so
    scores are comparable across sources of one size; gray images are repeated to three channels.
    """

    def __init__(self) -> None:
        super().__init__(3, 64, 0, repeat_gray=True)
        self.first = _random(nn.Conv2d(3, 32, 5, 2, 2), 0)
        self.second = _random(nn.Conv2d(32, 32, 3, 2, 1), 1)
        self.third = _random(nn.Conv2d(32, 8, 3, 1, 1), 2)

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [-1, 1] -> (B, 64), each >= 0."""
        middle = functional.relu(self.second(functional.relu(self.first(images))))  # (B, 32, H/4, W/4)
        last = functional.relu(self.third(middle))  # (B, 8, H/4, W/4)
        where = functional.adaptive_avg_pool2d(last, 2).flatten(1)  # (B, 8, 2, 2) -> (B, 32)
        return torch.cat([middle.mean((2, 3)), where], dim=1)  # (B, 64)


def _random(layer: nn.Conv2d, number: int) -> nn.Conv2d:
    generator = rng.generator("random-conv", number)
    fan_in = layer.weight[0].numel()  # variance 2 / fan-in keeps the scale through ReLU (He et al. 2015)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * (2 / fan_in) ** 0.5)
        if layer.bias is not None:
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator) * 0.1)
    return layer


def random_conv(size_px: int) -> NetworkExtractor:
    """The random-weights extractor for images of this side."""
    with torch.random.fork_rng(devices=[]):  # construction draws weights that are overwritten
        return NetworkExtractor(RandomConv(), "random-conv", size_px)
