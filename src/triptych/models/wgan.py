"""WGAN: a critic estimates the Wasserstein distance between fakes and data; the generator minimizes it.

Arjovsky, Chintala and Bottou 2017, with their weight clipping or with the gradient penalty of
Gulrajani et al. 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from triptych.core.generative_model import GenerativeModel
from triptych.core.objectives import AdversarialSpec, Objective, StepContext
from triptych.core.types import Batch, ImageSpec
from triptych.models._gan import ConvolutionalGan, ConvolutionalGanConfig
from triptych.nets import dcgan as nets
from triptych.nets.augment import LOG_HELP

LEARNING_RATES = {"penalty": 1e-4, "clipping": 5e-5}  # of the two papers, for Adam and for RMSprop
BETAS = (0.0, 0.9)  # of Adam (Gulrajani et al. 2017, algorithm 1)


class WganConfig(ConvolutionalGanConfig):
    """Settings fixed when training starts."""

    lipschitz: Literal["penalty", "clipping"] = "penalty"
    """How the critic is kept 1-Lipschitz: a gradient penalty, or weight clipping.

    Each as in its paper: the penalty with layer norm in the critic and Adam, clipping with batch norm and
    RMSprop.
    """
    penalty_weight: float = Field(10.0, gt=0)
    """Weight of the gradient penalty (lambda)."""
    clip_value: float = Field(0.01, gt=0)
    """Largest absolute weight that clipping leaves in the critic (c)."""
    lr: float | None = Field(None, gt=0)
    """Learning rate of generator and critic; left out: 1e-4, or 5e-5 with clipping."""
    generator_interval: int = Field(5, ge=1)
    """Steps between updates of the generator; the critic is updated in each."""

    @model_validator(mode="before")
    @classmethod
    def fill_in_paper_lr(cls, values: Any) -> Any:
        """Where lr is left out, store the number of the paper that the constraint is from."""
        if not isinstance(values, dict) or values.get("lr") is not None:
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


class Wgan(ConvolutionalGan[WganConfig]):
    """min over G, max over 1-Lipschitz f of E[f(x)] - E[f(G(z))] (Arjovsky et al. 2017, eq. 2 and 3).

    `--preset paper`: algorithm 1 of Gulrajani et al. 2017 (penalty 10, five critic steps per generator step,
    Adam at 1e-4 with betas 0 and 0.9, batch 64), unconditional, on DCGAN's networks of 64 channels; with
    `--lipschitz clipping` the clipping, optimizer and learning rate of Arjovsky et al. 2017.
    """

    Config = WganConfig
    title = "WGAN"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {"batch": 64, "lr": 1e-3, "generator_interval": 2},
        "points": {  # 2-D: they lie close together; labels would give the modes away
            "batch": 64, "lr": 1e-3, "critic_lr": 2e-3, "penalty_weight": 0.1, "generator_interval": 5,
            "latent": 2, "conditional": False,
        },
        "paper": {
            "batch": 64, "latent": 100, "width": 64, "lipschitz": "penalty", "penalty_weight": 10.0,
            "generator_interval": 5, "lr": None, "critic_lr": None, "conditional": False,
        },
    }  # fmt: skip
    adversarial = AdversarialSpec(critic="critic", critic_output="scores", penalties=("penalty",))
    checklist_exemptions: ClassVar[dict[str, str]] = {
        "architecture": "a critic under a gradient penalty may not have batch norm, which makes an image's "
        "score depend on its batch (Gulrajani et al. 2017, section 4)"
    }
    log_help: ClassVar[dict[str, str]] = {
        "critic/distance": "E[f(x)] - E[f(G(z))], the critic's estimate of the Wasserstein distance between "
        "fakes and real images, in pixel space. Unlike a GAN's losses it should fall as the images get "
        "better. It is in the critic's own unit: with the penalty divide it by the slope, with clipping only "
        "its trend counts.",
        "critic/loss": "The negative distance plus the penalty: rises towards 0 as the fakes get closer.",
        "critic/penalty": "Mean of (slope - 1)^2 between real images and fakes, before its weight: small is "
        "healthy; if it is large the distance above means nothing.",
        "critic/slope": "Mean norm of the critic's gradient between real images and fakes: near 1 the loss "
        "estimates a distance.",
        "critic/real": "Mean score of real images. Scores have no zero: only differences count.",
        "critic/fake": "Mean score of fakes.",
        "generator/loss": "-E[f(G(z))]: drifts with the critic's zero, so by itself it says nothing.",
        **{f"critic/{name}": help_text for name, help_text in LOG_HELP.items()},
    }

    def __init__(
        self,
        config: WganConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        self.critic = self.new_critic("layer" if config.lipschitz == "penalty" else "batch")
        self.apply(nets.init_normal)

    def objectives(self) -> list[Objective]:
        """The critic moves in every step, the generator in every fifth, against the critic just updated."""
        objectives = super().objectives()
        if self.config.lipschitz == "clipping":
            objectives[0].optimizer.register_step_post_hook(lambda *_: self.clip_weights())
        return objectives

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """The optimizer of the paper that the constraint is from."""
        if self.config.lipschitz == "clipping":
            return torch.optim.RMSprop(network.parameters(), lr)
        return torch.optim.Adam(network.parameters(), lr, BETAS, fused=True)

    @torch.no_grad()
    def clip_weights(self) -> None:
        """w <- clip(w, -c, c), after each update of the critic (Arjovsky et al. 2017, algorithm 1)."""
        for weight in self.critic.parameters():
            weight.clamp_(-self.config.clip_value, self.config.clip_value)

    def scores(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """The critic's scores f(x).

        Args:
            images: (B, C, H, W).
            labels: (B,) int64; None where the model is unconditional.

        Returns:
            (B,): higher is more real; the scale is arbitrary.
        """
        return self.critic(self.with_labels(images, labels)).float().flatten()

    def critic_loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """E[f(G(z))] - E[f(x)], and with the penalty + lambda E[(|grad f| - 1)^2].

        Both slopes below and above 1 are penalized (Gulrajani et al. 2017, eq. 3).
        """
        batch = replace(batch, images=self.augment(batch.images, context))
        fakes = self.augment(self.fakes(context).detach(), context)
        real_scores, fake_scores = (self.scores(images, batch.labels) for images in (batch.images, fakes))
        self.augment.observe(real_scores, fake_scores)
        real, fake = real_scores.mean(), fake_scores.mean()
        loss, values = fake - real, {"real": real, "fake": fake, "distance": real - fake}
        if self.config.lipschitz == "penalty":
            slopes = self.slopes(batch, fakes, context)
            penalty = (slopes - 1).square().mean()
            loss = loss + self.config.penalty_weight * penalty
            values |= {"penalty": penalty, "slope": slopes.mean()}
        return loss, self.log_values(values)

    def slopes(self, batch: Batch, fakes: Tensor, context: StepContext) -> Tensor:
        """|grad f| at a random point on the line between each real image and its fake.

        Without autocast: what is differentiated twice should not be rounded to bfloat16 in between.

        Args:
            batch: Real images, augmented, and labels.
            fakes: (B, C, H, W), augmented.
            context: Of the step: draws the points.

        Returns:
            (B,) float32.
        """
        share = context.rand(1, 1, 1)  # (B, 1, 1, 1)
        with torch.autocast(fakes.device.type, enabled=False):
            between = (share * batch.images + (1 - share) * fakes).requires_grad_()
            scores = self.scores(between, batch.labels)
            (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        return gradient.flatten(1).norm(dim=1)

    def generator_loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """-E[f(G(z))] (Arjovsky et al. 2017, algorithm 1)."""
        return -self.scores(self.augment(self.fakes(context), context), batch.labels).mean(), {}
