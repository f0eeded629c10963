"""WGAN: a critic that measures a distance, and a generator that shortens it.

Arjovsky, Chintala and Bottou 2017, with their weight clipping or with the gradient penalty of
Gulrajani et al. 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from triptych.core.config import Settings
from triptych.core.generative_model import GenerativeModel
from triptych.core.objectives import AdversarialSpec, Objective, StepContext
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec
from triptych.nets import dcgan as nets
from triptych.nets.augment import CURVES, Augment, Augmentation, NoAugment

LEARNING_RATES = {"penalty": 1e-4, "clipping": 5e-5}  # the two papers': of Adam and of RMSprop
BETAS = (0.0, 0.9)  # of Adam (Gulrajani et al. 2017, algorithm 1)


class WganConfig(Settings):
    """What is fixed when training starts."""

    former_names = MappingProxyType(
        {"rate": "lr", "critic_rate": "critic_lr", "generator_every": "generator_interval"}
    )

    latent: int = Field(100, ge=1)
    """Numbers in one latent vector."""
    width: int = Field(64, ge=1)
    """Channels of the layer nearest the picture; each layer further in has twice as many."""
    lipschitz: Literal["penalty", "clipping"] = "penalty"
    """What keeps the critic's slope near 1: a price on any other slope, or weights that are cut off.

    Each comes as in its paper: the penalty with layer norm in the critic and Adam, clipping with batch norm
    and RMSprop.
    """
    penalty_weight: float = Field(10.0, gt=0)
    """Weight of the gradient penalty (lambda)."""
    clip_value: float = Field(0.01, gt=0)
    """Largest absolute weight that clipping leaves in the critic (c)."""
    generator_interval: int = Field(5, ge=1)
    """The generator moves every so many steps, the critic in each."""
    augment: Augmentation = NoAugment()
    """Change what the critic sees, for sets of few pictures: always a little, or as it overfits."""
    lr: float | None = Field(None, gt=0)
    """Learning rate of both players, unless told otherwise; left out: 1e-4, or 5e-5 with clipping."""
    critic_lr: float | None = Field(None, gt=0)
    """Learning rate of the critic; left out: the same. Two time scales: Heusel et al. 2017."""

    @model_validator(mode="before")
    @classmethod
    def as_in_the_papers(cls, values: Any) -> Any:
        """What is left out is what the paper of the chosen constraint used, and is stored as a number."""
        if not isinstance(values, dict):
            return values
        if values.get("lr") is not None:
            return values
        return {**values, "lr": LEARNING_RATES.get(str(values.get("lipschitz", "penalty")))}

    @classmethod
    def with_current_names(cls, saved: Mapping[str, Any]) -> dict[str, Any]:
        """As the base class does; `strength` was lambda or c, whichever the constraint has."""
        current = super().with_current_names(saved)
        if "strength" in current:
            strength = current.pop("strength")
            clips = current.get("lipschitz") == "clipping"
            current["clip_value" if clips else "penalty_weight"] = strength
        return current


class WganControls(Settings):
    """What may be chosen when sampling."""

    truncation: float = Field(1.0, ge=0)
    """Scale of the latent vector: below 1 the pictures are more typical and less varied."""


class Wgan(GenerativeModel[WganConfig, WganControls]):
    """min over G, max over 1-Lipschitz f of E[f(x)] - E[f(G(z))] (Arjovsky et al. 2017, eq. 2 and 3).

    `--preset paper`: algorithm 1 of Gulrajani et al. 2017 (penalty 10, five critic steps a generator step,
    Adam at 1e-4 with betas 0 and 0.9, batch 64), unconditional, on DCGAN's networks of 64 channels; with
    `--lipschitz clipping` the clipping, optimizer and learning rate of Arjovsky et al. 2017.
    """

    Config, Controls = WganConfig, WganControls
    title = "WGAN"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {"batch": 64, "lr": 1e-3, "generator_interval": 2},
        "points": {  # of a plane: they lie near each other; labels would give the modes away
            "batch": 64, "lr": 1e-3, "critic_lr": 2e-3, "penalty_weight": 0.1, "generator_interval": 5,
            "latent": 2, "conditional": False,
        },
        "paper": {
            "batch": 64, "latent": 100, "width": 64, "lipschitz": "penalty", "penalty_weight": 10.0,
            "generator_interval": 5, "lr": None, "critic_lr": None, "conditional": False,
        },
    }  # fmt: skip
    ema_modules = ("generator",)
    channels_last = True
    adversarial = AdversarialSpec(
        critic="critic", generator="generator", critic_output="scores", penalties=("penalty",)
    )
    log_help: ClassVar[dict[str, str]] = {
        "critic/distance": "E[f(x)] - E[f(G(z))], the critic's estimate of how far, in the space of pixels, "
        "the fakes lie from real pictures (Wasserstein distance). Unlike a GAN's losses it should fall as "
        "the pictures get better. It is in the critic's own unit: with the penalty divide it by the slope, "
        "with clipping only its course counts.",
        "critic/loss": "The negative distance plus the penalty: rises towards 0 as the fakes come nearer.",
        "critic/penalty": "Mean of (slope - 1)^2 between real and fake pictures, before its weight: small is "
        "healthy; if it is large the distance above means nothing.",
        "critic/slope": "How steeply the critic rises between real and fake pictures: near 1 it measures a "
        "distance.",
        "critic/real": "Mean score of real pictures. Scores have no zero: only differences count.",
        "critic/fake": "Mean score of fakes.",
        "generator/loss": "-E[f(G(z))]: drifts with the critic's zero, so by itself it says nothing.",
        **{f"critic/{name}": told for name, told in CURVES.items()},
    }

    def __init__(
        self,
        config: WganConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        self.conditional = spec.classes > 0
        self.noise_shape = (config.latent,)
        told = spec.classes  # numbers that say the label, one-hot
        self.generator = nets.generator(config.latent + told, spec, config.width)
        seen = replace(spec, channels=spec.channels + told)
        norm: nets.Norm = "layer" if config.lipschitz == "penalty" else "batch"
        self.critic = nets.discriminator(seen, config.width, norm)
        self.apply(nets.init_normal)
        self.augment = Augment(config.augment, spec)

    def objectives(self) -> list[Objective]:
        """The critic moves in every step, the generator in every fifth, against the critic just updated."""
        assert self.config.lr is not None
        judge = self.optimizer(self.critic, self.config.critic_lr or self.config.lr)
        forger = self.optimizer(self.generator, self.config.lr)
        if self.config.lipschitz == "clipping":
            judge.register_step_post_hook(lambda *_: self.clip_weights())
        return [
            Objective("critic", judge, self.critic_loss),
            Objective("generator", forger, self.generator_loss, interval=self.config.generator_interval),
        ]

    def optimizer(self, network: torch.nn.Module, rate: float) -> torch.optim.Optimizer:
        """The optimiser of the paper that the constraint is from."""
        if self.config.lipschitz == "clipping":
            return torch.optim.RMSprop(network.parameters(), rate)
        return torch.optim.Adam(network.parameters(), rate, BETAS, fused=True)

    @torch.no_grad()
    def clip_weights(self) -> None:
        """w <- clip(w, -c, c), after each of the critic's moves (Arjovsky et al. 2017, algorithm 1)."""
        for weight in self.critic.parameters():
            weight.clamp_(-self.config.clip_value, self.config.clip_value)

    def fakes(self, turn: StepContext) -> Tensor:
        """(B, C, H, W): this turn's fakes, made once and shown to both players."""

        def make() -> Tensor:
            with torch.set_grad_enabled("generator" in turn.active):
                return self.paint(turn.randn(*self.noise_shape), turn.batch.labels)

        return turn.cached("fakes", make)

    def paint(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """noise: (B, latent), labels: (B,) int64. Returns (B, C, H, W) in [-1, 1]."""
        return self.generator(self.with_labels(noise[:, :, None, None], labels)).float()

    def scores(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """f(x), (B,): higher is more real; without a scale of its own. images: (B, C, H, W)."""
        return self.critic(self.with_labels(images, labels)).float().flatten()

    def with_labels(self, planes: Tensor, labels: Tensor | None) -> Tensor:
        """(B, channels, H, W), followed by one constant plane a class when the family is conditional."""
        if not self.conditional:
            return planes
        assert labels is not None
        return nets.with_labels(planes, labels, self.spec.classes)

    def critic_loss(self, batch: Batch, turn: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """E[f(G(z))] - E[f(x)], and where it is paid the penalty: + lambda E[(|grad f| - 1)^2].

        Gulrajani et al. 2017, eq. 3. Both signs of a wrong slope are paid for.
        """
        batch = replace(batch, images=self.augment(batch.images, turn))
        fakes = self.augment(self.fakes(turn).detach(), turn)
        reals, forged = (self.scores(images, batch.labels) for images in (batch.images, fakes))
        self.augment.watch(reals, forged)
        real, fake = reals.mean(), forged.mean()
        loss, seen = fake - real, {"real": real, "fake": fake, "distance": real - fake}
        if self.config.lipschitz == "penalty":
            slopes = self.slopes(batch, fakes, turn)
            penalty = (slopes - 1).square().mean()
            loss = loss + self.config.penalty_weight * penalty
            seen |= {"penalty": penalty, "slope": slopes.mean()}
        return loss, {**{name: value.detach() for name, value in seen.items()}, **self.augment.seen()}

    def slopes(self, batch: Batch, fakes: Tensor, turn: StepContext) -> Tensor:
        """|grad f| at a random place on the line between each real picture and its fake: (B,), float32.

        Without autocast: what is differentiated twice should not be rounded to 8 bits between.
        """
        share = turn.rand(1, 1, 1)  # (B, 1, 1, 1)
        with torch.autocast(fakes.device.type, enabled=False):
            between = (share * batch.images + (1 - share) * fakes).requires_grad_()
            scores = self.scores(between, batch.labels)
            (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        return gradient.flatten(1).norm(dim=1)

    def generator_loss(self, batch: Batch, turn: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """-E[f(G(z))] (Arjovsky et al. 2017, algorithm 1)."""
        return -self.scores(self.augment(self.fakes(turn), turn), batch.labels).mean(), {}

    def generate(
        self, noise: Tensor, condition: Condition, controls: WganControls, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """One frame: the generator is asked once."""
        latent = noise * controls.truncation
        yield GenerationStep(1, 1, latent, lambda: self.paint(latent, condition.labels))

    def first_layer_weight(self) -> Tensor | None:
        """(channels * 16, latent): the generator's stamp; None for points."""
        return nets.first_matrix(self.generator, self.config.latent)
