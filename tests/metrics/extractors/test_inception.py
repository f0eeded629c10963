"""The network against a second implementation: a table of the architecture, computed in another way."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from triptych.metrics.extractors.inception import InceptionV3

# A word is a convolution. After a slash how its edges and steps are: s stride 2 without padding, v no
# padding; else padded to the same size. Branches stand between bars, a + b fan out of what is before.
STEM = "Conv2d_1a_3x3/s ; Conv2d_2a_3x3/v ; Conv2d_2b_3x3 max/s ; Conv2d_3b_1x1 ; Conv2d_4a_3x3/v max/s"
FIVE = "branch1x1 | branch5x5_1 branch5x5_2 | branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3 | mean branch_pool"
SEVEN = (
    "branch1x1 | branch7x7_1 branch7x7_2 branch7x7_3 | branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 "
    "branch7x7dbl_4 branch7x7dbl_5 | mean branch_pool"
)
EIGHT = (
    "branch1x1 | branch3x3_1 branch3x3_2a+branch3x3_2b | branch3x3dbl_1 branch3x3dbl_2 "
    "branch3x3dbl_3a+branch3x3dbl_3b | POOL branch_pool"
)
BLOCKS = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), FIVE),
    "Mixed_6a": "branch3x3/s | branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3/s | max/s",
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), SEVEN),
    "Mixed_7a": "branch3x3_1 branch3x3_2/s | "
    "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4/s | max/s",
    "Mixed_7b": EIGHT.replace("POOL", "mean"),
    "Mixed_7c": EIGHT.replace("POOL", "max"),
}
# (outputs, inputs, height, width) of some kernels, as published in the port's file
KERNELS = {
    "Conv2d_1a_3x3": (32, 3, 3, 3),
    "Conv2d_4a_3x3": (192, 80, 3, 3),
    "Mixed_5b.branch_pool": (32, 192, 1, 1),
    "Mixed_5d.branch5x5_2": (64, 48, 5, 5),
    "Mixed_6a.branch3x3": (384, 288, 3, 3),
    "Mixed_6b.branch7x7_2": (128, 128, 1, 7),
    "Mixed_6d.branch7x7dbl_4": (160, 160, 7, 1),
    "Mixed_7a.branch7x7x3_4": (192, 192, 3, 3),
    "Mixed_7b.branch3x3_2b": (384, 384, 3, 1),
    "Mixed_7c.branch3x3dbl_1": (448, 2048, 1, 1),
}


class Second:
    """The same network from a table: batch norm folded into the kernels, means by counting, float64."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = {name: x.double() for name, x in weights.items()}

    def unit(self, name: str, x: Tensor, mode: str) -> Tensor:
        gamma, beta, mean, variance = (
            self.weights[f"{name}.bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gamma / (variance + 0.001) ** 0.5
        kernel = self.weights[f"{name}.conv.weight"] * gain[:, None, None, None]
        pad = (0, 0) if mode in ("s", "v") else (kernel.shape[2] // 2, kernel.shape[3] // 2)
        stride = 2 if mode == "s" else 1
        return functional.conv2d(x, kernel, beta - mean * gain, stride, pad).clamp(min=0)

    def pool(self, kind: str, x: Tensor, mode: str) -> Tensor:
        edge = -torch.inf if kind == "max" else 0.0
        padded = x if mode == "s" else functional.pad(x, (1, 1, 1, 1), value=edge)
        windows = padded.unfold(2, 3, 2 if mode == "s" else 1).unfold(3, 3, 2 if mode == "s" else 1)
        if kind == "max":
            return windows.amax((4, 5))
        inside = functional.pad(torch.ones_like(x[:1, :1]), (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)
        return windows.sum((4, 5)) / inside.sum((4, 5))

    def chain(self, words: str, x: Tensor, inside: str = "") -> Tensor:
        for word in words.split():
            outs = []
            for one in word.split("+"):
                name, _, mode = one.partition("/")
                layer = self.pool if name in ("max", "mean") else self.unit
                outs.append(layer(name if layer == self.pool else inside + name, x, mode))
            x = torch.cat(outs, 1)
        return x

    def stages(self, x: Tensor) -> list[Tensor]:
        outs = []
        for words in STEM.split(";"):
            x = self.chain(words, x)
            outs.append(x)
        for name, table in BLOCKS.items():
            x = torch.cat([self.chain(words, x, f"{name}.") for words in table.split("|")], 1)
            outs.append(x)
        return outs


@pytest.fixture(scope="module")
def network() -> InceptionV3:
    """Random weights under which no block's output dies or overflows."""
    source = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        inception = InceptionV3()
    weights = {}
    for name, like in inception.state_dict().items():
        noise = torch.randn(like.shape, generator=source)
        if name.endswith("conv.weight"):
            weights[name] = noise * (1.5 / like[0].numel()) ** 0.5
        else:
            weights[name] = 0.5 + noise.abs() if name.endswith(("var", "bn.weight")) else noise * 0.2
    inception.load_state_dict(weights, assign=True)
    return inception.eval().requires_grad_(False)


@torch.inference_mode()
def test_every_block_agrees_with_the_second_implementation(network: InceptionV3) -> None:
    # 107 px: the smallest size whose last blocks are 2 x 2, so that padding and pooling are seen
    images = torch.rand(1, 3, 107, 107, generator=torch.Generator().manual_seed(1)) * 2 - 1
    wanted = Second(network.state_dict()).stages(images.double())
    result = list(network.stages(images))
    assert [name for name, _ in result][5:] == list(BLOCKS)
    for (name, ours), theirs in zip(result, wanted, strict=True):
        assert ours.shape == theirs.shape, name
        assert theirs.std() > 0.01 and (theirs == 0).double().mean() < 0.9, name
        gap = (ours - theirs).abs().max() / theirs.std()
        assert gap < 2e-4, f"{name}: {gap:.2g} standard deviations"
    features = network.features(images)
    torch.testing.assert_close(features.double(), wanted[-1].mean((2, 3)), rtol=1e-4, atol=1e-4)


def test_names_and_shapes_are_those_of_the_pytorch_port(network: InceptionV3) -> None:
    weights = network.state_dict()
    for name, shape in KERNELS.items():
        assert weights[f"{name}.conv.weight"].shape == shape, name
    assert weights["fc.weight"].shape == (1008, 2048) and weights["fc.bias"].shape == (1008,)
    parts = {name.rpartition(".")[2] for name in weights}
    assert parts == {"weight", "bias", "running_mean", "running_var"}
    assert len(weights) == 94 * 5 + 2  # 94 convolutions
    learnt = sum(x.numel() for name, x in weights.items() if "running" not in name)
    assert learnt == 21_785_568 + 2049 * 1008  # the trunk as published with ImageNet's 1000 classes


@torch.inference_mode()
def test_inception_scores_use_logits_without_their_bias(network: InceptionV3) -> None:
    features = torch.rand(3, 2048)
    plain = network.logits(features)
    torch.testing.assert_close(plain, features @ network.fc.weight.T)
    torch.testing.assert_close(network.logits(features, biased=True), plain + network.fc.bias)
    assert plain.shape == (3, 1008)
