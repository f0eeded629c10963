"""DCGAN: a generator and a discriminator made of convolutions play a game of two.

Goodfellow et al. 2014 for the game, Radford, Metz and Chintala 2015 for the networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from triptych.core.config import Settings
from triptych.core.generative_model import GenerativeModel
from triptych.core.objectives import AdversarialSpec, Objective, StepContext
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec
from triptych.nets import dcgan as nets
from triptych.nets.augment import CURVES, Augment, Augmentation, NoAugment


class DcganConfig(Settings):
    """What is fixed when training starts."""

    former_names = MappingProxyType(
        {"rate": "lr", "critic_rate": "critic_lr", "generator_every": "generator_interval"}
    )

    latent: int = Field(100, ge=1)
    """Numbers in one latent vector."""
    width: int = Field(64, ge=1)
    """Channels of the layer nearest the picture; each layer further in has twice as many."""
    loss: Literal["non-saturating", "min-max"] = "non-saturating"
    """What the generator minimises: -log D(G(z)), or log(1 - D(G(z))), which vanishes when D is sure."""
    instance_noise: float = Field(0.0, ge=0)
    """Standard deviation of noise added to all the discriminator sees (Soenderby et al. 2017).

    0 is the study guide's game. There contrast is never learnt: the networks have no bias and batch norm
    sees real and fake pictures apart, so a discriminator cannot tell a picture from a paler one. A little
    noise of fixed strength is a yardstick it can.
    """
    augment: Augmentation = NoAugment()
    """Change what the discriminator sees, for sets of few pictures: always a little, or as it overfits."""
    lr: float = Field(2e-4, gt=0)
    """Learning rate of both players, unless told otherwise."""
    critic_lr: float | None = Field(None, gt=0)
    """Learning rate of the discriminator; left out: the same. Two time scales: Heusel et al. 2017."""
    generator_interval: int = Field(1, ge=1)
    """The generator moves every so many steps: more make the discriminator stronger."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's first-moment decay; 0.9 is known to make the game swing."""
    initialization: Literal["normal", "pytorch"] = "normal"
    """How the weights start: from N(0, 0.02) as in the paper's section 4, or as PyTorch starts each layer."""


class DcganControls(Settings):
    """What may be chosen when sampling."""

    truncation: float = Field(1.0, ge=0)
    """Scale of the latent vector: below 1 the pictures are more typical and less varied."""


