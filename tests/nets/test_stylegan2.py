"""StyleGAN2's networks: modulation, learning-rate scales, resampling, the discriminator."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from triptych.core.types import ImageSpec
from triptych.nets.equalized import EqualizedConv, EqualizedLinear, downsample_2x, upsample_2x
from triptych.nets.stylegan2 import (
    EQUAL,
    MEAN_DECAY,
    LrScales,
    Mapping,
    ModulatedConv,
    StyleGenerator,
    ToRGB,
    channels_at,
)
from triptych.nets.stylegan2_discriminator import ResidualBlock, StyleDiscriminator, minibatch_std


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def one_kernel_per_image(conv: ModulatedConv, x: Tensor, style: Tensor) -> Tensor:
    """Karras et al. 2020, eqs. 1 to 3, as written: kernels of their own, in a grouped convolution."""
    B, wide, H, W = x.shape
    s = conv.affine(style)  # (B, wide)
    w = conv.scale * conv.weight[None] * s[:, None, :, None, None]  # (B, narrow, wide, k, k): eq. 1
    w = w / (w.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()  # eqs. 2 and 3
    kernels = w.flatten(0, 1)  # (B * narrow, wide, k, k)
    y = F.conv2d(x.reshape(1, B * wide, H, W), kernels, padding=conv.padding, groups=B)
    return conv.gain * y.view(B, -1, H, W) + conv.bias[:, None, None]


def test_modulation_equals_one_kernel_per_image() -> None:
    conv = ModulatedConv(6, 5, 4, gain=1.3)
    torch.nn.init.normal_(conv.bias)
    x, style = torch.randn(3, 6, 8, 8), torch.randn(3, 4)
    assert torch.allclose(conv(x, style), one_kernel_per_image(conv, x, style), atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_to_rgb_is_a_modulated_1x1_convolution(layout: torch.memory_format) -> None:
    part = ToRGB(6, 3, 4, 1.0)
    x, style = torch.randn(2, 6, 4, 4).to(memory_format=layout), torch.randn(2, 4)
    scaled = x * (part.affine(style) * part.scale)[:, :, None, None]
    assert torch.allclose(part(x, style), F.conv2d(scaled, part.weight[:, :, None, None]), atol=1e-5)


def test_a_modulated_convolution_can_be_differentiated_twice() -> None:
    conv = ModulatedConv(2, 3, 2).double()
    x, style = (
        torch.randn(2, *shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 3), (2,))
    )
    assert torch.autograd.gradgradcheck(conv, (x, style))


def test_demodulation_gives_unit_variance() -> None:
    """Of independent inputs of unit variance, whatever the style (eq. 3)."""
    conv = ModulatedConv(16, 8, 4)
    x, style = torch.randn(4, 16, 130, 130), 3 * torch.randn(4, 4)
    inner = conv(x, style)[:, :, 1:-1, 1:-1]  # the border sees zeros beyond it
    assert torch.allclose(inner.std(dim=(2, 3)), torch.ones(4, 8), atol=0.03)


@pytest.mark.parametrize("lr_scale", [1.0, 0.01])
def test_equalized_layers_keep_variance_and_scale_the_learning_rate(lr_scale: float) -> None:
    layer = EqualizedLinear(400, 300, lr_scale)
    assert layer(torch.randn(50, 400)).std().item() == pytest.approx(1, rel=0.03)
    assert layer.weight.std().item() == pytest.approx(1 / lr_scale, rel=0.03)
    before = layer.scaled_weight().detach().clone()
    adam = torch.optim.Adam(layer.parameters(), 0.1)
    layer(torch.randn(50, 400)).square().sum().backward()
    adam.step()  # every stored weight by 0.1
    moved = (layer.scaled_weight() - before).abs().mean().item()
    assert moved == pytest.approx(0.1 * lr_scale / 20, rel=1e-3)  # 20: the square root of 400 inputs


def test_an_equalized_convolution_keeps_variance() -> None:
    y = EqualizedConv(32, 64, 3)(torch.randn(4, 32, 40, 40))[:, :, 1:-1, 1:-1]
    assert y.std().item() == pytest.approx(1, rel=0.03)


def test_downsampling_is_the_blur_and_the_transpose_of_upsampling() -> None:
    x, y = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    line = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 8
    blur = (line[:, None] * line).expand(3, 1, 4, 4)
    wanted = F.conv2d(x, blur, stride=2, padding=1, groups=3)
    assert torch.allclose(downsample_2x(x)[:, :, 1:-1, 1:-1], wanted[:, :, 1:-1, 1:-1])
    assert torch.allclose((downsample_2x(x) * y).sum(), (x * upsample_2x(y)).sum() / 4)
    assert torch.equal(downsample_2x(torch.ones(1, 1, 8, 8)), torch.ones(1, 1, 4, 4))
    assert torch.autograd.gradgradcheck(lambda a: downsample_2x(a) ** 3, (x[:1, :1].requires_grad_(),))


def test_resampling_keeps_half_precision() -> None:
    x = torch.randn(1, 2, 4, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert upsample_2x(x).dtype == downsample_2x(x).dtype == torch.bfloat16


def test_the_mean_style_follows_each_class() -> None:
    mapping = Mapping(4, 3, 1, classes=3)
    labels = torch.tensor([0, 2, 2])
    styles = torch.tensor([[1.0, 1, 1], [2, 2, 2], [4, 4, 4]])
    mapping.track(styles, labels)
    wanted = torch.tensor([[1.0], [0], [3]]).expand(3, 3)
    assert torch.allclose(mapping.mean, wanted)
    mapping.track(styles + 1, labels)  # of few images the plain mean, ...
    assert torch.allclose(mapping.mean, wanted + torch.tensor([[0.5], [0], [0.5]]))
    for _ in range(4000):
        mapping.track(styles - 1, labels)
    assert torch.allclose(mapping.mean, wanted - torch.tensor([[1.0], [0], [1]]), atol=1e-2)
    mapping.track(styles, labels)  # ... of many one with a memory
    moved = torch.tensor([[1 - MEAN_DECAY], [0], [1 - MEAN_DECAY**2]])
    assert torch.allclose(mapping.mean, wanted - torch.tensor([[1.0], [0], [1]]) + moved, atol=1e-2, rtol=0)
    assert torch.equal(mapping.center(labels), mapping.mean[labels])
    with torch.autocast("cpu", torch.bfloat16):
        mapping.track(styles, labels)
    assert mapping.mean.dtype == torch.float32


def test_the_norm_of_a_latent_vector_has_no_effect() -> None:
    mapping, noise = Mapping(8, 5, 2), torch.randn(3, 8)
    assert torch.allclose(mapping(noise, None), mapping(7 * noise, None), atol=1e-5)


def generator(size: int = 16, colors: int = 1, lr_scales: LrScales = EQUAL) -> StyleGenerator:
    return StyleGenerator(ImageSpec(colors, size), channels_at(size, 4, 16), 8, 6, 1, 0, lr_scales)


def test_layers_resolutions_and_affine_weights_agree() -> None:
    net = generator(32, 3)
    assert net.sides == [4, 8, 8, 16, 16, 32, 32] and net.layers == 7
    assert channels_at(32, 4, 16) == [16, 16, 8, 4]
    readers = net.affine_weights()
    assert [tuple(r.shape) for r in readers] == [
        (16 + 16, 6), (16, 6), (16 + 16, 6), (16, 6), (8 + 8, 6), (8, 6), (4 + 4, 6)
    ]  # fmt: skip
    style, x = torch.randn(2, 6), torch.randn(2, 16, 4, 4)
    first = net.convs[0].conv
    assert torch.allclose(first.affine(style) - 1, style @ readers[0][:16].T, atol=1e-6)
    assert first(x, style).shape == x.shape


def test_a_style_dependent_input_depends_on_the_first_style_alone() -> None:
    """What the first layer is given: the constant, and a linear map of the first style."""
    net = StyleGenerator(ImageSpec(1, 16), channels_at(16, 4, 16), 8, 6, 1, style_dependent_input=True)
    given: list[Tensor] = []
    net.convs[0].register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    styles, noise = torch.randn(2, net.layers, 6), torch.randn(2, net.noise_numbers)
    other = styles.clone()
    other[:, 1:] = 0
    net(styles, noise), net(other, noise), net(torch.zeros_like(styles), noise)
    assert torch.equal(given[0], given[1])
    assert torch.equal(given[2], net.start.expand(2, -1, -1, -1))
    drawn = (given[0] - net.start).flatten(1)
    assert torch.allclose(drawn, 4 * styles[:, 0] @ net.affine_weights()[0][-16 * 16 :].T, atol=1e-5)


def test_a_late_style_does_not_affect_early_layers() -> None:
    """Layers before the crossover give the same part of the image."""
    net = generator()
    outputs: list[Tensor] = []
    for part in net.pictures:
        part.register_forward_hook(lambda module, given, out: outputs.append(out))
    one = torch.randn(2, 6)[:, None].repeat(1, net.layers, 1)  # laid out as `mixed` is: equal bits then
    noise, mixed = torch.randn(2, net.noise_numbers), one.clone()
    mixed[:, 3:] = torch.randn(2, 1, 6)  # layers 0 to 2 make the 4 and 8 px parts
    net(one, noise), net(mixed, noise)
    assert torch.equal(outputs[0], outputs[3]) and torch.equal(outputs[1], outputs[4])
    assert not torch.allclose(outputs[2], outputs[5])


def test_noise_is_scaled_by_its_strength() -> None:
    net = generator()
    styles = torch.randn(1, net.layers, 6)
    one, other = torch.randn(2, 1, net.noise_numbers)
    assert torch.equal(net(styles, one), net(styles, other))  # strengths start at 0
    with torch.no_grad():
        net.convs[-1].strength.fill_(0.5)
    assert not torch.allclose(net(styles, one), net(styles, other))
    slow = generator(lr_scales=LrScales(noise=0.1))
    slow.load_state_dict(net.state_dict())
    assert torch.allclose(slow(styles, one), net(styles, one / 10), atol=1e-5)


def test_affine_layers_have_their_learning_rate_scale() -> None:
    """A step of one size on every stored weight moves the affine layers by the scale."""
    style = torch.randn(2, 6)
    moved = []
    for lr_scale in (1.0, 0.1):
        net = generator(lr_scales=LrScales(affine=lr_scale))
        affines = [net.convs[2].conv.affine, net.pictures[1].affine]
        before = [affine(style) for affine in affines]
        assert all(0.5 < read.std() < 2 and 0 < read.mean() < 2 for read in before)  # started alike
        with torch.no_grad():
            for affine in affines:
                affine.weight += 0.01
                affine.bias += 0.01
        moved.append([affine(style) - read for affine, read in zip(affines, before, strict=True)])
    for even, slow in zip(*moved, strict=True):
        assert torch.allclose(slow, even / 10, atol=1e-5)


def test_a_style_dependent_input_has_the_affine_learning_rate_scale() -> None:
    style, moved = torch.randn(2, 6), []
    for lr_scale in (1.0, 0.1):
        layout = StyleGenerator(
            ImageSpec(1, 16),
            channels_at(16, 4, 16),
            8,
            6,
            1,
            lr_scales=LrScales(affine=lr_scale),
            style_dependent_input=True,
        ).layout
        assert layout is not None
        before = layout(style)
        with torch.no_grad():
            layout.weight += 0.01
        moved.append(layout(style) - before)
    assert torch.allclose(moved[1], moved[0] / 10, atol=1e-5)


def test_minibatch_std_is_per_group_and_channel() -> None:
    x = torch.randn(6, 3, 4, 4) * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    deviations = minibatch_std(x, torch.arange(6), 4)
    assert deviations.shape == (6, 3)
    for group in (slice(0, 4), slice(4, 6)):
        wanted = x[group].std(dim=0, unbiased=False).mean(dim=(1, 2))  # (channels,)
        assert torch.allclose(deviations[group], wanted.expand(len(deviations[group]), -1), atol=1e-5)
    halves = [minibatch_std(x[a:b], torch.arange(a, b), 4) for a, b in ((0, 4), (4, 6))]
    assert torch.equal(minibatch_std(x, torch.arange(6), 4), torch.cat(halves))
    other = torch.randn(6, 3, 4, 4)  # another side seen in the same pass makes groups of its own
    sides = [minibatch_std(side, torch.arange(6), 4) for side in (x, other)]
    assert torch.equal(minibatch_std(torch.cat([x, other]), torch.arange(6), 4), torch.cat(sides))


def test_a_micro_batch_inside_a_group_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4, or --minibatch-std-group 1"):
        minibatch_std(torch.randn(2, 3, 4, 4), torch.arange(2, 4), 4)


def test_the_logit_depends_on_the_minibatch_std() -> None:
    """The logit of an image changes with the other image of its group."""
    net = StyleDiscriminator(ImageSpec(1, 16), [8, 8, 8], classes=0, group=2)
    one, other = torch.randn(2, 1, 1, 16, 16)
    alone, beside = (net(torch.cat([one, second]), None, torch.arange(2))[0] for second in (one, other))
    assert not torch.allclose(alone, beside, atol=1e-3)


@pytest.mark.parametrize(("deep", "mean_square"), [(True, 1.0), (False, 1.5)])
def test_a_residual_block_keeps_the_mean_square(deep: bool, mean_square: float) -> None:
    torch.manual_seed(0)
    flat = torch.randn(4, 64, 1, 1).expand(-1, -1, 32, 32)  # halving leaves what does not vary
    inside = ResidualBlock(64, 64, deep)(flat)[:, :, 4:-4, 4:-4]  # convolutions fade at the border
    assert inside.square().mean().item() == pytest.approx(mean_square, rel=0.25)


def test_labels_are_projected() -> None:
    """Miyato and Koyama 2018, eq. 3: the label adds e_y . phi."""
    net = StyleDiscriminator(ImageSpec(1, 8, 3), [8, 4], classes=3, group=1)
    images, rows = torch.randn(3, 1, 8, 8), torch.arange(3)
    phi: list[Tensor] = []
    net.dense.register_forward_hook(lambda module, given, out: phi.append(F.leaky_relu(out, 0.2)))
    one, other = (net(images, torch.full((3,), label), rows) for label in (0, 2))
    assert net.labels is not None
    wanted = phi[0] @ (net.labels[2] - net.labels[0]) * net.verdict.scale
    assert torch.allclose(other - one, wanted, atol=1e-5)


def test_networks_for_256_px_rgb() -> None:
    net = StyleGenerator(ImageSpec(3, 256), channels_at(256, 2, 16), 8, 6, 1)
    with torch.no_grad():
        image = net(torch.randn(1, net.layers, 6), torch.randn(1, net.noise_numbers))
        assert image.shape == (1, 3, 256, 256) and net.layers == 13
        discriminator = StyleDiscriminator(ImageSpec(3, 256), channels_at(256, 2, 16), 0, 4)
        assert discriminator(image, None, torch.arange(1)).shape == (1,)
