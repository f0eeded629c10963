"""The contract between mathematics and machinery.

A *family* is a way to learn to make pictures: a GAN, a VAE, a diffusion model. It says which
players learn, what each of them minimises and how pictures are made; it never says how a step is
taken, saved, resumed, sampled in batches or measured. One file in `families/` holds one family.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from triptych.core import seeds as streams
from triptych.core.bits import Box

T = TypeVar("T")


class Settings(BaseModel):
    """Base of every Config and Controls: frozen, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


ConfigT = TypeVar("ConfigT", bound=Settings)
ControlsT = TypeVar("ControlsT", bound=Settings)


@dataclass(frozen=True)
class ImageSpec:
    """What the data fixes and a family may not choose. size: pixels, square.

    classes: how many the family is told apart; 0 where the source has no labels, and where the training is
    unconditional (`--no-conditional`): a family then never sees a label.
    """

    channels: int
    size: int
    classes: int = 0
    captions: bool = False


@dataclass(frozen=True)
class Batch:
    """One (micro-)batch of training pictures."""

    images: Tensor  # (B, C, H, W) float32 in [-1, 1]: always pixels, also for latent families
    labels: Tensor | None  # (B,) int64 in [0, classes)
    captions: tuple[str, ...] | None
    rows: Tensor  # (B,) int64: row numbers within the global batch of this step
    global_size: int  # pictures in the global batch

    def to(self, device: torch.device) -> Batch:
        """The same batch with its pictures and labels on `device`; row numbers stay on the CPU."""
        labels = None if self.labels is None else self.labels.to(device, non_blocking=True)
        return replace(self, images=self.images.to(device, non_blocking=True), labels=labels)

    def cut(self, start: int, stop: int) -> Batch:
        """The pictures start..stop-1 of this batch: a micro-batch."""
        return replace(
            self,
            images=self.images[start:stop],
            labels=None if self.labels is None else self.labels[start:stop],
            captions=None if self.captions is None else self.captions[start:stop],
            rows=self.rows[start:stop],
        )


class Turn:
    """What a loss may know beside weights and batch. Made anew for each (micro-)batch of a step."""

    def __init__(self, run_seed: int, step: int, done: float, movers: frozenset[str], batch: Batch) -> None:
        self.step, self.movers = step, movers
        self.done = done  # share of the planned run, 0..1: what warm-ups and coolings go by
        self.batch = batch
        self._seed, self._streams = run_seed, 0
        self._kept: dict[str, Any] = {}

    def randn(self, *shape: int) -> Tensor:
        """(B, *shape) standard normal: this (micro-)batch's rows of a draw for the global batch."""
        return self._cut(torch.randn, shape)

    def rand(self, *shape: int) -> Tensor:
        """(B, *shape) uniform in [0, 1), drawn like `randn`."""
        return self._cut(torch.rand, shape)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns, made once and shared by the players of this turn: a GAN's fakes."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def _cut(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        stream, self._streams = self._streams, self._streams + 1
        source = streams.generator(self._seed, self.step, stream)
        drawn = draw(self.batch.global_size, *shape, generator=source)  # (global batch, *shape)
        return drawn[self.batch.rows].to(self.batch.images.device)  # (B, *shape)


def constant(done: float) -> float:
    """The learning-rate factor that never changes."""
    return 1.0


