"""What the acts of `triptych steer` share: their register, their flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from triptych.cli._flags import WEIGHTS, flags_of, given, parse

SHEET = "A sheet with names (.png, .jpg, .webp, .gif), or the images' array (.npy, .npz)."
MOVIE = "A sheet with names (.png, .jpg), an animation (.gif, .webp), or the images' array (.npy, .npz)."
LABELS = "Classes by name or number, of a conditional model: bag, or one a seed: 0-9."
Act = Callable[[Any, str, list[str]], dict[str, Any]]  # (model, its path, words) -> what --json prints
ACTS: dict[str, tuple[Act, str]] = {}
ORDER = ("interpolate", "traverse", "map", "mix", "sweep", "directions", "edit", "invert")  # as told
ALIASES = {
    "truncation": "sweep",
    "direction": "directions",
    "mixing": "mix",
    "interpolation": "interpolate",
    "inversion": "invert",
}


def act(name: str, summary: str) -> Callable[[Act], Act]:
    """Make a function an act."""

    def register(function: Act) -> Act:
        ACTS[name] = (function, summary)
        return function

    return register


def flags_for(model: Any, path: str, name: str, words: list[str], **own: tuple[Any, Any, str]) -> Any:
    """An act's own flags, those that all share, and the controls of the model's family."""
    shared: dict[str, tuple[Any, Any, str]] = {
        "labels": (str | None, None, LABELS),
        "out": (Path, Path(f"{name}.png"), SHEET),
        "family": (str | None, None, "Path to the family's .py file, if it was one of your own."),
        "weights": WEIGHTS,
    }
    from triptych.viz.sheets import fit_for_a_sheet

    flags = parse(
        words,
        flags_of(model.model.Controls, **{**own, **shared, **own}),  # an act may word a shared one itself
        f"steer {path} {name}",
        ACTS[name][1],
    )
    fit_for_a_sheet(flags.out)  # said before there is anything to lose
    return flags


def controls_of(flags: Any, model: Any) -> dict[str, Any]:
    """The family's own controls among the flags."""
    return given(flags, model.model.Controls)


def labels_of(flags: Any, model: Any) -> list[int] | None:
    """The numbers of the classes that `--labels` names. Raises UsageError for unknown ones."""
    return None if flags.labels is None else classes_called(flags.labels, model)


def classes_called(text: str, model: Any) -> list[int]:
    """The class numbers that a text asks of a model for: "bag,3,5-7". Raises UsageError."""
    from triptych.core.class_names import class_numbers
    from triptych.core.errors import UsageError

    if not model.model.conditional:
        why = "was trained without labels" if model.spec.classes == 0 else "does not read labels"
        raise UsageError(f"{model.model.title} {why}: leave --labels out")
    return class_numbers(text, model.class_names)


def amounts_of(reach: float, frames: int) -> list[float]:
    """Even amounts from -reach to reach. Raises UsageError for fewer than two or no reach."""
    from triptych.core.errors import UsageError

    if frames < 2 or reach <= 0:
        raise UsageError(f"expected --frames 2 or more and --reach above 0, got {frames} and {reach:g}")
    return [reach * (2 * k / (frames - 1) - 1) for k in range(frames)]


def layers_of(flags: Any, model: Any) -> list[int] | None:
    """Layer numbers of --layers; None: all. Raises UsageError where no layer is chosen by them."""
    if flags.layers is None:
        return None
    from triptych.core.errors import UsageError
    from triptych.latent.codes import code_shape
    from triptych.latent.style_mixing import layers_called

    chosen = layers_called(flags.layers, code_shape(model, "style")[0])
    if getattr(flags, "direction", None) is not None:
        raise UsageError("a direction from a file moves the layers that it was found for: leave --layers out")
    if flags.space == "noise":
        raise UsageError("noise has no layers: give --space style, or leave --layers out")
    return chosen


def directions_of(text: str) -> list[Any]:
    """The directions of FILE or FILE:NAME."""
    from triptych.latent.directions import chosen, load

    file, _, name = text.partition(".safetensors:")
    return chosen(load(f"{file}.safetensors" if name else text), name or None)


LAYERS = (str | None, None, "Of styles, the layers that move: coarse, middle, fine, or 0-2,5; left out: all.")
ONE_LABEL = (str | None, None, "Class by name or number, of a conditional model: one for all.")
SPACE = (str, "noise", "Where to move: noise, or style where the family has styles.")


def one_of(flags: Any, *names: str) -> None:
    """Raises UsageError where more than one of these flags was given: each says what to act on by itself."""
    from triptych.core.errors import UsageError

    told = [f"--{name}" for name in names if getattr(flags, name) not in (None, ())]
    if len(told) > 1:
        raise UsageError(f"got {' and '.join(told)}: give one of them")
