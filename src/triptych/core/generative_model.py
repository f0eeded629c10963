"""The contract between mathematics and machinery.

A *model* is a way to learn to make pictures: a GAN, a VAE, a diffusion model. It says which
players learn, what each of them minimises and how pictures are made; it never says how a step is
taken, saved, resumed, sampled in batches or measured. One file in `models/` holds one model.
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

from triptych.core import rng as streams
from triptych.core.config import Settings
from triptych.core.objectives import AdversarialSpec, Objective
from triptych.core.types import Batch, Box, Condition, GenerationStep, ImageSpec

ConfigT = TypeVar("ConfigT", bound=Settings)
ControlsT = TypeVar("ControlsT", bound=Settings)


class Unclamped(TorchFunctionMode):
    """Within it, what is clamped to [-1, 1] keeps its value but has the slope it would have unclamped.

    A pixel beyond black or white has no slope of its own, so a search by slopes would never bring it back.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in (torch.clamp, torch.clip, Tensor.clamp, Tensor.clip):
            told = dict(zip(("input", "min", "max"), args, strict=False)) | (kwargs or {})
            ends = told.get("min"), told.get("max")
            if not any(isinstance(end, Tensor) for end in ends) and ends == (-1, 1):
                return found.detach() + (told["input"] - told["input"].detach())
        return found


class Drawable(nn.Module, ABC, Generic[ControlsT]):
    """Whatever makes pictures from noise."""

    Controls: ClassVar[type[Settings]]  # free at sampling time: flags, sliders
    noise_shape: tuple[int, ...]  # of one image: the steering handle all models share
    conditional: bool = False  # whether labels change the picture: False where spec.classes is 0

    @abstractmethod
    def generate(
        self, noise: Tensor, condition: Condition, controls: ControlsT, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """Make pictures. noise: (B, *noise_shape). Yields once (GAN, VAE) or once a step (diffusion)."""

    def invert(
        self, images: Tensor, condition: Condition, controls: ControlsT, seeds: Sequence[int]
    ) -> Tensor:
        """Find noise whose picture is near `images`, (B, C, H, W) in [-1, 1]; returns (B, *noise_shape).

        Here by optimising the noise (Adam, squared error, a pull towards the prior's shell):
        models with an encoder or an invertible sampler do better and override it.
        """
        found = streams.noise(seeds, self.noise_shape).to(images.device).requires_grad_()
        steps = 150
        optimizer = torch.optim.Adam([found], lr=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        with torch.enable_grad():
            for _ in range(steps):
                with Unclamped():
                    *_, last = self.generate(found, condition, controls, seeds)
                    shown = last.image()
                error = (shown - images).square().flatten(1).mean(1)  # (B,)
                prior = found.square().flatten(1).mean(1) - 1.0  # (B,): 0 on the prior's shell
                optimizer.zero_grad(set_to_none=True)
                (error + 0.01 * prior.square()).sum().backward(inputs=[found])
                optimizer.step()
                schedule.step()
        return found.detach()

    def first_layer_weight(self) -> Tensor | None:
        """The (outputs, noise numbers) matrix by which the noise is first read; None: by no such matrix."""
        return None


class GenerativeModel(Drawable[ControlsT], Generic[ConfigT, ControlsT]):
    """A way to learn to make pictures; see the module's docstring."""

    Config: ClassVar[type[Settings]]  # fixed at training time
    needs: ClassVar[dict[str, str]] = {}  # parts made of other runs: {"first_stage": "autoencoder"}
    ema_modules: ClassVar[tuple[str, ...]]  # module prefixes that generate() uses: averaged and exported
    title: ClassVar[str]  # as a reader would say it: "DCGAN"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """name -> values for fields of Config and for training options. "fast": the default of `train`, which
    serves best in minutes on two cores. "paper": as published."""
    log_help: ClassVar[dict[str, str]] = {}  # logged name -> a sentence on how to read it
    adversarial: ClassVar[AdversarialSpec | None] = None  # of the models with two players
    channels_last: ClassVar[bool] = (
        False  # are convolutions faster so on processors: benchmarks/arithmetic.py
    )
    deterministic_controls: ClassVar[
        Mapping[str, Any]
    ] = {}  # controls that leave out what is drawn afresh beside the noise
    step_period: int = 1  # steps after which a step's work comes again: lazy penalties make some steps dearer
    frozen_parameters: tuple[
        str, ...
    ] = ()  # parameters, by name, that the settings keep from acting and so from moving
    likelihood_bounds: tuple[
        str, ...
    ] = ()  # on the likelihood, that it can give: "elbo", "vlb"; () = implicit

    def __init__(
        self, config: ConfigT, spec: ImageSpec, parts: Mapping[str, GenerativeModel[Any, Any]] | None = None
    ) -> None:
        super().__init__()
        self.config, self.spec, self.parts = config, spec, dict(parts or {})

    def fit(self, batches: Iterator[Batch]) -> None:
        """Once before training: tokenizer, latent scale, data-dependent start. Saved with the state."""
        return

    @abstractmethod
    def objectives(self) -> list[Objective]:
        """Who learns, in the order of their turns within a step."""

    def bits_per_dim(
        self,
        pixels: Tensor,
        condition: Condition,
        bound: str,
        draws: int,
        seeds: Sequence[int],
        counted: Box | None = None,
    ) -> Tensor:
        """An upper bound on -log2 P(picture) per counted dimension, (B,) float64 on the CPU; see
        `core.bits_per_dim`.

        pixels: (B, H, W, C) uint8, on the weights' device. bound: one of `bounds`. draws: samples a picture.
        seeds: one a picture: it decides the picture's draws, the batch does not. counted: the box of
        pixels that count, None for all. Raises ValueError if the model is implicit.
        """
        raise ValueError(f"{self.title} is implicit: it can draw but not say how likely a picture is")


def model_class_in(module: Any) -> type[GenerativeModel[Any, Any]]:
    """The one GenerativeModel that a module defines. Raises ValueError if there are none or several."""
    own = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing)
        and issubclass(thing, GenerativeModel)
        and thing.__module__ == module.__name__
    ]
    if len(own) != 1:
        names = ", ".join(c.__name__ for c in own) or "none"
        raise ValueError(f"{module.__name__} must define exactly one GenerativeModel, found: {names}")
    return own[0]