@dataclass(frozen=True)
class Player:
    """Somebody who learns: a GAN is a game of two, a VAE or a diffusion model has one player."""

    name: str  # "critic", "generator", "denoiser": prefix in the log
    optimizer: torch.optim.Optimizer  # holds exactly the parameters this player may move
    loss: Callable[[Batch, Turn], tuple[Tensor, dict[str, Tensor]]]  # scalar to minimise; extras to log
    every: int = 1  # its turn when step % every == 0
    clip: float | None = None  # largest gradient norm
    rate: Callable[[float], float] = constant  # learning-rate factor over the done share of the run, 0..1

    def parameters(self) -> list[nn.Parameter]:
        """Every parameter this player may move, in the optimiser's order."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


@dataclass(frozen=True)
class Game:
    """Who plays against whom in a family of two players, and how to read what the judging one logs.

    The critic logs `real` and `fake`: its mean verdict on real pictures and on fakes.
    """

    critic: str = "discriminator"  # the judging player's name
    generator: str = "generator"
    verdicts: Literal["probabilities", "scores"] = "probabilities"  # of being real, or without a scale
    penalties: tuple[str, ...] = ()  # what the critic logs of what its loss punishes beside wrong verdicts


@dataclass(frozen=True)
class Condition:
    """Whatever guides a picture; None where nothing is asked."""

    labels: Tensor | None = None  # (B,) int64
    captions: tuple[str, ...] | None = None
    negative: tuple[str, ...] | None = None
    image: Tensor | None = None  # (B, C, H, W) float32 in [-1, 1]
    mask: Tensor | None = None  # (B, 1, H, W) float32, 1 = to be painted

    def cut(self, rows: Sequence[int]) -> Condition:
        """The condition of the pictures `rows`, in that order; a row may come twice."""
        index = torch.as_tensor(list(rows), dtype=torch.int64)

        def pick(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value[index.to(value.device)]
            return None if value is None else tuple(value[int(i)] for i in index)

        return Condition(**{f.name: pick(getattr(self, f.name)) for f in fields(self)})

    def to(self, device: torch.device) -> Condition:
        """The same condition with its tensors on `device`."""
        moved: dict[str, Any] = {
            f.name: value.to(device)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class Frame:
    """One moment of generation."""

    step: int
    steps: int
    noisy: Tensor  # (B, *noise shape)
    image: Callable[[], Tensor]  # (B, C, H, W): the picture as predicted now, decoded when asked


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
    noise_shape: tuple[int, ...]  # of one image: the steering handle all families share
    conditional: bool = False  # whether labels change the picture: False where spec.classes is 0

    @abstractmethod
    def generate(
        self, noise: Tensor, condition: Condition, controls: ControlsT, seeds: Sequence[int]
    ) -> Iterator[Frame]:
        """Make pictures. noise: (B, *noise_shape). Yields once (GAN, VAE) or once a step (diffusion)."""

    def invert(
        self, images: Tensor, condition: Condition, controls: ControlsT, seeds: Sequence[int]
    ) -> Tensor:
        """Find noise whose picture is near `images`, (B, C, H, W) in [-1, 1]; returns (B, *noise_shape).

        Here by optimising the noise (Adam, squared error, a pull towards the prior's shell):
        families with an encoder or an invertible sampler do better and override it.
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

    def noise_reader(self) -> Tensor | None:
        """The (outputs, noise numbers) matrix by which the noise is first read; None: by no such matrix."""
        return None


class Family(Drawable[ControlsT], Generic[ConfigT, ControlsT]):
    """A way to learn to make pictures; see the module's docstring."""

    Config: ClassVar[type[Settings]]  # fixed at training time
    needs: ClassVar[dict[str, str]] = {}  # parts made of other runs: {"first_stage": "autoencoder"}
    shown: ClassVar[tuple[str, ...]]  # module prefixes that generate() uses: averaged and exported
    title: ClassVar[str]  # as a reader would say it: "DCGAN"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """name -> values for fields of Config and for training options. "fast": the default of `train`, which
    serves best in minutes on two cores. "paper": as published."""
    curves: ClassVar[dict[str, str]] = {}  # logged name -> a sentence on how to read it
    game: ClassVar[Game | None] = None  # of the families with two players
    channels_last: ClassVar[bool] = (
        False  # are convolutions faster so on processors: benchmarks/arithmetic.py
    )
    plain: ClassVar[Mapping[str, Any]] = {}  # controls that leave out what is drawn afresh beside the noise
    rhythm: int = 1  # steps after which a step's work comes again: lazy penalties make some steps dearer
    held: tuple[str, ...] = ()  # parameters, by name, that the settings keep from acting and so from moving
    bounds: tuple[str, ...] = ()  # on the likelihood, that it can give: "elbo", "vlb"; () = implicit

    def __init__(
        self, config: ConfigT, spec: ImageSpec, parts: Mapping[str, Family[Any, Any]] | None = None
    ) -> None:
        super().__init__()
        self.config, self.spec, self.parts = config, spec, dict(parts or {})

    def fit(self, batches: Iterator[Batch]) -> None:
        """Once before training: tokenizer, latent scale, data-dependent start. Saved with the state."""
        return

    @abstractmethod
    def players(self) -> list[Player]:
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
        """An upper bound on -log2 P(picture) per counted dimension, (B,) float64 on the CPU; see `core.bits`.

        pixels: (B, H, W, C) uint8, on the weights' device. bound: one of `bounds`. draws: samples a picture.
        seeds: one a picture: it decides the picture's draws, the batch does not. counted: the box of
        pixels that count, None for all. Raises ValueError if the family is implicit.
        """
        raise ValueError(f"{self.title} is implicit: it can draw but not say how likely a picture is")


def family_in(module: Any) -> type[Family[Any, Any]]:
    """The one concrete Family that a module defines. Raises ValueError if there are none or several."""
    own = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing) and issubclass(thing, Family) and thing.__module__ == module.__name__
    ]
    if len(own) != 1:
        names = ", ".join(c.__name__ for c in own) or "none"
        raise ValueError(f"{module.__name__} must define exactly one Family, found: {names}")
    return own[0]
