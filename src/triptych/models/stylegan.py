"""StyleGAN: a mapping network turns noise into styles, which modulate every layer of the generator.

Karras, Laine and Aila 2019, Karras et al. 2020 (StyleGAN2) for the networks; Huang et al. 2024 ("The GAN is
dead; long live the GAN!", R3GAN) for the relativistic loss with gradient penalties on real images and fakes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from triptych.core.generative_model import GenerativeModel
from triptych.core.lr_schedules import cosine_to
from triptych.core.objectives import AdversarialSpec, StepContext
from triptych.core.rng import SamplerNoise
from triptych.core.style_space import StyleBased
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec
from triptych.models._gan import OLD_NAMES, Gan, GanConfig, GanControls
from triptych.nets.augment import LOG_HELP
from triptych.nets.stylegan2 import LrScales, StyleGenerator, channels_at
from triptych.nets.stylegan2_discriminator import StyleDiscriminator

BETAS = (0.0, 0.99)  # of Adam: no momentum, as in both papers


class StyleganConfig(GanConfig):
    """Settings fixed when training starts."""

    former_names = MappingProxyType(
        {
            **OLD_NAMES, "rate_end": "lr_end", "depth": "mapping_layers", "layout": "style_dependent_input",
            "widest": "max_channels", "penalties": "gradient_penalty", "penalty_every": "penalty_interval",
            "mixing": "mixing_probability", "style_pace": "affine_lr_scale", "noise_pace": "noise_lr_scale",
            "group": "minibatch_std_group",
        }
    )  # fmt: skip
    latent: int = Field(64, ge=1)
    """Dimensions of the latent vector z."""
    style: int = Field(64, ge=1)
    """Dimensions of a style w; every layer of the generator takes one."""
    mapping_layers: int = Field(2, ge=1)
    """Layers of the mapping network; the paper's eight pay off at 256 px and many hours."""
    style_dependent_input: bool = True
    """The generator's 4 x 4 px input depends on the style; off: a learned constant (Karras et al. 2019)."""
    width: int = Field(16, ge=1)
    """Channels of the layers at full resolution, doubled at every halving. On a GPU more pay off."""
    max_channels: int = Field(128, ge=1)
    """Channels that no layer exceeds; 512 suits 256 px on a GPU."""
    loss: Literal["relativistic", "logistic"] = "relativistic"
    """Compare real images and fakes in pairs (R3GAN), or classify each alone (non-saturating, StyleGAN2)."""
    gradient_penalty: Literal["r1+r2", "r1"] = "r1+r2"
    """Penalize the discriminator's gradient at real images and fakes (R3GAN), or at real ones (StyleGAN2)."""
    gamma: float = Field(1.0, ge=0)
    """Weight of the gradient penalty: high weakens the discriminator, low destabilizes training."""
    gamma_end: float = Field(0.1, ge=0, le=1)
    """Share of gamma that is left at the end of the run, after decay along half a cosine."""
    penalty_interval: int = Field(4, ge=1)
    """Steps between gradient penalties, whose weight grows by as much; R3GAN takes 1, StyleGAN2 16."""
    mixing_probability: float = Field(0.1, ge=0, le=1)
    """Share of training fakes whose finer layers take the style of a second latent vector.

    The paper takes 0.9, which costs diversity in runs of minutes; 0.1 suffices for clean mixing later.
    """
    affine_lr_scale: float = Field(0.3, gt=0)
    """Learning rate of the layers that read the style, as a share of lr: low keeps diversity, but is slow."""
    noise_lr_scale: float = Field(0.1, ge=0)
    """Learning rate of the noise strengths, as a share of lr; at 1 a short run learns mostly grain."""
    minibatch_std_group: int = Field(8, ge=1)
    """Images over which the discriminator sees the standard deviation of each channel; 1: none."""
    lr: float = Field(1e-2, gt=0)
    """Learning rate of both networks at the start; the papers' 0.002 suits large images and days."""
    lr_end: float = Field(0.25, gt=0, le=1)
    """Share of both learning rates that is left at the end of the run, after decay along half a cosine."""


class StyleganControls(GanControls):
    """Settings that may be chosen when sampling."""

    truncation: float = Field(1.0, ge=0)
    """Distance from the mean style (of the class, if there is one): below 1 more typical, less diverse."""
    detail: float = Field(1.0, ge=0)
    """Strength of the noise that each layer adds; 0 leaves it out."""


