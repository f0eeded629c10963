"""StyleGAN: noise is first made into a style, and the style steers every layer of the picture.

Karras, Laine and Aila 2019, Karras et al. 2020 (StyleGAN2) for the networks; Huang et al. 2024 ("The GAN is
dead; long live the GAN!", R3GAN) for the relativistic game with penalties on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from triptych.core.config import Settings
from triptych.core.generative_model import GenerativeModel
from triptych.core.objectives import AdversarialSpec, Objective, StepContext
from triptych.core.rng import SamplerNoise
from triptych.core.style_space import StyleBased
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec
from triptych.nets.augment import CURVES, Augment, Augmentation, NoAugment
from triptych.nets.stylegan2 import Paces, StyleDiscriminator, StyleGenerator, channels_at

BETAS = (0.0, 0.99)  # Adam's: no momentum, as in both papers


class StyleganConfig(Settings):
    """What is fixed when training starts."""

    former_names = MappingProxyType(
        {
            "rate": "lr", "critic_rate": "critic_lr", "rate_end": "lr_end",
            "generator_every": "generator_interval", "depth": "mapping_layers",
            "layout": "style_dependent_input", "widest": "max_channels", "penalties": "gradient_penalty",
            "penalty_every": "penalty_interval", "mixing": "mixing_probability",
            "style_pace": "affine_lr_scale", "noise_pace": "noise_lr_scale", "group": "minibatch_std_group",
        }
    )  # fmt: skip

    latent: int = Field(64, ge=1)
    """Numbers in one latent vector."""
    style: int = Field(64, ge=1)
    """Numbers in one style; every layer of the generator reads one."""
    mapping_layers: int = Field(2, ge=1)
    """Layers from latent vector to style; the paper's eight pay at 256 px and many hours."""
    style_dependent_input: bool = True
    """The style also draws the 4 px that the generator starts from; off: a constant (Karras et al. 2019)."""
    width: int = Field(16, ge=1)
    """Channels of the layers nearest the picture; half the side has twice as many. On a GPU more pay."""
    max_channels: int = Field(128, ge=1)
    """Channels that no layer exceeds; 512 suits 256 px on a GPU."""
    loss: Literal["relativistic", "logistic"] = "relativistic"
    """Real pictures judged against fakes in pairs (R3GAN), or each by itself (non-saturating, StyleGAN2)."""
    gradient_penalty: Literal["r1+r2", "r1"] = "r1+r2"
    """Whose slope is punished: real pictures' and fakes' (R3GAN), or only real ones' (StyleGAN2)."""
    gamma: float = Field(1.0, ge=0)
    """Weight of the penalties: too much leaves the discriminator guessing, too little lets it run off."""
    gamma_end: float = Field(0.1, ge=0, le=1)
    """Share of `gamma` that is left at the end of the run, along half a cosine: calm first, sharp last."""
    penalty_interval: int = Field(4, ge=1)
    """Steps between penalties, which count so many times as much; R3GAN takes 1, StyleGAN2 16."""
    mixing_probability: float = Field(0.1, ge=0, le=1)
    """Share of training fakes whose finer layers take the style of a second latent vector.

    The paper takes 0.9, which costs variety in minutes; with a tenth styles still mix cleanly later.
    """
    affine_lr_scale: float = Field(0.3, gt=0)
    """Pace of what reads the style, as a share of `lr`: slower keeps more variety, but learns later."""
    noise_lr_scale: float = Field(0.1, ge=0)
    """Pace of the random detail's strength, as a share of `lr`; at 1 a short run learns only grain."""
    minibatch_std_group: int = Field(8, ge=1)
    """Pictures whose differences, channel by channel, the discriminator is told; 1: none."""
    augment: Augmentation = NoAugment()
    """Change what the discriminator sees, for sets of few pictures: always a little, or as it overfits."""
    lr: float = Field(1e-2, gt=0)
    """Learning rate of both players at the start; the papers' 0.002 suits large pictures and days."""
    lr_end: float = Field(0.25, gt=0, le=1)
    """Share of both learning rates that is left at the end of the run, along half a cosine."""
    critic_lr: float | None = Field(None, gt=0)
    """Learning rate of the discriminator, if it is to differ (Heusel et al. 2017); else `lr`."""
    generator_interval: int = Field(1, ge=1)
    """The generator moves every so many steps."""


