"""`triptych steer`: latent-space tools for a trained model, an act at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from triptych.cli._flags import first_word, value_in, weights_in
from triptych.cli._registry import Result
from triptych.cli._steer_common import Act, SteerFlags, act
from triptych.cli.steer_directions import DirectionsFlags, find_directions
from triptych.cli.steer_images import EditFlags, InvertFlags, edit, invert
from triptych.cli.steer_sampling import (
    InterpolateFlags,
    MapFlags,
    MixFlags,
    SweepFlags,
    TraverseFlags,
    draw_map,
    interpolate,
    mix,
    sweep,
    traverse,
)

if TYPE_CHECKING:
    from triptych.inference.pipeline import Pipeline

__all__ = ["ACTS", "SteerFlags", "steer"]

USAGE = "triptych steer RUN ACT [flags]"
ACTS: dict[str, Act] = {
    "interpolate": act(
        "interpolate", InterpolateFlags, interpolate, "images on the path from one seed to the next"
    ),
    "traverse": act(
        "traverse", TraverseFlags, traverse, "move along single latent dimensions, or directions from a file"
    ),
    "map": act(
        "map", MapFlags, draw_map, "a grid over a two-dimensional latent space, and encoded test images"
    ),
    "mix": act("mix", MixFlags, mix, "style mixing: some layers with one seed's styles, the rest another's"),
    "sweep": act(
        "sweep", SweepFlags, sweep, "one control at several values: images, quality, diversity (PNG and SVG)"
    ),
    "directions": act(
        "directions", DirectionsFlags, find_directions, "find latent directions with a meaning, and save them"
    ),
    "edit": act("edit", EditFlags, edit, "move images along a saved direction, and measure the effect"),
    "invert": act(
        "invert", InvertFlags, invert, "latent codes of given images, and the reconstruction error"
    ),
}
ALIASES = {
    "truncation": "sweep",
    "direction": "directions",
    "mixing": "mix",
    "interpolation": "interpolate",
    "inversion": "invert",
}


def steer(words: list[str]) -> Result:
    """Act on a model. The words begin with a run and an act, in either order.

    Args:
        words: What was typed after the verb.

    Returns:
        What --json prints.

    Raises:
        UsageError: For an unknown act, or one without a run.
    """
    path = first_word(words, "the run", USAGE)
    if path is None:
        print(f"usage: {USAGE}\n" + "\n".join(f"  {name:<12} {ACTS[name].summary}" for name in ACTS))
        print("triptych steer RUN lists the acts that are possible with that run")
        return {}
    from triptych.core.errors import UsageError
    from triptych.inference.pipeline import load

    if ALIASES.get(path, path) in ACTS and not Path(path).exists():  # "steer mix RUN" is as plain
        if len(words) < 2 or words[1].startswith("-"):
            raise UsageError(f"of which run? triptych steer RUN {path}, with --help for the flags")
        path, words = words[1], [words[1], path, *words[2:]]
    elif not Path(path).exists() and len(words) > 1 and Path(words[1]).exists():
        raise UsageError(f"there is no act {path!r}.{did_you_mean(path)}")
    rest = words[1:]
    name = ALIASES.get(rest[0], rest[0]) if rest and not rest[0].startswith("-") else None
    if name is not None and name not in ACTS:
        raise UsageError(f"there is no act {name!r}.{did_you_mean(name)}")
    pipeline = load(path, model_file=value_in(words, "--model-file"), weights=weights_in(words))
    return list_acts(pipeline, path) if name is None else ACTS[name].run(pipeline, path, rest[1:])


def did_you_mean(name: str) -> str:
    """The act that a mistyped name is nearest to, and all there are."""
    from triptych.core.nearest import did_you_mean as hint

    return f"{hint(name, ACTS)} There are: {', '.join(ACTS)}"


def list_acts(pipeline: Pipeline, path: str) -> Result:
    """Print which acts a model allows, and why others are impossible.

    Args:
        pipeline: The model.
        path: Its path as typed.

    Returns:
        The same for `--json`: latent spaces with shapes, controls, acts.
    """
    from triptych.latent.codes import code_shape, spaces_of

    spaces = {space: list(code_shape(pipeline, space)) for space in spaces_of(pipeline)}
    controls = list(pipeline.model.Controls.model_fields)
    impossible: dict[str, str] = {}
    if "style" not in spaces:
        impossible["mix"] = "this model has no style space"
    if spaces["noise"] != [2]:
        impossible["map"] = "the noise is not two-dimensional; choose two with --dimensions 0,1"
    if not controls:
        impossible["sweep"] = "this model has no controls"
    shapes = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in spaces.items())
    print(
        f"{pipeline.model.title}, {path}. Latent spaces: {shapes}. Controls: {', '.join(controls) or 'none'}."
    )
    for name, one in ACTS.items():
        print(f"  {name:<12} {'not here: ' + impossible[name] if name in impossible else one.summary}")
    print(f"triptych steer {path} ACT --help lists the flags of one act")
    return {"spaces": spaces, "controls": controls, "acts": [name for name in ACTS if name not in impossible]}
