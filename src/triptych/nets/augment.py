"""Augmentation of what a discriminator sees, so that few pictures last longer.

Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training"; Karras et al. 2020,
"Training generative adversarial networks with limited data". Real pictures and fakes go through the same
transforms, each with draws of its own, in the discriminator's turn and in the generator's; the generator
learns through them. Every transform is made of products, sums and choices, so it can be differentiated as
often as a penalty asks; pixels may leave [-1, 1].
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

LEAST_PX = 8  # below, an eighth of a picture is no pixel and half of it is most of what there is


OLD_WORDS = MappingProxyType({"policy": {"colour": "color"}})  # of settings that older versions saved


class NoAugment(Settings):
    """The discriminator sees pictures as they are."""

    kind: Literal["none"] = "none"


class DiffAugment(Settings):
    """Every picture is always changed a little (Zhao et al. 2020)."""

    former_values = OLD_WORDS
    kind: Literal["diff"] = "diff"
    policy: tuple[Literal["color", "translation", "cutout"], ...] = Field(
        ("color", "translation", "cutout"), min_length=1
    )
    """What is done: brightness, saturation and contrast; a shift of up to an eighth; a square left out."""


class Adaptive(Settings):
    """As many pictures are changed as keep the discriminator from overfitting (Karras et al. 2020)."""

    former_names = MappingProxyType({"every": "interval", "start": "initial_p", "limit": "max_p"})
    former_values = OLD_WORDS
    kind: Literal["adaptive"] = "adaptive"
    policy: tuple[Literal["flip", "rotation", "translation", "scaling", "color"], ...] = Field(
        ("rotation", "translation", "scaling", "color"), min_length=1
    )
    """What is done: mirrored sides, quarter turns, shifts, sizes, brightness, contrast and saturation."""
    target: float = Field(0.6, ge=-1, le=1)
    """Overfitting is the mean sign of the verdicts on real pictures: above this more are changed."""
    ramp_images: int = Field(50_000, ge=1)
    """Real pictures in which the chance of a change can go from 0 to 1; the paper's long runs: 500,000."""
    interval: int = Field(4, ge=1)
    """Steps between two moves of that chance."""
    initial_p: float = Field(0.0, ge=0, le=1)
    """The chance at first."""
    max_p: float = Field(0.8, gt=0, le=1)
    """Its upper end: beyond 0.8 changes are so usual that the generator may learn them (section 2.2)."""


Augmentation = Annotated[
    NoAugment | DiffAugment | Adaptive, Field(discriminator="kind"), BeforeValidator(by_kind)
]

LOG_HELP = {
    "augment": "Chance that a transform changes a picture the discriminator sees: rises while the "
    "discriminator overfits.",
    "overfit": "Mean sign of the discriminator's verdicts on real pictures: 0 when it guesses, near 1 when "
    "it knows the training pictures by heart.",
}  # what `Augment.log_values` logs, and how to read it


