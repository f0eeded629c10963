"""What the GANs share: config fields, the two objectives, cached fakes, and label planes.

`Gan` is the base of every adversarial model; `ConvolutionalGan` adds the networks of DCGAN with one-hot label
planes, for models that differ in their losses alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from triptych.core.config import Settings
from triptych.core.generative_model import GenerativeModel
from triptych.core.objectives import AdversarialSpec, Objective, StepContext
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec
from triptych.nets import dcgan as nets
from triptych.nets.augment import Augment, Augmentation, NoAugment

OLD_NAMES = MappingProxyType(
    {"rate": "lr", "critic_rate": "critic_lr", "generator_every": "generator_interval"}
)  # of config fields in older versions


class GanConfig(Settings):
    """Config fields of every GAN."""

    former_names = OLD_NAMES
    latent: int = Field(100, ge=1)
    """Dimensions of the latent vector."""
    augment: Augmentation = NoAugment()
    """Augment what the discriminator sees, for small data sets: always, or as it overfits (adaptive)."""
    lr: float | None = Field(None, gt=0)
    """Learning rate of generator and discriminator."""
    critic_lr: float | None = Field(None, gt=0)
    """Learning rate of the discriminator (two time scales, Heusel et al. 2017); left out: lr."""
    generator_interval: int = Field(1, ge=1)
    """Steps between updates of the generator; the discriminator is updated in each."""


class GanControls(Settings):
    """Controls of every GAN."""

    truncation: float = Field(1.0, ge=0)
    """Scale of the latent vector: below 1 the images are more typical and less varied."""


GanConfigT = TypeVar("GanConfigT", bound=GanConfig)
GanControlsT = TypeVar("GanControlsT", bound=GanControls)


class Gan(GenerativeModel[GanConfigT, GanControlsT]):
    """A generator and a critic (or discriminator) with opposed objectives.

    A subclass builds `self.generator` and the module that `adversarial.critic` names, and gives both losses,
    the optimizer and how fakes are drawn.
    """

    ema_modules = ("generator",)
    channels_last = True
    adversarial: ClassVar[AdversarialSpec] = AdversarialSpec()
    generator: nn.Module

    def __init__(
        self,
        config: GanConfigT,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        self.noise_shape = (config.latent,)
        self.conditional = spec.classes > 0
        self.augment = Augment(config.augment, spec)

    @abstractmethod
    def critic_loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the critic on real images and fakes.

        Args:
            batch: Real images and their labels.
            context: Of the step: fakes, random draws, progress.

        Returns:
            A scalar to minimize, and values to log by name.
        """

    @abstractmethod
    def generator_loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the generator.

        Args:
            batch: Real images and their labels.
            context: Of the step: fakes, random draws, progress.

        Returns:
            A scalar to minimize, and values to log by name.
        """

    @abstractmethod
    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Make the optimizer of one network.

        Args:
            network: The generator or the critic.
            lr: Its learning rate.

        Returns:
            An optimizer over all parameters of the network.
        """

    @abstractmethod
    def draw_fakes(self, context: StepContext) -> Tensor:
        """(B, C, H, W): fakes from fresh noise, with the labels of the batch."""

    def lr_schedule(self, progress: float) -> float:
        """Factor on both learning rates: constant unless a subclass overrides it."""
        return 1.0

    def objectives(self) -> list[Objective]:
        """The critic's objective, then the generator's, which meets the critic just updated."""
        names, lr = self.adversarial, self.config.lr
        assert lr is not None
        critic = self.optimizer(getattr(self, names.critic), self.config.critic_lr or lr)
        generator = self.optimizer(self.generator, lr)
        interval = self.config.generator_interval
        return [
            Objective(names.critic, critic, self.critic_loss, lr_schedule=self.lr_schedule),
            Objective(
                names.generator, generator, self.generator_loss, interval, lr_schedule=self.lr_schedule
            ),
        ]

    def fakes(self, context: StepContext) -> Tensor:
        """(B, C, H, W): this step's fakes, drawn once for both objectives."""

        def draw() -> Tensor:
            with torch.set_grad_enabled(self.adversarial.generator in context.active):
                return self.draw_fakes(context)

        return context.cached("fakes", draw)

    def log_values(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Values to log without their graphs, followed by those of the augmentation."""
        return {**{name: value.detach() for name, value in values.items()}, **self.augment.log_values()}


class ConvolutionalGanConfig(GanConfig):
    """Config fields of GANs on DCGAN's networks."""

    width: int = Field(64, ge=1)
    """Channels of the layer at the highest resolution; each layer further in has twice as many."""


ConvolutionalGanConfigT = TypeVar("ConvolutionalGanConfigT", bound=ConvolutionalGanConfig)


class ConvolutionalGan(Gan[ConvolutionalGanConfigT, GanControls]):
    """A GAN on DCGAN's networks; labels enter both as constant one-hot planes (Mirza and Osindero 2014)."""

    Controls = GanControls
    generator: nn.Sequential

    def __init__(
        self,
        config: ConvolutionalGanConfigT,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        self.generator = nets.generator(config.latent + spec.classes, spec, config.width)

    def new_critic(self, norm: nets.Norm = "batch") -> nn.Sequential:
        """An untrained critic that sees the image's channels and the label planes."""
        with_label_planes = replace(self.spec, channels=self.spec.channels + self.spec.classes)
        return nets.discriminator(with_label_planes, self.config.width, norm)

    def with_labels(self, planes: Tensor, labels: Tensor | None) -> Tensor:
        """Append one constant plane per class where the model is conditional.

        Args:
            planes: (B, channels, H, W).
            labels: (B,) int64; None where the model is unconditional.

        Returns:
            (B, channels + classes, H, W).
        """
        if not self.conditional:
            return planes
        assert labels is not None
        return nets.with_labels(planes, labels, self.spec.classes)

    def synthesize(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Run the generator.

        Args:
            noise: (B, latent).
            labels: (B,) int64; None where the model is unconditional.

        Returns:
            (B, C, H, W) float32 in [-1, 1].
        """
        return self.generator(self.with_labels(noise[:, :, None, None], labels)).float()

    def draw_fakes(self, context: StepContext) -> Tensor:
        """One latent vector per image of the batch."""
        return self.synthesize(context.randn(*self.noise_shape), context.batch.labels)

    def generate(
        self, noise: Tensor, condition: Condition, controls: GanControls, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """A single step: one call of the generator."""
        latent = noise * controls.truncation
        yield GenerationStep(1, 1, latent, lambda: self.synthesize(latent, condition.labels))

    def first_layer_weight(self) -> Tensor | None:
        """(channels * 16, latent): the generator's first layer; None for 2-D points."""
        return nets.first_layer_weight(self.generator, self.config.latent)