class StyleganControls(Settings):
    """What may be chosen when sampling."""

    truncation: float = Field(1.0, ge=0)
    """Distance from the mean style (of the label, if there is one): below 1 more typical, less varied."""
    detail: float = Field(1.0, ge=0)
    """Strength of the random detail that each layer adds; 0 leaves it out."""


class Stylegan(GenerativeModel[StyleganConfig, StyleganControls], StyleBased):
    """The relativistic game E[f(D(G(z)) - D(x))], f(t) = log(1 + e^t), with penalties (Huang et al. 2024).

    `--preset paper`: StyleGAN2 (Karras et al. 2020, configuration F), unconditional, as far as these networks
    carry it. Channels are its 512, right up to 64 px; above give --width 256 (128 px) or 128 (256 px).
    What differs: no path-length penalty; one convolution less at the discriminator's full size; the lazy
    penalty joins the step's own loss, so Adam's rate and betas are not corrected for it; the EMA's length is
    `--ema-std`, not a half-life of 10,000 images.
    """

    Config, Controls = StyleganConfig, StyleganControls
    title = "StyleGAN"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # many small steps: under half the FID of steps of 64 after the same minutes
        "fast": {"batch": 16, "mixing_probability": 0.0},
        "paper": {
            "batch": 32, "latent": 512, "style": 512, "mapping_layers": 8, "style_dependent_input": False,
            "width": 512, "max_channels": 512, "loss": "logistic", "gradient_penalty": "r1", "gamma": 10.0,
            "gamma_end": 1.0, "penalty_interval": 16, "mixing_probability": 0.9, "affine_lr_scale": 1.0,
            "noise_lr_scale": 1.0, "minibatch_std_group": 4, "lr": 2e-3, "lr_end": 1.0, "critic_lr": None,
            "generator_interval": 1, "conditional": False,
        },
    }  # fmt: skip
    ema_modules = ("generator",)
    channels_last = True
    adversarial, deterministic_controls = (
        AdversarialSpec(penalties=("r1", "r2")),
        MappingProxyType({"detail": 0.0}),
    )
    log_help: ClassVar[dict[str, str]] = {
        "discriminator/loss": "With the relativistic loss 0.69 (ln 2) when real and fake are not told apart, "
        "near 0 when they always can; the logistic loss has twice that. Penalties come on top.",
        "generator/loss": "The same game seen by the generator: 0.69 at a draw, more when it is found out.",
        "discriminator/real": "Belief that real pictures are real: near 0.5 the players are balanced, near 1 "
        "the discriminator leads. The relativistic loss only knows differences, so beliefs are taken about "
        "the middle between real and fake.",
        "discriminator/fake": "Belief that fakes are real: a flat line at 0 means that the generator has "
        "lost.",
        "discriminator/wins": "How surely the real picture of a pair is picked: 0.5 is a blind guess, 0.6 to "
        "0.9 a healthy game.",
        "discriminator/r1": "Squared slope of the verdict at real pictures. It grows as gamma cools; one "
        "that runs away early says that the discriminator hangs on details: more --gamma holds it down.",
        "discriminator/r2": "The same at fakes.",
        **{f"discriminator/{name}": told for name, told in CURVES.items()},
    }

    def __init__(
        self,
        config: StyleganConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        self.noise_shape = (config.latent,)
        self.conditional = spec.classes > 0
        self.step_period, self.mixed = config.penalty_interval, config.mixing_probability > 0
        told = spec.classes
        channels = channels_at(spec.size, config.width, config.max_channels)
        paces = Paces(style=config.affine_lr_scale, noise=config.noise_lr_scale)
        self.generator = StyleGenerator(
            spec,
            channels,
            config.latent,
            config.style,
            config.mapping_layers,
            told,
            paces,
            config.style_dependent_input,
        )
        self.discriminator = StyleDiscriminator(spec, channels, told, config.minibatch_std_group)
        if config.noise_lr_scale == 0:
            for name, parameter in self.generator.named_parameters():
                if name.endswith(".strength"):
                    parameter.requires_grad_(False)
        self.augment = Augment(config.augment, spec)
        self.style_shape = (self.generator.layers, config.style)

    def objectives(self) -> list[Objective]:
        """The discriminator moves first, then the generator against the discriminator just updated.

        A late penalty joins the step's own loss rather than taking a step of its own, so Adam's rate and
        betas need none of StyleGAN2's correction (Karras et al. 2020, appendix B).
        """
        config = self.config
        cooling = partial(cosine, end=config.lr_end)
        judge = torch.optim.Adam(
            self.discriminator.parameters(), config.critic_lr or config.lr, BETAS, fused=True
        )
        painter = torch.optim.Adam(self.generator.parameters(), config.lr, BETAS, fused=True)
        return [
            Objective("discriminator", judge, self.discriminator_loss, lr_schedule=cooling),
            Objective(
                "generator",
                painter,
                self.generator_loss,
                interval=config.generator_interval,
                lr_schedule=cooling,
            ),
        ]

    def fakes(self, turn: StepContext) -> Tensor:
        """(B, C, H, W): this turn's fakes, made once and shown to both players."""

        def make() -> Tensor:
            with torch.set_grad_enabled("generator" in turn.active):
                styles = self.mixed_styles(turn)  # (B, layers, style)
                return self.generator(styles, turn.randn(self.generator.noise_numbers))

        return turn.cached("fakes", make)

    def mixed_styles(self, turn: StepContext) -> Tensor:
        """(B, layers, style): of one latent vector, or of two with a crossover (Karras et al. 2019, 3.1)."""
        labels, mapping, layers = turn.batch.labels, self.generator.mapping, self.generator.layers
        first = mapping(turn.randn(*self.noise_shape), labels)  # (B, style)
        mapping.track(first.detach(), labels)
        every = first[:, None].expand(-1, layers, -1)  # (B, layers, style)
        if self.config.mixing_probability == 0:
            return every
        second = mapping(turn.randn(*self.noise_shape), labels)  # (B, style)
        mixes, place = turn.rand(2).unbind(1)  # (B,) each
        crossover = torch.where(
            mixes < self.config.mixing_probability, 1 + (place * (layers - 1)).long(), layers
        )
        below = torch.arange(layers, device=first.device) < crossover[:, None]  # (B, layers)
        return torch.where(below[:, :, None], every, second[:, None])

    def logits(self, turn: StepContext, *sides: Tensor) -> tuple[Tensor, ...]:
        """The discriminator's verdicts on this turn's pictures, augmented: (B,) a side, higher is more real.

        sides: (B, C, H, W) each, seen in one pass: many small layers cost by the call.
        """
        seen = torch.cat([self.augment(images, turn) for images in sides])  # (k B, C, H, W)
        labels = turn.batch.labels
        told = None if labels is None else labels.repeat(len(sides))
        return self.discriminator(seen, told, turn.batch.rows).float().chunk(len(sides))

    def discriminator_loss(self, batch: Batch, turn: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """f(D(G(z)) - D(x)), or f(-D(x)) + f(D(G(z))), and gamma/2 times the penalties whose turn it is."""
        due = turn.step % self.config.penalty_interval == 0 and self.config.gamma > 0
        judged = [batch.images.detach(), self.fakes(turn).detach()]
        names = self.config.gradient_penalty.split("+") if due else []  # "r1", and "r2" for the fakes
        punished = dict(zip(names, judged, strict=False))
        for images in punished.values():
            images.requires_grad_()
        if len(punished) == 1:  # the unpunished side had better not be differentiated twice
            (real,), (fake,) = self.logits(turn, judged[0]), self.logits(turn, judged[1])
        else:
            real, fake = self.logits(turn, *judged)
        self.augment.watch(real, fake if self.config.loss == "relativistic" else None)
        loss, seen = adversarial(self.config.loss, real, fake), verdicts(self.config.loss, real, fake)
        if punished:
            penalties = squared_slopes(real.sum() + fake.sum(), *punished.values())
            seen |= dict(zip(punished, penalties, strict=True))
            gamma = self.config.gamma * cosine(turn.progress, self.config.gamma_end)
            loss = loss + gamma / 2 * self.config.penalty_interval * sum(penalties)
        return loss, {**{name: value.detach() for name, value in seen.items()}, **self.augment.seen()}

    def generator_loss(self, batch: Batch, turn: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The same with the sides exchanged: f(D(x) - D(G(z))), or f(-D(G(z)))."""
        (fake,) = self.logits(turn, self.fakes(turn))
        if self.config.loss == "logistic":
            return F.softplus(-fake).mean(), {}
        with torch.no_grad():  # real pictures do not hang on the generator
            (real,) = self.logits(turn, batch.images)
        return F.softplus(real - fake).mean(), {}

    def generate(
        self, noise: Tensor, condition: Condition, controls: StyleganControls, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """One frame: the generator is asked once."""
        styles = self.styles(noise, condition, controls)
        yield GenerationStep(1, 1, noise, lambda: self.paint_styles(styles, seeds, controls))

    def styles(self, noise: Tensor, condition: Condition, controls: StyleganControls) -> Tensor:
        """(B, layers, style): all layers alike; truncated, mean + truncation * (style - mean)."""
        found = self.generator.mapping(noise, condition.labels)  # (B, style)
        if controls.truncation != 1:
            found = torch.lerp(self.generator.mapping.centre(condition.labels), found, controls.truncation)
        return found[:, None].expand(-1, self.generator.layers, -1)

    def paint_styles(
        self, styles: Tensor, seeds: Sequence[int], controls: StyleganControls | None = None
    ) -> Tensor:
        """(B, C, H, W) of styles (B, layers, style); detail: strength of what the seeds decide."""
        detail = 1.0 if controls is None else controls.detail
        blank = torch.zeros(len(styles), self.generator.noise_numbers)
        noise = detail * SamplerNoise(seeds, "detail").randn_like(blank) if detail else blank
        return self.generator(styles, noise.to(styles.device)).clamp(-1, 1)

    def style_affine_weights(self) -> list[Tensor]:
        """One (outputs, style) matrix a layer: what its scales, and the first's layout, are read with."""
        return self.generator.readers()


def cosine(done: float, end: float) -> float:
    """From 1 to `end` along half a cosine over the done share of a run (Huang et al. 2024, appendix)."""
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * done))


def adversarial(loss: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises without penalties. real, fake: (B,) logits; pairs share a row.

    relativistic: mean f(fake - real) (Huang et al. 2024, eq. 2); logistic: mean f(-real) + f(fake).
    """
    if loss == "relativistic":
        return F.softplus(fake - real).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def verdicts(loss: str, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Mean beliefs that pictures are real, and how surely the real one of a pair is picked.

    The relativistic loss does not see a common offset of all logits, which drifts: it is taken off.
    """
    offset = (real.mean() + fake.mean()) / 2 if loss == "relativistic" else torch.zeros_like(real[0])
    return {
        "real": (real - offset).sigmoid().mean(),
        "fake": (fake - offset).sigmoid().mean(),
        "wins": (real - fake).sigmoid().mean(),
    }


def squared_slopes(total: Tensor, *images: Tensor) -> list[Tensor]:
    """Mean over the pictures of |grad D|^2: R1 on real ones, R2 on fakes (Mescheder et al. 2018, eq. 9).

    total: scalar, the sum of the logits of pictures among which are images, (B, C, H, W) each, that require
    gradients. The results can be differentiated again.
    """
    slopes = torch.autograd.grad(total, images, create_graph=True)  # (B, C, H, W) each
    return [slope.square().flatten(1).sum(1).mean() for slope in slopes]