class Stylegan(Gan[StyleganConfig, StyleganControls], StyleBased):
    """The relativistic loss E[f(D(G(z)) - D(x))], f(t) = log(1 + e^t), with penalties (Huang et al. 2024).

    `--preset paper`: StyleGAN2 (Karras et al. 2020, configuration F), unconditional, as far as these networks
    implement it. Channels are its 512, right up to 64 px; above give --width 256 (128 px) or 128 (256 px).
    What differs: no path-length penalty; one convolution less at the discriminator's full size; the lazy
    penalty joins the step's own loss, so Adam's lr and betas are not corrected for it; the EMA's length is
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
    adversarial = AdversarialSpec(penalties=("r1", "r2"))
    deterministic_controls = MappingProxyType({"detail": 0.0})
    checklist_exemptions: ClassVar[dict[str, str]] = {
        "architecture": "styles modulate its convolutions in place of batch norm, and it upsamples by "
        "interpolation (Karras et al. 2020)"
    }
    log_help: ClassVar[dict[str, str]] = {
        "discriminator/loss": "With the relativistic loss 0.69 (ln 2) when real and fake are not told apart, "
        "near 0 when they always can; the logistic loss has twice that. Penalties come on top.",
        "generator/loss": "The same with real and fake exchanged: 0.69 at balance, more when the "
        "discriminator recognizes the fakes.",
        "discriminator/real": "Mean probability given to real images: near 0.5 both networks are balanced, "
        "near 1 the discriminator leads. The relativistic loss only knows differences, so logits are first "
        "centered between real and fake.",
        "discriminator/fake": "Mean probability given to fakes: a flat line at 0 means that the generator "
        "has lost.",
        "discriminator/wins": "Mean probability that the real image of a pair is the real one: 0.5 is a "
        "guess, 0.6 to 0.9 is healthy.",
        "discriminator/r1": "Squared gradient norm of the logit at real images. It grows as gamma decays; "
        "early growth without bound says that the discriminator latches on to details: raise --gamma.",
        "discriminator/r2": "The same at fakes.",
        **{f"discriminator/{name}": help_text for name, help_text in LOG_HELP.items()},
    }
    generator: StyleGenerator

    def __init__(
        self,
        config: StyleganConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        self.step_period = config.penalty_interval
        self.trained_with_mixing = config.mixing_probability > 0
        channels = channels_at(spec.size, config.width, config.max_channels)
        self.generator = StyleGenerator(
            spec,
            channels,
            config.latent,
            config.style,
            config.mapping_layers,
            spec.classes,
            LrScales(affine=config.affine_lr_scale, noise=config.noise_lr_scale),
            config.style_dependent_input,
        )
        self.discriminator = StyleDiscriminator(spec, channels, spec.classes, config.minibatch_std_group)
        if config.noise_lr_scale == 0:
            for name, parameter in self.generator.named_parameters():
                if name.endswith(".strength"):
                    parameter.requires_grad_(False)
        self.style_shape = (self.generator.layers, config.style)

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Adam, without StyleGAN2's correction for lazy penalties.

        A late penalty joins the step's own loss rather than taking a step of its own, so lr and betas need
        no correction (Karras et al. 2020, appendix B).
        """
        return torch.optim.Adam(network.parameters(), lr, BETAS, fused=True)

    def lr_schedule(self, progress: float) -> float:
        """Decay to `lr_end` along half a cosine (Huang et al. 2024, appendix)."""
        return cosine_to(progress, self.config.lr_end)

    def draw_fakes(self, context: StepContext) -> Tensor:
        """From mixed styles and fresh noise inputs."""
        styles = self.mixed_styles(context)  # (B, layers, style)
        return self.generator(styles, context.randn(self.generator.noise_numbers))

    def mixed_styles(self, context: StepContext) -> Tensor:
        """(B, layers, style): of one latent vector, or of two with a crossover (Karras et al. 2019, 3.1)."""
        labels, mapping, layers = context.batch.labels, self.generator.mapping, self.generator.layers
        first = mapping(context.randn(*self.noise_shape), labels)  # (B, style)
        mapping.track(first.detach(), labels)
        unmixed = first[:, None].expand(-1, layers, -1)  # (B, layers, style)
        if self.config.mixing_probability == 0:
            return unmixed
        second = mapping(context.randn(*self.noise_shape), labels)  # (B, style)
        mixes, place = context.rand(2).unbind(1)  # (B,) each
        is_mixed = mixes < self.config.mixing_probability
        crossover = torch.where(is_mixed, 1 + (place * (layers - 1)).long(), layers)
        below = torch.arange(layers, device=first.device) < crossover[:, None]  # (B, layers)
        return torch.where(below[:, :, None], unmixed, second[:, None])

    def logits(self, context: StepContext, *sides: Tensor) -> tuple[Tensor, ...]:
        """The discriminator's logits on augmented images, in one pass: many small layers cost by the call.

        Args:
            context: Of the step: labels, rows and random draws.
            *sides: (B, C, H, W) each: real images, fakes or both.

        Returns:
            (B,) for each side: higher is more real.
        """
        images = torch.cat([self.augment(side, context) for side in sides])  # (k B, C, H, W)
        labels = context.batch.labels
        labels = None if labels is None else labels.repeat(len(sides))
        return self.discriminator(images, labels, context.batch.rows).float().chunk(len(sides))

    def critic_loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """f(D(G(z)) - D(x)), or f(-D(x)) + f(D(G(z))); every few steps plus gamma/2 times the penalties."""
        due = context.step % self.config.penalty_interval == 0 and self.config.gamma > 0
        sides = [batch.images.detach(), self.fakes(context).detach()]
        names = self.config.gradient_penalty.split("+") if due else []  # "r1", and "r2" for the fakes
        penalized = dict(zip(names, sides, strict=False))
        for images in penalized.values():
            images.requires_grad_()
        if len(penalized) == 1:  # the other side had better not be differentiated twice
            (real,), (fake,) = self.logits(context, sides[0]), self.logits(context, sides[1])
        else:
            real, fake = self.logits(context, *sides)
        self.augment.observe(real, fake if self.config.loss == "relativistic" else None)
        loss = discriminator_loss(self.config.loss, real, fake)
        values = mean_probabilities(self.config.loss, real, fake)
        if penalized:
            penalties = squared_gradient_norms(real.sum() + fake.sum(), *penalized.values())
            values |= dict(zip(penalized, penalties, strict=True))
            gamma = self.config.gamma * cosine_to(context.progress, self.config.gamma_end)
            loss = loss + gamma / 2 * self.config.penalty_interval * sum(penalties)
        return loss, self.log_values(values)

    def generator_loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The same with real and fake exchanged: f(D(x) - D(G(z))), or f(-D(G(z)))."""
        (fake,) = self.logits(context, self.fakes(context))
        if self.config.loss == "logistic":
            return F.softplus(-fake).mean(), {}
        with torch.no_grad():  # real images do not depend on the generator
            (real,) = self.logits(context, batch.images)
        return F.softplus(real - fake).mean(), {}

    def generate(
        self, noise: Tensor, condition: Condition, controls: StyleganControls, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """A single step: one call of the generator."""
        styles = self.styles(noise, condition, controls)
        yield GenerationStep(1, 1, noise, lambda: self.synthesize(styles, seeds, controls))

    def styles(self, noise: Tensor, condition: Condition, controls: StyleganControls) -> Tensor:
        """Map noise to styles, truncated: mean + truncation * (style - mean).

        Args:
            noise: (B, latent).
            condition: Labels, (B,) int64, where the model is conditional.
            controls: Of which truncation acts here.

        Returns:
            (B, layers, style), the same style for all layers.
        """
        style = self.generator.mapping(noise, condition.labels)  # (B, style)
        if controls.truncation != 1:
            center = self.generator.mapping.center(condition.labels)
            style = torch.lerp(center, style, controls.truncation)
        return style[:, None].expand(-1, self.generator.layers, -1)

    def synthesize(
        self, styles: Tensor, seeds: Sequence[int], controls: StyleganControls | None = None
    ) -> Tensor:
        """Run the generator on styles.

        Args:
            styles: (B, layers, style).
            seeds: One per image; they decide the noise inputs.
            controls: Of which detail acts here; None: the defaults.

        Returns:
            (B, C, H, W) in [-1, 1].
        """
        detail = 1.0 if controls is None else controls.detail
        zeros = torch.zeros(len(styles), self.generator.noise_numbers)
        noise = detail * SamplerNoise(seeds, "detail").randn_like(zeros) if detail else zeros
        return self.generator(styles, noise.to(styles.device)).clamp(-1, 1)

    def style_affine_weights(self) -> list[Tensor]:
        """One (outputs, style) matrix per layer; see `StyleGenerator.affine_weights`."""
        return self.generator.affine_weights()


def discriminator_loss(loss: str, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss without penalties.

    Args:
        loss: "relativistic": mean f(fake - real), or "logistic": mean f(-real) + f(fake).
        real: (B,) logits of real images.
        fake: (B,) logits of fakes; in the relativistic loss each is paired with the real one of its row.

    Returns:
        A scalar.

    References:
        Huang et al. 2024, eq. 2; Goodfellow et al. 2014, eq. 1.
    """
    if loss == "relativistic":
        return F.softplus(fake - real).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def mean_probabilities(loss: str, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Mean probabilities of being real, for the log.

    The relativistic loss does not see a common offset of all logits, which drifts: it is subtracted.

    Args:
        loss: "relativistic" or "logistic".
        real: (B,) logits of real images.
        fake: (B,) logits of fakes.

    Returns:
        Scalars in [0, 1]: "real" and "fake", and "wins" for the real image of each pair.
    """
    offset = (real.mean() + fake.mean()) / 2 if loss == "relativistic" else torch.zeros_like(real[0])
    return {
        "real": (real - offset).sigmoid().mean(),
        "fake": (fake - offset).sigmoid().mean(),
        "wins": (real - fake).sigmoid().mean(),
    }


def squared_gradient_norms(total: Tensor, *images: Tensor) -> list[Tensor]:
    """Mean squared gradient norms of the discriminator: R1 at real images, R2 at fakes.

    Args:
        total: The sum of the logits of images that include the following.
        *images: (B, C, H, W) each, with requires_grad.

    Returns:
        A differentiable scalar for each of images.

    References:
        Mescheder et al. 2018, "Which training methods for GANs do actually converge?", eq. 9.
    """
    gradients = torch.autograd.grad(total, images, create_graph=True)  # (B, C, H, W) each
    return [gradient.square().flatten(1).sum(1).mean() for gradient in gradients]
