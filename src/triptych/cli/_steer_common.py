"""What the acts of `triptych steer` share: their base flags, and how flags are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from triptych.cli._flags import JsonFlag, ModelFileFlag, WeightsFlag, parse_with_settings
from triptych.cli._registry import Result

if TYPE_CHECKING:
    from triptych.inference.pipeline import Pipeline
    from triptych.latent.directions import Direction

Controls = dict[str, Any]  # values of the model's own Controls, by field


@dataclass(kw_only=True)
class SteerFlags(WeightsFlag, ModelFileFlag, JsonFlag):
    """Flags of every act."""

    out: Path
    """An image with captions (.png, .jpg, .webp, .gif), or the images as an array (.npy, .npz)."""
    labels: str | None = None
    """Classes by name or number, of a conditional model: bag, or one for each seed: 0-9."""


@dataclass(kw_only=True)
class MovieFlags(SteerFlags):
    """Flags of acts whose result can also be an animation."""

    out: Path
    """An image with captions (.png, .jpg), an animation (.gif, .webp), or the images as an array (.npy,
    .npz)."""


@dataclass(kw_only=True)
class SpaceFlag:
    """Of acts in either space."""

    space: Literal["noise", "style"] = "noise"
    """Latent space: noise (z), or style (w) where the model has one."""


@dataclass(kw_only=True)
class LayersFlag:
    """Of acts that may move some layers only."""

    layers: str | None = None
    """In style space, the layers to move: coarse, middle, fine, or 0-2,5; left out: all."""


@dataclass(kw_only=True)
class OneLabelFlag:
    """Of acts whose images are all of one class."""

    labels: str | None = None
    """Class by name or number, of a conditional model: one for all images."""


@dataclass(kw_only=True)
class AmountFlags:
    """Of acts that move images along a direction."""

    range: float = 2.0
    """Move from -RANGE to +RANGE, in standard deviations of the code."""
    frames: int = 7
    """Images in a row."""


SteerT = TypeVar("SteerT", bound=SteerFlags)


@dataclass(frozen=True)
class Act:
    """One thing that `triptych steer` does with a model."""

    flags: type[SteerFlags]
    """Dataclass of its own flags."""
    run: Callable[[Pipeline, str, list[str]], Result]
    """Takes the model, its path as typed, and the words after the act."""
    summary: str
    """One line for the list of acts."""


def act(
    name: str, flags: type[SteerT], function: Callable[[Pipeline, SteerT, Controls], Result], summary: str
) -> Act:
    """An act whose flags are its own and the controls of the run's model.

    Args:
        name: As typed.
        flags: Dataclass of its own flags.
        function: What it does, given the model, these flags and the values of the controls.
        summary: One line for the list of acts.

    Returns:
        The act, which reads its flags by itself.
    """

    def run(pipeline: Pipeline, path: str, words: list[str]) -> Result:
        from triptych.viz.sheets import fit_for_a_sheet

        parsed, controls = parse_with_settings(
            words, flags, [pipeline.model.Controls], f"steer {path} {name}"
        )
        fit_for_a_sheet(parsed.out)  # refused before there is anything to lose
        return function(pipeline, parsed, controls)

    return Act(flags, run, summary)


def labels_of(flags: SteerFlags, pipeline: Pipeline) -> list[int] | None:
    """The numbers of the classes in --labels.

    Args:
        flags: Of an act.
        pipeline: The model.

    Returns:
        The numbers, None if the flag was left out.
    """
    return None if flags.labels is None else class_numbers_of(flags.labels, pipeline)


def class_numbers_of(text: str, pipeline: Pipeline) -> list[int]:
    """Class numbers from a text such as "bag,3,5-7".

    Args:
        text: Names and numbers with commas between.
        pipeline: The model that is to be conditioned on them.

    Returns:
        The numbers, in order.

    Raises:
        UsageError: For an unknown class, or a model that is not conditional.
    """
    from triptych.core.class_names import class_numbers
    from triptych.core.errors import UsageError

    if not pipeline.model.conditional:
        why = "was trained without labels" if pipeline.spec.classes == 0 else "is not conditional"
        raise UsageError(f"{pipeline.model.title} {why}: leave --labels out")
    return class_numbers(text, pipeline.class_names)


def amounts_of(flags: AmountFlags) -> list[float]:
    """Evenly spaced amounts of an edit, from -RANGE to +RANGE. Raises UsageError for flags out of range."""
    from triptych.core.errors import UsageError

    limit, frames = flags.range, flags.frames
    if frames < 2 or limit <= 0:
        raise UsageError(f"expected --frames 2 or more and --range above 0, got {frames} and {limit:g}")
    return [limit * (2 * k / (frames - 1) - 1) for k in range(frames)]


def layers_of(layers: str | None, space: str | None, pipeline: Pipeline) -> list[int] | None:
    """Layer numbers of --layers.

    Args:
        layers: The flag's value.
        space: The space to move in, None where it is not decided yet.
        pipeline: The model.

    Returns:
        The numbers; None for all layers.

    Raises:
        UsageError: For unknown layers, or a space without layers.
    """
    if layers is None:
        return None
    from triptych.core.errors import UsageError
    from triptych.latent.codes import code_shape
    from triptych.latent.style_mixing import parse_layers

    chosen = parse_layers(layers, code_shape(pipeline, "style")[0])
    if space == "noise":
        raise UsageError("noise has no layers: give --space style, or leave --layers out")
    return chosen


def load_directions(text: str) -> list[Direction]:
    """The directions of FILE, or the one of FILE:NAME."""
    from triptych.latent.directions import load, select_directions

    file, _, name = text.partition(".safetensors:")
    return select_directions(load(f"{file}.safetensors" if name else text), name or None)


def check_at_most_one(**given: Any) -> None:
    """Refuse flags that exclude each other.

    Args:
        **given: Flag name (with underscores) -> value; None and () mean that it was left out.

    Raises:
        UsageError: If more than one was given.
    """
    from triptych.core.errors import UsageError

    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value not in (None, ())]
    if len(names) > 1:
        raise UsageError(f"got {' and '.join(names)}: give one of them")
