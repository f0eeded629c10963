"""Augmentation of what a discriminator sees, against overfitting on small data sets.

Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training"; Karras et al. 2020, "Training
generative adversarial networks with limited data". Real images and fakes go through the same transforms, each
with its own random draws, in both objectives; the generator's gradient passes through them. Every transform
consists of products, sums and selections, so it can be differentiated as often as a penalty requires; pixels
may leave [-1, 1].
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from triptych.core.config import Settings, by_kind
from triptych.core.objectives import StepContext
from triptych.core.types import ImageSpec

MIN_SIZE = 8  # pixels: below, shifts of up to an eighth of the image are less than a pixel


OLD_WORDS = MappingProxyType({"policy": {"colour": "color"}})  # of settings that older versions saved


class NoAugment(Settings):
    """No augmentation."""

    kind: Literal["none"] = "none"


class DiffAugment(Settings):
    """DiffAugment: every image is augmented, always (Zhao et al. 2020)."""

    former_values = OLD_WORDS
    kind: Literal["diff"] = "diff"
    policy: tuple[Literal["color", "translation", "cutout"], ...] = Field(
        ("color", "translation", "cutout"), min_length=1
    )
    """Transforms: brightness, saturation and contrast; a shift of up to an eighth; a square cut out."""


class Adaptive(Settings):
    """ADA: the probability of each transform follows the discriminator's overfitting (Karras et al. 2020)."""

    former_names = MappingProxyType({"every": "interval", "start": "initial_p", "limit": "max_p"})
    former_values = OLD_WORDS
    kind: Literal["adaptive"] = "adaptive"
    policy: tuple[Literal["flip", "rotation", "translation", "scaling", "color"], ...] = Field(
        ("rotation", "translation", "scaling", "color"), min_length=1
    )
    """Transforms: horizontal flips, quarter turns, shifts, scaling; brightness, contrast and saturation."""
    target: float = Field(0.6, ge=-1, le=1)
    """Overfitting (mean sign of the logits of real images) above which the probability rises."""
    ramp_images: int = Field(50_000, ge=1)
    """Real images over which the probability can rise from 0 to 1; the paper's long runs take 500,000."""
    interval: int = Field(4, ge=1)
    """Steps between two adjustments of the probability."""
    initial_p: float = Field(0.0, ge=0, le=1)
    """The probability at the start."""
    max_p: float = Field(0.8, gt=0, le=1)
    """Its upper limit: beyond 0.8 transforms are so frequent that the generator learns them (section 2.2)."""


Augmentation = Annotated[
    NoAugment | DiffAugment | Adaptive, Field(discriminator="kind"), BeforeValidator(by_kind)
]

LOG_HELP = {
    "augment": "Probability of each transform: rises while the discriminator overfits.",
    "overfit": "Mean sign of the discriminator's logits on real images: 0 when it guesses, near 1 when it "
    "has memorized the training images.",
}  # what `Augment.log_values` returns, and how to read it


