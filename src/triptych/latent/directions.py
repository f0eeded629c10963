"""Directions: steps in a model's space that mean something, found, kept in a file and read again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor

from triptych.core.config import Record
from triptych.core.errors import UsageError
from triptych.core.files import fit_to_write
from triptych.core.generative_model import GenerativeModel
from triptych.core.nearest import did_you_mean
from triptych.core.style_space import StyleBased
from triptych.inference.pipeline import Pipeline
from triptych.latent.codes import Labels, Space, code_shape, codes_at, model_hash
from triptych.latent.linear_fit import Cloud, closed_form, within
from triptych.models.registry import load_model_class, model_names

FORMAT = 1
DUST = 1e-6  # of the styles' size: what float32 leaves of a spread of nothing
SPREAD_SEEDS = range(2_000_000, 2_001_024)  # whose styles tell how far styles spread


class About(Record):
    """What a direction is, where it came from and what it was seen to do."""

    name: str
    """"kind=star", "closed form 1", "coordinate 5"."""
    space: Space
    how: str
    """In words: by which method, from how many pictures."""
    model: str
    """SHA-256 of the weights that it was found in."""
    run: str = ""
    effects: dict[str, float] = Field(default_factory=dict)
    """Mean change of each reading, in its own standard deviations, for one unit of the direction."""


@dataclass(frozen=True)
class Direction:
    """A step in a space. One unit of it is one standard deviation of the model's codes along it.

    Where layers of a style move each its own way: in the layer that moves most.
    """

    about: About
    vector: Tensor = field(repr=False)  # of the shape of one code, float32

    @property
    def name(self) -> str:
        """What it is called."""
        return self.about.name

    def steps(self, amounts: Sequence[float]) -> Tensor:
        """(K, *shape): the step of each amount."""
        return torch.tensor(list(amounts)).view(-1, *([1] * self.vector.dim())) * self.vector


def shaped(step: Tensor, model: Pipeline, space: Space, layers: Iterable[int] | None = None) -> Tensor:
    """A step (D,) as a step of a whole code: of noise, or of the style of every layer, or of some.

    A step of (layers * width,) in style space moves each layer its own way.
    """
    shape = code_shape(model, space)
    if space == "noise" or step.numel() == shape[0] * shape[1]:
        return step.reshape(shape).float()
    found = torch.zeros(shape)
    found[list(layers) if layers is not None else slice(None)] = step.float()
    return found


def cloud_of(model: Pipeline, space: Space, labels: Labels = None, **controls: Any) -> Cloud:
    """How the codes of one layer spread: known for noise, seen in 1024 seeds for styles.

    Of a model with labels, about their label's mean: what lies between two labels is no spread of either.
    Raises UsageError where the controls (truncation 0) leave one style alone: there is no unit to move by.
    """
    if space == "noise":
        return Cloud.normal(int(torch.tensor(code_shape(model, space)).prod()))
    codes = codes_at(model, SPREAD_SEEDS, space, labels, **controls)  # (N, layers, width) of styles
    styles = within(codes.values[:, 0].double().numpy(), codes.labels)
    if np.ptp(styles, axis=0).max() <= DUST * np.abs(styles).max():
        raise UsageError("with these controls all styles are alike: there is no way to move among them")
    return Cloud.of(styles)


def coordinates(
    model: Pipeline,
    numbers: Iterable[int] | None = None,
    space: Space = "noise",
    layers: Iterable[int] | None = None,
    **controls: Any,
) -> list[Direction]:
    """Single numbers of the code as directions; None: the first eight. Raises UsageError for others.

    controls: those that the codes are drawn with, whose spread is the unit: truncation draws styles together.
    """
    shape = code_shape(model, space)
    width = int(torch.tensor(shape).prod()) if space == "noise" else shape[1]
    chosen = list(range(min(8, width)) if numbers is None else numbers)
    if not chosen or min(chosen) < 0 or max(chosen) >= width:
        raise UsageError(
            f"a code of {model.model.title}'s {space} has the numbers 0-{width - 1}, got {chosen}"
        )
    cloud, weights = cloud_of(model, space, **controls), model_hash(model)
    found = []
    for number in chosen:
        unit = np.eye(width)[number]
        step = shaped(torch.from_numpy(unit * cloud.spread_along(unit)), model, space, layers)
        found.append(named(model, f"coordinate {number}", space, "one number of the code", step, weights))
    return found


def closed_form_directions(
    model: Pipeline,
    count: int = 6,
    space: Space | None = None,
    layers: Iterable[int] | None = None,
    **controls: Any,
) -> list[Direction]:
    """Directions without any label: what the first layer that meets the code passes on most strongly.

    Shen and Zhou 2021 (SeFa). space: None takes styles where there are some. layers: of styles, whose
    readers are taken together and which then move; None for all. controls: as for `coordinates`. Raises
    UsageError for a family whose noise meets no such matrix.
    """
    where: Space = space or ("style" if isinstance(model.model, StyleBased) else "noise")
    shape = code_shape(model, where)
    moving = None if layers is None else list(layers)
    if where == "style":
        assert isinstance(model.model, StyleBased)
        readers = model.model.style_affine_weights()
        matrix = torch.cat([readers[k] for k in (moving if moving is not None else range(shape[0]))])
    else:
        matrix = reader_of_noise(model)
    if not 1 <= count <= matrix.shape[1]:
        raise UsageError(f"there are 1-{matrix.shape[1]} closed-form directions, got --count {count}")
    found, _ = closed_form(matrix.cpu().double().numpy(), count)  # Apple's GPUs know no float64
    cloud, weights = cloud_of(model, where, **controls), model_hash(model)
    return [
        named(
            model,
            f"closed form {k + 1}",
            where,
            "closed-form factorisation of the weights that first meet the code",
            shaped(torch.from_numpy(step * cloud.spread_along(step)), model, where, moving),
            weights,
        )
        for k, step in enumerate(found)
    ]


def reader_of_noise(model: Pipeline) -> Tensor:
    """(outputs, noise numbers). Raises UsageError where noise meets no one matrix."""
    family = model.model
    if (matrix := family.first_layer_weight()) is not None:
        return matrix
    instead = "Find directions from labels instead: --method labels"
    if isinstance(family, StyleBased):
        instead = (
            "Factorise what reads its styles: --space style, or find directions from labels: --method labels"
        )
    if model.spec.size == 1:
        raise UsageError(
            f"this {family.title} draws points, and what draws points reads its noise by no single matrix: "
            f"there is nothing to factorise. {instead}"
        )
    able = [
        n
        for n in model_names()
        if load_model_class(n).first_layer_weight is not GenerativeModel.first_layer_weight
    ]
    raise UsageError(
        f"this {family.title} reads its noise by no single matrix{_as_trained(family)}: there is nothing to "
        f"factorise. Families that may: {', '.join(able)} (a VAE only with --prior normal). {instead}"
    )


def _as_trained(family: GenerativeModel[Any, Any]) -> str:
    """What a sentence adds about a family whose noise meets a single matrix under other settings."""
    own = type(family).first_layer_weight is not GenerativeModel.first_layer_weight
    return " with the settings that it was trained with" if own else ""


def named(
    model: Pipeline,
    name: str,
    space: Space,
    how: str,
    vector: Tensor,
    weights: str | None = None,
    **more: Any,
) -> Direction:
    """A direction of a model. weights: the model's hash, where it is at hand: all weights go into it."""
    run = model.run.path.name if model.run is not None else ""
    own = weights or model_hash(model)
    return Direction(About(name=name, space=space, how=how, model=own, run=run, **more), vector)