class Augment(nn.Module):
    """What stands between pictures and a discriminator; nothing at all for `NoAugment`.

    An adaptive chance is kept in buffers, so it goes on exactly where a state was saved. It moves at the
    first picture of every `interval`-th step, by the verdicts of the steps before: within a step all
    micro-batches and both players meet the same chance.
    """

    p: Tensor
    overfit: Tensor
    signs: Tensor
    judged: Tensor
    moved: Tensor

    def __init__(self, config: Augmentation, spec: ImageSpec) -> None:
        super().__init__()
        self.config = config
        if not isinstance(config, NoAugment) and spec.size < LEAST_PX:
            raise ValueError(
                f"augmentation needs pictures of {LEAST_PX} pixels or more, got {spec.size}: "
                "leave out --augment, or give a larger --size"
            )
        if isinstance(config, Adaptive):
            self.register_buffer("p", torch.tensor(min(config.initial_p, config.max_p)))
            self.register_buffer("overfit", torch.tensor(0.0))  # r_t when the chance last moved
            self.register_buffer("signs", torch.tensor(0.0))  # sum of signs since then
            self.register_buffer("judged", torch.tensor(0.0))  # and how many
            self.register_buffer("moved", torch.tensor(-1))  # step in which it was last asked to move

    def forward(self, images: Tensor, turn: StepContext) -> Tensor:
        """(B, C, H, W) pictures, real or made -> the same, changed; all draws come from `turn`."""
        if isinstance(self.config, NoAugment):
            return images
        with torch.autocast(images.device.type, enabled=False):  # bf16 would round the pixels
            if isinstance(self.config, DiffAugment):
                return changed(images.float(), self.config.policy, turn)
            if self.training:
                self._move(turn.step)
            return perhaps_changed(images.float(), self.config.policy, self.p, turn)

    @torch.no_grad()
    def observe(self, real: Tensor, fake: Tensor | None = None) -> None:
        """Note verdicts on real training pictures, of any shape; a discriminator's loss calls it.

        fake: verdicts on fakes, where only differences mean something (Wasserstein critics, paired
        losses): signs are then taken about the middle between the two means.
        """
        if not isinstance(self.config, Adaptive) or not self.training:
            return
        verdicts = real.detach().float()
        if fake is not None:
            verdicts = verdicts - (verdicts.mean() + fake.detach().float().mean()) / 2
        self.signs += verdicts.sign().sum()
        self.judged += verdicts.numel()

    def log_values(self) -> dict[str, Tensor]:
        """What to log: the chance and the overfitting it goes by; nothing unless adaptive."""
        if not isinstance(self.config, Adaptive):
            return {}
        return {"augment": self.p.clone(), "overfit": self.overfit.clone()}

    @torch.no_grad()
    def _move(self, step: int) -> None:
        """p <- p + sign(r - target) n / ramp, with r the mean of n signs (the paper's eq. 1 and section 3).

        Written without a branch on what lies on the device, which would have to be waited for.
        """
        assert isinstance(self.config, Adaptive)
        if step % self.config.interval:
            return
        due = (self.judged > 0) & (self.moved < step)
        found = self.signs / self.judged.clamp(min=1)
        stride = (found - self.config.target).sign() * self.judged / self.config.ramp_images
        self.p.copy_(torch.where(due, (self.p + stride).clamp(0, self.config.max_p), self.p))
        self.overfit.copy_(torch.where(due, found, self.overfit))
        self.signs.mul_(~due)
        self.judged.mul_(~due)
        self.moved.clamp_(min=step)