class Augment(nn.Module):
    """Augmentation in front of a discriminator; the identity for `NoAugment`.

    An adaptive probability is kept in buffers, so that training resumes exactly. It is adjusted at the first
    call of every `interval`-th step, by the logits of the steps before: within a step all micro-batches and
    both objectives see the same probability.

    Args:
        config: Which augmentation, and its settings.
        spec: Of the images.

    Raises:
        ValueError: For images below `MIN_SIZE`.
    """

    p: Tensor
    overfit: Tensor
    signs: Tensor
    judged: Tensor
    moved: Tensor

    def __init__(self, config: Augmentation, spec: ImageSpec) -> None:
        super().__init__()
        self.config = config
        if not isinstance(config, NoAugment) and spec.size < MIN_SIZE:
            raise ValueError(
                f"augmentation needs images of {MIN_SIZE} pixels or more, got {spec.size}: "
                "leave out --augment, or give a larger --size"
            )
        if isinstance(config, Adaptive):
            self.register_buffer("p", torch.tensor(min(config.initial_p, config.max_p)))
            self.register_buffer("overfit", torch.tensor(0.0))  # r_t at the last adjustment
            self.register_buffer("signs", torch.tensor(0.0))  # sum of signs since then
            self.register_buffer("judged", torch.tensor(0.0))  # and their number
            self.register_buffer("moved", torch.tensor(-1))  # step of the last call that could adjust

    def forward(self, images: Tensor, context: StepContext) -> Tensor:
        """Augment (B, C, H, W) images, real or fake; all random draws come from `context`."""
        if isinstance(self.config, NoAugment):
            return images
        with torch.autocast(images.device.type, enabled=False):  # bf16 would round the pixels
            if isinstance(self.config, DiffAugment):
                return diff_augment(images.float(), self.config.policy, context)
            if self.training:
                self._adjust(context.step)
            return adaptive_augment(images.float(), self.config.policy, self.p, context)

    @torch.no_grad()
    def observe(self, real: Tensor, fake: Tensor | None = None) -> None:
        """Record a discriminator's outputs on real training images; its loss calls this.

        Args:
            real: Logits or scores of real images, any shape.
            fake: Those of fakes, where only differences are meaningful (Wasserstein critics, relativistic
                losses): signs are then taken relative to the midpoint of the two means.
        """
        if not isinstance(self.config, Adaptive) or not self.training:
            return
        outputs = real.detach().float()
        if fake is not None:
            outputs = outputs - (outputs.mean() + fake.detach().float().mean()) / 2
        self.signs += outputs.sign().sum()
        self.judged += outputs.numel()

    def log_values(self) -> dict[str, Tensor]:
        """Values to log: the probability and the overfitting it follows; empty unless adaptive."""
        if not isinstance(self.config, Adaptive):
            return {}
        return {"augment": self.p.clone(), "overfit": self.overfit.clone()}

    @torch.no_grad()
    def _adjust(self, step: int) -> None:
        """p <- p + sign(r - target) n / ramp, with r the mean of n signs (the paper's eq. 1 and section 3).

        Without a branch on values on the device, which would force a synchronization.
        """
        assert isinstance(self.config, Adaptive)
        if step % self.config.interval:
            return
        due = (self.judged > 0) & (self.moved < step)
        overfit = self.signs / self.judged.clamp(min=1)
        stride = (overfit - self.config.target).sign() * self.judged / self.config.ramp_images
        self.p.copy_(torch.where(due, (self.p + stride).clamp(0, self.config.max_p), self.p))
        self.overfit.copy_(torch.where(due, overfit, self.overfit))
        self.signs.mul_(~due)
        self.judged.mul_(~due)
        self.moved.clamp_(min=step)