# --- files: tensors by number, everything else as JSON in the header ---


def fit_to_keep(path: Path) -> None:
    """Raises UsageError for a file that directions could not be kept in, by its name or its place."""
    if path.suffix != ".safetensors":
        raise UsageError(f"directions are kept in a .safetensors file, got {path}")
    fit_to_write(path, "--save")


def save(path: Path, directions: Sequence[Direction]) -> None:
    """Write directions to one .safetensors file, whole or not at all.

    Raises UsageError as `fit_to_keep` does, OSError where writing fails all the same.
    """
    from safetensors.torch import save as serialised

    fit_to_keep(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    told = {"format": FORMAT, "directions": [d.about.model_dump(mode="json") for d in directions]}
    tensors = {str(k): d.vector.float().contiguous() for k, d in enumerate(directions)}
    content = serialised(tensors, {"triptych": json.dumps(told)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)  # save_file would leave it to be read by its owner alone
        partial.replace(path)
    except OSError as error:
        raise OSError(f"the directions could not be kept in {path}: {error.strerror or error}") from error
    finally:
        if partial.is_file():
            partial.unlink()


def load(path: Path | str) -> list[Direction]:
    """Read what `save` wrote. Raises ValueError for anything else."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        file, colon, _ = str(path).rpartition(":")
        kept = path if path.suffix == ".safetensors" else "directions.safetensors"
        make = f"make one with triptych steer RUN directions --save {kept}"
        if colon and Path(file).is_file():
            raise UsageError(f"{file} is no file of directions, those are .safetensors files: {make}")
        raise UsageError(f"there is no file of directions at {path}: {make}")
    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {}).get("triptych", "{}"))
            if told.get("format") != FORMAT:
                raise ValueError("it names no format that this version knows")
            about = [About.model_validate(row) for row in told["directions"]]
            found = [Direction(row, file.get_tensor(str(k))) for k, row in enumerate(about)]
    except (SafetensorError, ValidationError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a file of directions: {error}") from error
    if not found or not all(bool(d.vector.isfinite().all()) for d in found):
        raise ValueError(f"{path} holds no direction, or one that is not finite")
    return found


def chosen(directions: Sequence[Direction], name: str | None) -> list[Direction]:
    """The direction of a name, or all. Raises UsageError for an unknown one, with the nearest."""
    if name is None:
        return list(directions)
    names = [d.name for d in directions]
    if name not in names:
        hint = did_you_mean(name, names)
        raise UsageError(f"there is no direction {name!r}.{hint} There are: {', '.join(names)}")
    return [directions[names.index(name)]]


def belongs(direction: Direction, model: Pipeline, weights: str | None = None) -> None:
    """Raises UsageError unless a direction was found in these weights and fits their space.

    weights: the model's hash, where it is at hand.
    """
    about, shape = direction.about, code_shape(model, direction.about.space)
    where = f"another run ({about.run or 'without a name'}, weights {about.model[:12]})"
    if tuple(direction.vector.shape) != shape:
        raise UsageError(
            f"the direction {about.name!r} has the shape {tuple(direction.vector.shape)}, this model's "
            f"{about.space} {shape}: it was found in {where}"
        )
    if about.model != (weights or model_hash(model)):
        raise UsageError(
            f"the direction {about.name!r} was found in {where}, and a direction means something to one "
            "set of weights only: find it again with triptych steer RUN directions"
        )