def changed(images: Tensor, policy: tuple[str, ...], turn: StepContext) -> Tensor:
    """DiffAugment, of float32 (B, C, H, W): each change of the policy, on every picture."""
    size = images.shape[-1]
    shade, tint, contrast, *places = turn.rand(7).unbind(1)  # (B,) each
    if "color" in policy:
        images = images + spread(shade - 0.5)
        images = away_from(images, images.mean(1, keepdim=True), 2 * tint)  # saturation
        images = away_from(images, images.mean((1, 2, 3), keepdim=True), contrast + 0.5)
    if "translation" in policy:
        down, right = (_whole(place, -round(size / 8), round(size / 8)) for place in places[:2])
        ahead = torch.arange(size, device=images.device)
        rows, columns = (resampling(ahead - shift[:, None]) for shift in (down, right))
        images = resampled(images, rows, columns)
    if "cutout" in policy:
        side = round(size / 2)
        top, left = (_whole(place, 0, size - side % 2) - side // 2 for place in places[2:])
        hole = _within(top, side, size)[:, :, None] & _within(left, side, size)[:, None]  # (B, H, W)
        images = images * ~hole[:, None]
    return images


def perhaps_changed(images: Tensor, policy: tuple[str, ...], p: Tensor, turn: StepContext) -> Tensor:
    """Adaptive augmentation, of float32 (B, C, H, W): each change of the policy on a share p of the pictures.

    A quarter turn is one of four, so a change may be none. Places outside a picture are its reflection.
    Sizes and colors spread as in the paper's appendix B: 2^(0.2 n) in size, 0.2 n in brightness, 2^(0.5 n)
    in contrast, 2^n in saturation, n standard normal.
    """
    size = images.shape[-1]
    flips, turns, shifts, scales, *tints = (turn.rand(7) < p).unbind(1)  # (B,) bool each: whom it befalls
    even, normal = turn.rand(4), turn.randn(4)
    side, quarters = flips & (even[:, 0] < 0.5), _whole(even[:, 1], 0, 3) * turns
    down, right = (_whole(even[:, k], -round(size / 8), round(size / 8)) * shifts for k in (2, 3))
    scale = torch.exp2(0.2 * normal[:, 0].clamp(-3, 3) * scales)  # beyond 3 one reflection is not enough
    still = torch.zeros_like(down)
    if "flip" not in policy:
        side = torch.zeros_like(side)
    if "rotation" not in policy:
        quarters = still
    if "translation" not in policy:
        down, right = still, still
    if "scaling" not in policy:
        scale = torch.ones_like(scale)
    images = torch.where((quarters % 2 == 1)[:, None, None, None], images.mT, images)
    upside, sideways = (quarters == 1) | (quarters == 2), side ^ (quarters >= 2)
    rows, columns = (
        resampling(_sources(size, shift, scale, turned), (1 / scale).clamp(min=1), reflect=True)
        for shift, turned in ((down, upside), (right, sideways))
    )
    images = resampled(images, rows, columns)
    if "color" in policy:
        shade, contrast, tint = (on * normal[:, 1 + k] for k, on in enumerate(tints))
        images = images + spread(0.2 * shade)
        images = images * spread(torch.exp2(0.5 * contrast))
        images = away_from(images, images.mean(1, keepdim=True), torch.exp2(tint))
    return images


def resampling(sources: Tensor, reach: Tensor | None = None, reflect: bool = False) -> Tensor:
    """(B, n, n) matrices whose rows mix the n pixels of a line into those found at `sources`, (B, n).

    Linear interpolation; exact at whole places. reach: (B,) half-width of the kernel in pixels, at least
    1: more when lines are made smaller, against aliasing. Beyond the line lies black-and-white's middle,
    0, or, up to n pixels away, its reflection.
    """
    n = sources.shape[1]
    pixels = torch.arange(n, device=sources.device)
    width = 1.0 if reach is None else reach[:, None, None]

    def weights(places: Tensor) -> Tensor:
        return (1 - (sources[:, :, None] - places).abs() / width).clamp(min=0)

    found = weights(pixels)
    if not reflect:
        return found
    found = found + weights(-1 - pixels) + weights(2 * n - 1 - pixels)
    return found / found.sum(2, keepdim=True)


def resampled(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(B, C, n, n) pictures with their lines mixed by (B, n, n) matrices, downwards and across."""
    return rows[:, None] @ images @ columns[:, None].mT


def away_from(images: Tensor, middle: Tensor, factor: Tensor) -> Tensor:
    """Each picture's distance from `middle` times its factor, (B,); exactly the picture where that is 1."""
    return images + spread(factor - 1) * (images - middle)


def spread(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return values[:, None, None, None]


def _sources(size: int, shift: Tensor, scale: Tensor, turned: Tensor) -> Tensor:
    """Where on a line each of its new pixels comes from, (B, size): enlarged about the middle, then moved."""
    middle = (size - 1) / 2
    ahead = torch.arange(size, device=shift.device) - middle
    return middle + (ahead - shift[:, None]) / torch.where(turned, -scale, scale)[:, None]


def _whole(even: Tensor, low: int, high: int) -> Tensor:
    """Numbers even in [0, 1) to whole ones in low..high, both included; as floats."""
    return low + (even * (high - low + 1)).floor()


def _within(start: Tensor, length: int, size: int) -> Tensor:
    """(B, size) bool: the pixels start..start + length - 1 of a line."""
    place = torch.arange(size, device=start.device)
    return (place >= start[:, None]) & (place < start[:, None] + length)