def diff_augment(images: Tensor, policy: tuple[str, ...], context: StepContext) -> Tensor:
    """DiffAugment: every transform of the policy, on every image.

    Args:
        images: (B, C, H, W) float32.
        policy: Names of transforms, as in `DiffAugment.policy`.
        context: Of the step: random draws.

    Returns:
        (B, C, H, W) float32.
    """
    size = images.shape[-1]
    brightness, saturation, contrast, *places = context.rand(7).unbind(1)  # (B,) each
    if "color" in policy:
        images = images + per_image(brightness - 0.5)
        images = scale_from(images, images.mean(1, keepdim=True), 2 * saturation)
        images = scale_from(images, images.mean((1, 2, 3), keepdim=True), contrast + 0.5)
    if "translation" in policy:
        down, right = (_to_integers(place, -round(size / 8), round(size / 8)) for place in places[:2])
        pixels = torch.arange(size, device=images.device)
        rows, columns = (interpolation_matrix(pixels - shift[:, None]) for shift in (down, right))
        images = resample(images, rows, columns)
    if "cutout" in policy:
        side = round(size / 2)
        top, left = (_to_integers(place, 0, size - side % 2) - side // 2 for place in places[2:])
        hole = _interval(top, side, size)[:, :, None] & _interval(left, side, size)[:, None]  # (B, H, W)
        images = images * ~hole[:, None]
    return images


def adaptive_augment(images: Tensor, policy: tuple[str, ...], p: Tensor, context: StepContext) -> Tensor:
    """Adaptive augmentation: each transform of the policy, on a share p of the images.

    A quarter turn is one of four, so a transform may be the identity. Pixels outside an image are its
    reflection. Magnitudes are those of the paper's appendix B, with n standard normal: 2^(0.2 n) in size,
    0.2 n in brightness, 2^(0.5 n) in contrast, 2^n in saturation.

    Args:
        images: (B, C, H, W) float32.
        policy: Names of transforms, as in `Adaptive.policy`.
        p: Scalar: the probability of each transform.
        context: Of the step: random draws.

    Returns:
        (B, C, H, W) float32.
    """
    size = images.shape[-1]
    flips, turns, shifts, scales, *color = (context.rand(7) < p).unbind(1)  # (B,) bool each
    uniform, normal = context.rand(4), context.randn(4)
    mirrored, quarters = flips & (uniform[:, 0] < 0.5), _to_integers(uniform[:, 1], 0, 3) * turns
    down, right = (_to_integers(uniform[:, k], -round(size / 8), round(size / 8)) * shifts for k in (2, 3))
    scale = torch.exp2(0.2 * normal[:, 0].clamp(-3, 3) * scales)  # beyond 3 one reflection is not enough
    zeros = torch.zeros_like(down)
    if "flip" not in policy:
        mirrored = torch.zeros_like(mirrored)
    if "rotation" not in policy:
        quarters = zeros
    if "translation" not in policy:
        down, right = zeros, zeros
    if "scaling" not in policy:
        scale = torch.ones_like(scale)
    images = torch.where((quarters % 2 == 1)[:, None, None, None], images.mT, images)
    reversed_rows, reversed_columns = (quarters == 1) | (quarters == 2), mirrored ^ (quarters >= 2)
    rows, columns = (
        interpolation_matrix(_sources(size, shift, scale, turned), (1 / scale).clamp(min=1), reflect=True)
        for shift, turned in ((down, reversed_rows), (right, reversed_columns))
    )
    images = resample(images, rows, columns)
    if "color" in policy:
        brightness, contrast, saturation = (on * normal[:, 1 + k] for k, on in enumerate(color))
        images = images + per_image(0.2 * brightness)
        images = images * per_image(torch.exp2(0.5 * contrast))
        images = scale_from(images, images.mean(1, keepdim=True), torch.exp2(saturation))
    return images


def interpolation_matrix(sources: Tensor, width: Tensor | None = None, reflect: bool = False) -> Tensor:
    """Matrices that interpolate lines of n pixels linearly; exact at integer positions.

    Args:
        sources: (B, n): the position in the old line that each new pixel comes from, in pixels.
        width: (B,): half-width of the triangular kernel in pixels, at least 1; more where lines shrink,
            against aliasing. None for 1.
        reflect: Whether a line continues as its reflection, up to n pixels away; else as 0, mid-gray.

    Returns:
        (B, n, n): new line = matrix @ old line.
    """
    n = sources.shape[1]
    pixels = torch.arange(n, device=sources.device)
    reach = 1.0 if width is None else width[:, None, None]

    def weights(positions: Tensor) -> Tensor:
        return (1 - (sources[:, :, None] - positions).abs() / reach).clamp(min=0)

    matrix = weights(pixels)
    if not reflect:
        return matrix
    matrix = matrix + weights(-1 - pixels) + weights(2 * n - 1 - pixels)
    return matrix / matrix.sum(2, keepdim=True)


def resample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Interpolate both axes of square images.

    Args:
        images: (B, C, n, n).
        rows: (B, n, n): interpolation matrices of the vertical axis.
        columns: (B, n, n): those of the horizontal axis.

    Returns:
        (B, C, n, n).
    """
    return rows[:, None] @ images @ columns[:, None].mT


def scale_from(images: Tensor, origin: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance of images from an origin; exactly the identity where the factor is 1.

    Args:
        images: (B, C, H, W).
        origin: Broadcasts to the images: a mean over channels or over all pixels.
        factor: (B,).

    Returns:
        (B, C, H, W).
    """
    return images + per_image(factor - 1) * (images - origin)


def per_image(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return values[:, None, None, None]


def _sources(size: int, shift: Tensor, scale: Tensor, turned: Tensor) -> Tensor:
    """(B, size): where each new pixel of a line comes from: scaled about the center, then shifted."""
    center = (size - 1) / 2
    offsets = torch.arange(size, device=shift.device) - center
    return center + (offsets - shift[:, None]) / torch.where(turned, -scale, scale)[:, None]


def _to_integers(uniform: Tensor, low: int, high: int) -> Tensor:
    """Uniform numbers in [0, 1) to uniform integers in low..high, both included; as floats."""
    return low + (uniform * (high - low + 1)).floor()


def _interval(start: Tensor, length: int, size: int) -> Tensor:
    """(B, size) bool: the pixels start..start + length - 1 of a line."""
    pixels = torch.arange(size, device=start.device)
    return (pixels >= start[:, None]) & (pixels < start[:, None] + length)