class Dcgan(GenerativeModel[DcganConfig, DcganControls]):
    """min over G, max over D of E[log D(x)] + E[log(1 - D(G(z)))] (Goodfellow et al. 2014, eq. 1).

    `--preset paper`: the textbook's DCGAN, unconditional. Radford et al. 2015, section 4, in latent size,
    optimizer and batch; the networks of 256, 128 and 64 channels at 32 px that tutorials take, which set no
    initialization, so PyTorch's own (add --initialization normal for the paper's).
    """

    Config, Controls = DcganConfig, DcganControls
    title = "DCGAN"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {"batch": 64, "lr": 1e-3, "instance_noise": 0.3},
        "few": {  # images: some hundreds, which a discriminator soon knows by heart
            "batch": 64, "lr": 1e-3, "instance_noise": 0.3,
            "augment": {"kind": "adaptive", "ramp_images": 20_000},
        },
        "points": {  # of a plane: noise would blur them, and labels would give the modes away
            "batch": 64, "lr": 1e-3, "latent": 2, "conditional": False,
        },
        "paper": {
            "batch": 128, "latent": 100, "width": 64, "loss": "non-saturating", "instance_noise": 0.0,
            "lr": 2e-4, "critic_lr": None, "generator_interval": 1, "beta1": 0.5,
            "initialization": "pytorch", "conditional": False,
        },
    }  # fmt: skip
    ema_modules = ("generator",)
    channels_last = True
    adversarial = AdversarialSpec()
    log_help: ClassVar[dict[str, str]] = {
        "discriminator/loss": "The discriminator's cross-entropy: about 1.39 (2 ln 2) when it only guesses, "
        "near 0 when it wins every time and the generator learns little.",
        "generator/loss": "High when the discriminator sees through the fakes. It rises and falls with the "
        "opponent, so by itself it does not say whether the pictures get better.",
        "discriminator/real": "D(x), its belief that real pictures are real: healthy between 0.5 and 0.9.",
        "discriminator/fake": "D(G(z)), its belief that fakes are real: healthy well above 0; a flat line at "
        "0 means that the generator has lost.",
        **{f"discriminator/{name}": told for name, told in CURVES.items()},
    }

    def __init__(
        self,
        config: DcganConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        self.noise_shape = (config.latent,)
        self.conditional = spec.classes > 0
        told = spec.classes  # numbers that say the label, one-hot
        self.generator = nets.generator(config.latent + told, spec, config.width)
        self.discriminator = nets.discriminator(replace(spec, channels=spec.channels + told), config.width)
        if config.initialization == "normal":
            self.apply(nets.init_normal)
        self.augment = Augment(config.augment, spec)

    def objectives(self) -> list[Objective]:
        """The discriminator moves first, then the generator against the discriminator just updated."""
        betas = (self.config.beta1, 0.999)
        faster = self.config.critic_lr or self.config.lr
        judge = torch.optim.Adam(self.discriminator.parameters(), faster, betas, fused=True)
        forger = torch.optim.Adam(self.generator.parameters(), self.config.lr, betas, fused=True)
        return [
            Objective("discriminator", judge, self.discriminator_loss),
            Objective("generator", forger, self.generator_loss, interval=self.config.generator_interval),
        ]

    def fakes(self, turn: StepContext) -> Tensor:
        """(B, C, H, W): this turn's fakes, made once and shown to both players."""

        def make() -> Tensor:
            with torch.set_grad_enabled("generator" in turn.active):
                return self.paint(turn.randn(*self.noise_shape), turn.batch.labels)

        return turn.cached("fakes", make)

    def paint(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """noise: (B, latent), labels: (B,) int64. Returns (B, C, H, W) in [-1, 1]."""
        return self.generator(self.with_labels(noise[:, :, None, None], labels)).float()

    def logits(self, images: Tensor, turn: StepContext) -> Tensor:
        """The discriminator's verdict on pictures, augmented and under instance noise: (B, 1, 1, 1).

        Above 0 means real.
        """
        images = self.augment(images, turn)
        if self.config.instance_noise > 0:
            images = images + self.config.instance_noise * turn.randn(*images.shape[1:])
        return self.discriminator(self.with_labels(images, turn.batch.labels)).float()

    def with_labels(self, planes: Tensor, labels: Tensor | None) -> Tensor:
        """(B, channels, H, W), followed by one constant plane a class when the family is conditional."""
        if not self.conditional:
            return planes
        assert labels is not None
        return nets.with_labels(planes, labels, self.spec.classes)

    def discriminator_loss(self, batch: Batch, turn: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """-log D(x) - log(1 - D(G(z))), real and fake pictures in two calls as batch norm asks."""
        real = self.logits(batch.images, turn)
        fake = self.logits(self.fakes(turn).detach(), turn)
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()  # -log sigmoid(r), -log(1 - sigmoid(f))
        self.augment.watch(real)
        seen = {"real": real.detach().sigmoid().mean(), "fake": fake.detach().sigmoid().mean()}
        return loss, {**seen, **self.augment.seen()}

    def generator_loss(self, batch: Batch, turn: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """-log D(G(z)) (the paper's section 3, against vanishing gradients), or log(1 - D(G(z)))."""
        fake = self.logits(self.fakes(turn), turn)
        if self.config.loss == "min-max":
            return -F.softplus(fake).mean(), {}
        return F.softplus(-fake).mean(), {}

    def generate(
        self, noise: Tensor, condition: Condition, controls: DcganControls, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """One frame: the generator is asked once."""
        latent = noise * controls.truncation
        yield GenerationStep(1, 1, latent, lambda: self.paint(latent, condition.labels))

    def first_layer_weight(self) -> Tensor | None:
        """(channels * 16, latent): the generator's stamp; None for points."""
        return nets.first_matrix(self.generator, self.config.latent)
