"""Domain classifier: a small CNN trained on a source's own labels."""

from __future__ import annotations

from torch import Tensor, nn

from triptych.metrics.extractors.base import FeatureNetwork


class DomainCNN(FeatureNetwork):
    """A small classifier of one source's classes; its features are the spatial averages of its last layer.

    Sized for a minute of training on one core: fewer than 100,000 weights, with stride 2 in the first layer
    from 21 px on and in the second as well from 41 px on.

    Args:
        channels: of the images.
        size_px: side of the images as the network sees them, at most 64.
        classes: number of classes.
        width: number of features.
    """

    def __init__(self, channels: int, size_px: int, classes: int, width: int) -> None:
        super().__init__(channels, width, classes)
        layers = [_block(channels, 24, stride=2 if size_px > 20 else 1)]
        if size_px > 40:
            layers.append(_block(24, 24, stride=2))
        layers += [_block(24, 48, stride=2), _block(48, 48, stride=1), _block(48, width, stride=2)]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(width, classes)

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> (B, width), each >= 0."""
        return self.trunk(images).mean((2, 3))  # (B, width, h, w) -> (B, width)

    def logits(self, features: Tensor) -> Tensor:
        """(B, width) -> (B, classes)."""
        return self.head(features)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, classes) logits."""
        return self.logits(self.features(images))


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
