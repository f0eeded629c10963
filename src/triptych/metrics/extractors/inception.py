"""InceptionV3 for FID: the network of the TensorFlow graph `inception-2015-12-05`.

Szegedy et al. 2016 describe the architecture; Heusel et al. 2017 fixed these weights for FID. It is not
torchvision's Inception: average pooling excludes the padding, the last block uses max pooling, there are 1008
logits, and pixels are scaled to (x - 128) / 128. Submodules are named as in the PyTorch port's file
`pt_inception-2015-12-05-6726825d.pth`, so that its tensors load one to one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.metrics.extractors.base import FeatureNetwork

SIZE_PX, WIDTH, LOGITS = 299, 2048, 1008
NORM_EPS = 1e-3
POOLED_AFTER = ("Conv2d_2b_3x3", "Conv2d_4a_3x3")
Pair = tuple[int, int]


class InceptionV3(FeatureNetwork):
    """The 2015 network: (B, 3, 299, 299) -> 2048 features (`pool3`) and 1008 logits.

    Images are float32, scaled as in the graph: (x - 128) / 128 of 0..255.
    """

    def __init__(self) -> None:
        super().__init__(3, WIDTH, LOGITS, repeat_gray=True)
        self.Conv2d_1a_3x3 = ConvNormReLU(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNormReLU(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNormReLU(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvNormReLU(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNormReLU(80, 192, 3)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280, pool="average")
        self.Mixed_7c = InceptionE(2048, pool="maximum")
        self.fc = nn.Linear(WIDTH, LOGITS)

    def stages(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Name and output of each block in turn; a pooling layer counts as part of the block before it."""
        x = images
        for name, block in self.named_children():
            if name == "fc":
                return
            x = block(x)
            if name in POOLED_AFTER:
                x = functional.max_pool2d(x, 3, 2)
            yield name, x

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, 299, 299) float32 -> (B, 2048), each >= 0: `pool3`."""
        for _, x in self.stages(images):
            last = x
        return last.mean((2, 3))  # (B, 2048, 8, 8) -> (B, 2048)

    def logits(self, features: Tensor, biased: bool = False) -> Tensor:
        """Classifier on top of the features.

        Args:
            features: (B, 2048).
            biased: whether to add the bias; published inception scores use the "logits_unbiased" without it.

        Returns:
            (B, 1008) logits.
        """
        return functional.linear(features, self.fc.weight, self.fc.bias if biased else None)


class ConvNormReLU(nn.Module):
    """Convolution without bias, frozen batch norm, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | Pair, stride: int = 1, padding: int | Pair = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = FrozenBatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        return functional.relu(self.bn(self.conv(x)))


class FrozenBatchNorm(nn.Module):
    """Batch norm in inference mode only: buffers of nn.BatchNorm2d without `num_batches_tracked`."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same shape."""
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=NORM_EPS
        )


def _conv_1x7(inputs: int, outputs: int) -> ConvNormReLU:
    """A 1 x 7 convolution; channels `inputs` -> `outputs`."""
    return ConvNormReLU(inputs, outputs, (1, 7), padding=(0, 3))


def _conv_7x1(inputs: int, outputs: int) -> ConvNormReLU:
    """A 7 x 1 convolution; channels `inputs` -> `outputs`."""
    return ConvNormReLU(inputs, outputs, (7, 1), padding=(3, 0))


class InceptionA(nn.Module):
    """The 35 x 35 block: branches 1 x 1, 5 x 5, double 3 x 3, average pooling."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNormReLU(inputs, 64, 1)
        self.branch5x5_1 = ConvNormReLU(inputs, 48, 1)
        self.branch5x5_2 = ConvNormReLU(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvNormReLU(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNormReLU(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNormReLU(96, 96, 3, padding=1)
        self.branch_pool = ConvNormReLU(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 224 + pooled, H, W)."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(average_pool(x))], 1)


class InceptionB(nn.Module):
    """Reduction from 35 x 35 to 17 x 17: branches 3 x 3, double 3 x 3, max pooling, each with stride 2."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = ConvNormReLU(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvNormReLU(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNormReLU(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNormReLU(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 480 + inputs, H/2, W/2)."""
        twice = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), twice, functional.max_pool2d(x, 3, 2)], 1)


class InceptionC(nn.Module):
    """The 17 x 17 block: branches 1 x 1, factorized 7 x 7, double factorized 7 x 7, average pooling."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNormReLU(inputs, 192, 1)
        self.branch7x7_1 = ConvNormReLU(inputs, inner, 1)
        self.branch7x7_2 = _conv_1x7(inner, inner)
        self.branch7x7_3 = _conv_7x1(inner, 192)
        self.branch7x7dbl_1 = ConvNormReLU(inputs, inner, 1)
        self.branch7x7dbl_2 = _conv_7x1(inner, inner)
        self.branch7x7dbl_3 = _conv_1x7(inner, inner)
        self.branch7x7dbl_4 = _conv_7x1(inner, inner)
        self.branch7x7dbl_5 = _conv_1x7(inner, 192)
        self.branch_pool = ConvNormReLU(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 768, H, W)."""
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(average_pool(x))], 1)


class InceptionD(nn.Module):
    """Reduction from 17 x 17 to 8 x 8: branches 3 x 3, 7 x 7 then 3 x 3, max pooling, each with stride 2."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvNormReLU(inputs, 192, 1)
        self.branch3x3_2 = ConvNormReLU(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvNormReLU(inputs, 192, 1)
        self.branch7x7x3_2 = _conv_1x7(192, 192)
        self.branch7x7x3_3 = _conv_7x1(192, 192)
        self.branch7x7x3_4 = ConvNormReLU(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 512 + inputs, H/2, W/2)."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([three, self.branch7x7x3_4(seven), functional.max_pool2d(x, 3, 2)], 1)


class InceptionE(nn.Module):
    """The 8 x 8 block: branches 1 x 1, two that split into 1 x 3 and 3 x 1, and pooling.

    Args:
        inputs: number of input channels.
        pool: "average", or "maximum" as in the last block of the graph.
    """

    def __init__(self, inputs: int, pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = ConvNormReLU(inputs, 320, 1)
        self.branch3x3_1 = ConvNormReLU(inputs, 384, 1)
        self.branch3x3_2a = ConvNormReLU(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvNormReLU(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvNormReLU(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvNormReLU(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvNormReLU(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvNormReLU(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = ConvNormReLU(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 2048, H, W)."""
        one = self.branch3x3_1(x)
        two = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        fans = [self.branch3x3_2a(one), self.branch3x3_2b(one)]
        fans += [self.branch3x3dbl_3a(two), self.branch3x3dbl_3b(two)]
        pooled = average_pool(x) if self.pool == "average" else functional.max_pool2d(x, 3, 1, 1)
        return torch.cat([self.branch1x1(x), *fans, self.branch_pool(pooled)], 1)


def average_pool(x: Tensor) -> Tensor:
    """3 x 3 average pooling that excludes the padding, like TensorFlow's "SAME"."""
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
