"""The contract of a generative model: what a GAN, a VAE or a diffusion model has to define.

A model defines its networks, what each of its objectives minimizes, and how it turns noise into images. It
never defines how a training step is taken, saved or resumed, how samples are batched, or how they are scored:
that code is shared. Each file in `models/` holds one model.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from triptych.core import rng
from triptych.core.config import Settings
from triptych.core.objectives import AdversarialSpec, Objective
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec, LikelihoodQuery

ConfigT = TypeVar("ConfigT", bound=Settings)
ControlsT = TypeVar("ControlsT", bound=Settings)

INVERSION_STEPS, INVERSION_LR = 150, 0.05
PRIOR_WEIGHT = 0.01  # of the pull of inverted noise towards the norm of a standard normal draw


class GenerativeModel(nn.Module, ABC, Generic[ConfigT, ControlsT]):
    """Base class of all models: one module that holds every network of the model.

    Args:
        config: The settings that are fixed at training time.
        spec: Shape of the images, and the number of classes that it is conditioned on (0: unconditional).
        components: Trained models that this one is built on, by the names in the class's `components`. They
            are not submodules: they are neither trained nor saved with this model.
    """

    Config: ClassVar[type[Settings]]
    """Settings that are fixed at training time: flags of `train`, stored in run.json."""
    Controls: ClassVar[type[Settings]]
    """Settings that may change from sample to sample: flags of `sample`."""
    title: ClassVar[str]
    """The name in reports: "DCGAN"."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """Name -> values for fields of Config and for training options. "fast" is the default of `train` and
    serves best in minutes on two cores; "paper" is the published configuration."""
    components: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Models that this one is built on: {"first_stage": "autoencoder"}."""
    ema_modules: ClassVar[tuple[str, ...]]
    """Name prefixes of the weights that `generate` uses: these are averaged (EMA) and exported."""
    log_help: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Name of a logged value ("generator/loss") -> a sentence that says how to read it."""
    adversarial: ClassVar[AdversarialSpec | None] = None
    """Which objective is the critic and which the generator; None for a model that is no GAN."""
    checklist_exemptions: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"architecture": "it has guidelines of its own"}
    )
    """Chapter of `triptych check` -> why the model need not follow it; empty for DCGAN alone."""
    accent_color: ClassVar[int | None] = None
    """Its preferred place in the palette of reports, 0 to 5; None: the next free one."""
    channels_last: ClassVar[bool] = False
    """Whether its convolutions are faster in channels-last layout on CPUs (`benchmarks/arithmetic.py`)."""
    fitted_buffers: ClassVar[tuple[str, ...]] = ()
    """Names of the buffers that `fit_after_training` sets."""
    later_buffers: ClassVar[tuple[str, ...]] = ()
    """Names of buffers that checkpoints of older versions lack: loading these leaves them as they are."""
    fitting_images: ClassVar[int] = 2000
    """Number of training images that `fit_after_training` is given."""
    reconstructs: ClassVar[bool] = False
    """Whether the model has no prior to draw from: its grids and scores are of reconstructed test images."""
    preprocesses: ClassVar[bool] = False
    """Whether losses are functions of `preprocess(images)`: it is computed once per training image, and
    kept."""
    deterministic_controls: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Controls that switch off all randomness other than the noise: {"detail": 0.0}."""

    noise_shape: tuple[int, ...]
    """Shape of one image's noise; set in `__init__`."""
    conditional: bool = False
    """Whether labels change the image; set in `__init__`, False where `spec.classes` is 0."""
    step_period: int = 1
    """Training steps after which the work per step repeats: lazy penalties make some steps dearer."""
    likelihood_bounds: tuple[str, ...] = ()
    """Names of the bounds that `bits_per_dim` can compute: "elbo", "iwae", "vlb"; empty: implicit model."""

    def __init__(
        self,
        config: ConfigT,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.component_models = dict(components or {})  # a dict registers no submodules

    @abstractmethod
    def objectives(self) -> list[Objective]:
        """Return what is minimized, in the order of the updates within a step: two for a GAN, else one."""

    @abstractmethod
    def generate(
        self, noise: Tensor, condition: Condition, controls: ControlsT, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """Turn noise into images.

        Args:
            noise: (B, *noise_shape) standard normal.
            condition: What guides the images; its tensors have B rows.
            controls: The sampling settings.
            seeds: One per image: the source of randomness other than the noise (`rng.SamplerNoise`), so that
                an image does not depend on its batch.

        Yields:
            One step (GAN, VAE), or one per sampler step (diffusion); the last one has the finished images.
        """

    def fit_preprocessing(self, batches: Iterator[Batch]) -> None:
        """Measure on the data what training needs: a latent scale, a data-dependent initialization.

        Called once before the first step. Keep the results in buffers, so that checkpoints have them.

        Args:
            batches: The training batches, without end.
        """
        return

    def preprocess(self, images: Tensor) -> Tensor:
        """What losses are given in the place of images, where `preprocesses` is set: latents.

        Args:
            images: (B, C, H, W) in [-1, 1].

        Returns:
            (B, ...) float32, a function of each image alone.
        """
        return images

    def fit_after_training(self, batches: Iterator[Batch]) -> None:
        """Measure on the data what sampling needs, by the weights as trained: a latent scale, a prior.

        Called when training ends or stops, with the weights that sampling will use. Keep the results in
        buffers, and name these in `fitted_buffers`.

        Args:
            batches: A fixed choice of training images, with labels where the model is conditional.
        """
        return

    def complete(self, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add the `later_buffers` that weights of an older version lack.

        Args:
            saved: Name -> tensor, as read from a file.

        Returns:
            The same, and the model's own values of what is missing.
        """
        missing = [name for name in self.later_buffers if name not in saved]
        return {**saved, **{name: self.get_buffer(name) for name in missing}}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights; `later_buffers` may be missing among them."""
        weights = self.complete(state_dict) if self.later_buffers else state_dict
        return super().load_state_dict(weights, strict, assign)

    def invert(
        self, images: Tensor, condition: Condition, controls: ControlsT, seeds: Sequence[int]
    ) -> Tensor:
        """Find noise from which `generate` makes images near the given ones.

        This default optimizes the noise with Adam: squared error, plus a penalty on the distance of the
        noise's mean square from 1. Models with an encoder or an invertible sampler override it.

        Args:
            images: (B, C, H, W) in [-1, 1].
            condition: What guides the images.
            controls: The sampling settings.
            seeds: One per image: they decide where the search starts.

        Returns:
            (B, *noise_shape).
        """
        noise = rng.noise(seeds, self.noise_shape).to(images.device).requires_grad_()
        optimizer = torch.optim.Adam([noise], lr=INVERSION_LR)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, INVERSION_STEPS)
        with torch.enable_grad():
            for _ in range(INVERSION_STEPS):
                with StraightThroughClamp():
                    *_, last = self.generate(noise, condition, controls, seeds)
                    generated = last.image()
                error = (generated - images).square().flatten(1).mean(1)  # (B,)
                excess = noise.square().flatten(1).mean(1) - 1.0  # (B,): 0 at the prior's typical norm
                optimizer.zero_grad(set_to_none=True)
                (error + PRIOR_WEIGHT * excess.square()).sum().backward(inputs=[noise])
                optimizer.step()
                schedule.step()
        return noise.detach()

    def bits_per_dim(self, query: LikelihoodQuery) -> Tensor:
        """Bound -log2 P(image) per dimension from above; see `core.bits_per_dim`.

        Args:
            query: The images, their condition, which bound, and how many samples it takes.

        Returns:
            (B,) float64 on the CPU.

        Raises:
            ValueError: If the model is implicit, as GANs are.
        """
        raise ValueError(f"{self.title} is implicit: it can draw but not say how likely an image is")

    def first_layer_weight(self) -> Tensor | None:
        """The (outputs, noise numbers) weight that multiplies the noise first; None if there is none."""
        return None


class StraightThroughClamp(TorchFunctionMode):
    """Within it, clamping to [-1, 1] keeps its value but passes gradients on unchanged.

    Saturated pixels have a gradient of 0, so a gradient-based inversion could never correct them.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.clamp, torch.clip, Tensor.clamp, Tensor.clip):
            given = dict(zip(("input", "min", "max"), args, strict=False)) | (kwargs or {})
            limits = given.get("min"), given.get("max")
            if not any(isinstance(limit, Tensor) for limit in limits) and limits == (-1, 1):
                return result.detach() + (given["input"] - given["input"].detach())
        return result


def model_class_in(module: Any) -> type[GenerativeModel[Any, Any]]:
    """Find the one model that a module defines.

    Args:
        module: An imported module.

    Returns:
        The class.

    Raises:
        ValueError: If the module defines no subclass of GenerativeModel, or several.
    """
    own = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing)
        and issubclass(thing, GenerativeModel)
        and thing.__module__ == module.__name__
    ]
    if len(own) != 1:
        names = ", ".join(c.__name__ for c in own) or "none"
        raise ValueError(
            f"{module.__name__} must define exactly one subclass of GenerativeModel, found: {names}"
        )
    return own[0]
