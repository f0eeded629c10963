"""DCGAN: adversarial training of a convolutional generator and a convolutional discriminator.

Goodfellow et al. 2014 for the objectives, Radford, Metz and Chintala 2015 for the networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from triptych.core.generative_model import GenerativeModel
from triptych.core.objectives import StepContext
from triptych.core.types import Batch, ImageSpec
from triptych.models._gan import ConvolutionalGan, ConvolutionalGanConfig
from triptych.nets import dcgan as nets
from triptych.nets.augment import LOG_HELP


class DcganConfig(ConvolutionalGanConfig):
    """Settings fixed when training starts."""

    loss: Literal["non-saturating", "min-max"] = "non-saturating"
    """What the generator minimizes: -log D(G(z)), or log(1 - D(G(z))), whose gradient vanishes when the
    discriminator is confident."""
    instance_noise: float = Field(0.0, ge=0)
    """Standard deviation of noise added to all images that the discriminator sees (Soenderby et al. 2017).

    0 is the textbook GAN, which never learns contrast: the networks have no bias and batch norm normalizes
    real images and fakes apart, so the discriminator cannot tell an image from a paler one. A little noise of
    fixed strength gives it a reference.
    """
    lr: float = Field(2e-4, gt=0)
    """Learning rate of generator and discriminator."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's first-moment decay; 0.9 is known to make training oscillate."""
    initialization: Literal["normal", "pytorch"] = "normal"
    """Initial weights: N(0, 0.02) as in section 4 of the paper, or PyTorch's default of each layer."""


class Dcgan(ConvolutionalGan[DcganConfig]):
    """min over G, max over D of E[log D(x)] + E[log(1 - D(G(z)))] (Goodfellow et al. 2014, eq. 1).

    `--preset paper`: the textbook's DCGAN, unconditional. Radford et al. 2015, section 4, in latent size,
    optimizer and batch; the networks of 256, 128 and 64 channels at 32 px that tutorials take, which set no
    initialization, so PyTorch's own (add --initialization normal for the paper's).
    """

    Config = DcganConfig
    title = "DCGAN"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {"batch": 64, "lr": 1e-3, "instance_noise": 0.3},
        "few": {  # a few hundred images, on which a discriminator soon overfits
            "batch": 64, "lr": 1e-3, "instance_noise": 0.3,
            "augment": {"kind": "adaptive", "ramp_images": 20_000},
        },
        "points": {  # 2-D: noise would blur the points, and labels would give the modes away
            "batch": 64, "lr": 1e-3, "latent": 2, "conditional": False,
        },
        "paper": {
            "batch": 128, "latent": 100, "width": 64, "loss": "non-saturating", "instance_noise": 0.0,
            "lr": 2e-4, "critic_lr": None, "generator_interval": 1, "beta1": 0.5,
            "initialization": "pytorch", "conditional": False,
        },
    }  # fmt: skip
    checklist_exemptions: ClassVar[dict[str, str]] = {}
    accent_color = 0
    log_help: ClassVar[dict[str, str]] = {
        "discriminator/loss": "The discriminator's cross-entropy: about 1.39 (2 ln 2) when it only guesses, "
        "near 0 when it wins every time and the generator learns little.",
        "generator/loss": "High when the discriminator recognizes the fakes. It rises and falls with the "
        "discriminator, so by itself it does not say whether the images get better.",
        "discriminator/real": "D(x), the mean probability given to real images: healthy between 0.5 and 0.9.",
        "discriminator/fake": "D(G(z)), the mean probability given to fakes: healthy well above 0; a flat "
        "line at 0 means that the generator has lost.",
        **{f"discriminator/{name}": help_text for name, help_text in LOG_HELP.items()},
    }

    def __init__(
        self,
        config: DcganConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        self.discriminator = self.new_critic()
        if config.initialization == "normal":
            self.apply(nets.init_normal)

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Adam (Radford et al. 2015, section 4)."""
        return torch.optim.Adam(network.parameters(), lr, (self.config.beta1, 0.999), fused=True)

    def logits(self, images: Tensor, context: StepContext) -> Tensor:
        """The discriminator's logits on augmented images with instance noise.

        Args:
            images: (B, C, H, W) in [-1, 1], real or fake.
            context: Of the step: labels and random draws.

        Returns:
            (B, 1, 1, 1): above 0 means real.
        """
        images = self.augment(images, context)
        if self.config.instance_noise > 0:
            images = images + self.config.instance_noise * context.randn(*images.shape[1:])
        return self.discriminator(self.with_labels(images, context.batch.labels)).float()

    def critic_loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """-log D(x) - log(1 - D(G(z))); real images and fakes in two calls, as batch norm requires."""
        real = self.logits(batch.images, context)
        fake = self.logits(self.fakes(context).detach(), context)
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()  # -log sigmoid(r), -log(1 - sigmoid(f))
        self.augment.observe(real)
        return loss, self.log_values({"real": real.sigmoid().mean(), "fake": fake.sigmoid().mean()})

    def generator_loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """-log D(G(z)) (section 3 of the paper, against vanishing gradients), or log(1 - D(G(z)))."""
        fake = self.logits(self.fakes(context), context)
        if self.config.loss == "min-max":
            return -F.softplus(fake).mean(), {}
        return F.softplus(-fake).mean(), {}
