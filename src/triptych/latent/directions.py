"""Directions: steps in a model's latent space that mean something; how they are made, written and read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor

from triptych.core.atomic import atomic_write
from triptych.core.config import Record
from triptych.core.errors import UsageError
from triptych.core.files import fit_to_write
from triptych.core.generative_model import GenerativeModel
from triptych.core.nearest import did_you_mean
from triptych.core.style_space import StyleBased
from triptych.inference.pipeline import Pipeline
from triptych.latent.codes import Labels, Space, code_shape, codes_at, model_hash
from triptych.latent.linear_fit import LatentDistribution, closed_form_factorization, equalize_label_means
from triptych.models.registry import load_model_class, model_names

FORMAT = 1
FLOAT_NOISE = 1e-6  # of the styles' size: differences that float32 makes between equal styles
DISTRIBUTION_SEEDS = range(2_000_000, 2_001_024)  # whose styles estimate the distribution of styles


class DirectionInfo(Record):
    """What a direction is, where it came from, and its measured effects."""

    name: str
    """"kind=star", "closed form 1", "coordinate 5"."""
    space: Space
    how: str
    """In words: by which method, from how many samples."""
    model: str
    """SHA-256 of the weights that it was found in."""
    run: str = ""
    effects: dict[str, float] = Field(default_factory=dict)
    """Mean change of each attribute, in its own standard deviations, for one unit of the direction."""


@dataclass(frozen=True)
class Direction:
    """A step in latent space. One unit of it is one standard deviation of the model's codes along it.

    Where the layers of a style move differently: in the layer that moves most.
    """

    info: DirectionInfo
    vector: Tensor = field(repr=False)  # of the shape of one code, float32

    @property
    def name(self) -> str:
        """Its name."""
        return self.info.name

    def steps(self, amounts: Sequence[float]) -> Tensor:
        """(K, *shape): the step of each of K amounts, in units of the direction."""
        return torch.tensor(list(amounts)).view(-1, *([1] * self.vector.dim())) * self.vector


def to_code_shape(step: Tensor, model: Pipeline, space: Space, layers: Iterable[int] | None = None) -> Tensor:
    """Give a flat step the shape of a whole code.

    Args:
        step: (D,) of noise, or of the style of one layer; (layers * width,) in style space moves each layer
            differently.
        model: The model.
        space: "noise" or "style".
        layers: Which layers of a style a step (D,) moves; None for all.

    Returns:
        float32, of the shape of one code.
    """
    shape = code_shape(model, space)
    if space == "noise" or step.numel() == shape[0] * shape[1]:
        return step.reshape(shape).float()
    whole = torch.zeros(shape)
    whole[list(layers) if layers is not None else slice(None)] = step.float()
    return whole


def latent_distribution(
    model: Pipeline, space: Space, labels: Labels = None, **controls: Any
) -> LatentDistribution:
    """Describe how the codes of one layer vary: known for noise, estimated from 1,024 seeds for styles.

    Args:
        model: The model.
        space: "noise" or "style".
        labels: As for `codes_at`. Of a conditional model, the variation is that about each label's mean.
        **controls: Sampling controls; truncation makes styles vary less.

    Returns:
        The distribution.

    Raises:
        UsageError: All styles are alike with these controls (truncation 0), so that there is no unit.
    """
    if space == "noise":
        return LatentDistribution.standard_normal(int(torch.tensor(code_shape(model, space)).prod()))
    codes = codes_at(model, DISTRIBUTION_SEEDS, space, labels, **controls)  # (N, layers, width) of styles
    styles = equalize_label_means(codes.values[:, 0].double().numpy(), codes.labels)
    if np.ptp(styles, axis=0).max() <= FLOAT_NOISE * np.abs(styles).max():
        raise UsageError("with these controls all styles are alike: there is no direction to move in")
    return LatentDistribution.from_codes(styles)


def coordinate_directions(
    model: Pipeline,
    dimensions: Iterable[int] | None = None,
    space: Space = "noise",
    layers: Iterable[int] | None = None,
    **controls: Any,
) -> list[Direction]:
    """Take single dimensions of the code as directions.

    Args:
        model: The model.
        dimensions: Their indices; None for the first eight.
        space: "noise" or "style".
        layers: Which layers of a style move; None for all.
        **controls: Sampling controls that the codes are drawn with, as their standard deviation is the unit.

    Returns:
        One direction per dimension.

    Raises:
        UsageError: The code does not have these dimensions.
    """
    shape = code_shape(model, space)
    width = int(torch.tensor(shape).prod()) if space == "noise" else shape[1]
    chosen = list(range(min(8, width)) if dimensions is None else dimensions)
    if not chosen or min(chosen) < 0 or max(chosen) >= width:
        raise UsageError(
            f"a code of {model.model.title}'s {space} space has the dimensions 0-{width - 1}, got {chosen}"
        )
    distribution, weights = latent_distribution(model, space, **controls), model_hash(model)
    directions = []
    for number in chosen:
        unit = np.eye(width)[number]
        step = to_code_shape(torch.from_numpy(unit * distribution.std_along(unit)), model, space, layers)
        how = "one dimension of the code"
        directions.append(make_direction(model, f"coordinate {number}", space, how, step, weights))
    return directions


def closed_form_directions(
    model: Pipeline,
    count: int = 6,
    space: Space | None = None,
    layers: Iterable[int] | None = None,
    **controls: Any,
) -> list[Direction]:
    """Find directions without labels: what the first layer that takes the code passes on most strongly.

    Args:
        model: The model.
        count: How many, at most the dimension of the code.
        space: None takes styles where there are some, else noise.
        layers: Which layers of a style are factorized together, and move; None for all.
        **controls: As for `coordinate_directions`.

    Returns:
        The strongest first.

    Raises:
        UsageError: There are not so many, or no single matrix takes the model's noise.

    References:
        Shen and Zhou 2021, "Closed-form factorization of latent semantics in GANs" (SeFa).
    """
    where: Space = space or ("style" if isinstance(model.model, StyleBased) else "noise")
    shape = code_shape(model, where)
    moving = None if layers is None else list(layers)
    if where == "style":
        assert isinstance(model.model, StyleBased)
        affine = model.model.style_affine_weights()
        matrix = torch.cat([affine[k] for k in (moving if moving is not None else range(shape[0]))])
    else:
        matrix = noise_weight_matrix(model)
    if not 1 <= count <= matrix.shape[1]:
        raise UsageError(f"there are 1-{matrix.shape[1]} closed-form directions, got --count {count}")
    steps, _ = closed_form_factorization(matrix.cpu().double().numpy(), count)  # MPS has no float64
    distribution, weights = latent_distribution(model, where, **controls), model_hash(model)
    return [
        make_direction(
            model,
            f"closed form {k + 1}",
            where,
            "closed-form factorization of the weights of the first layer that takes the code",
            to_code_shape(torch.from_numpy(step * distribution.std_along(step)), model, where, moving),
            weights,
        )
        for k, step in enumerate(steps)
    ]


def noise_weight_matrix(model: Pipeline) -> Tensor:
    """Give the matrix of the first layer that takes the noise.

    Args:
        model: The model.

    Returns:
        (outputs, noise dimensions).

    Raises:
        UsageError: No single matrix takes the noise of this model.
    """
    module = model.model
    if (matrix := module.first_layer_weight()) is not None:
        return matrix
    instead = "Find directions from labels instead: --method labels"
    if isinstance(module, StyleBased):
        instead = (
            "Factorize the weights that take its styles: --space style, or find directions from labels: "
            "--method labels"
        )
    if model.spec.size == 1:
        raise UsageError(
            f"this {module.title} draws 2-D points, and no single matrix takes the noise of such a model: "
            f"there is nothing to factorize. {instead}"
        )
    able = [
        n
        for n in model_names()
        if load_model_class(n).first_layer_weight is not GenerativeModel.first_layer_weight
    ]
    raise UsageError(
        f"no single matrix takes the noise of this {module.title}{_as_trained(module)}: there is nothing to "
        f"factorize. Models that may have one: {', '.join(able)} (a VAE only with --prior normal). {instead}"
    )


def _as_trained(model: GenerativeModel[Any, Any]) -> str:
    """What a sentence adds about a model whose noise meets a single matrix under other settings."""
    own = type(model).first_layer_weight is not GenerativeModel.first_layer_weight
    return " with the settings that it was trained with" if own else ""


def make_direction(
    model: Pipeline,
    name: str,
    space: Space,
    how: str,
    vector: Tensor,
    weights: str | None = None,
    **more: Any,
) -> Direction:
    """Make a direction of a model.

    Args:
        model: The model.
        name: The direction's name.
        space: "noise" or "style".
        how: By which method, in words.
        vector: One unit of it, of the shape of a code.
        weights: `model_hash(model)`, where it is at hand: it takes all weights to compute.
        **more: Other fields of `DirectionInfo`.

    Returns:
        The direction.
    """
    run = model.run.path.name if model.run is not None else ""
    own = weights or model_hash(model)
    return Direction(DirectionInfo(name=name, space=space, how=how, model=own, run=run, **more), vector)


# --- files: tensors by number, everything else as JSON in the header ---


def check_writable(path: Path) -> None:
    """Check a path before directions are found that could not be written to it.

    Args:
        path: The file.

    Raises:
        UsageError: It is no .safetensors file, or cannot be written.
    """
    if path.suffix != ".safetensors":
        raise UsageError(f"directions are written to a .safetensors file, got {path}")
    fit_to_write(path, "--save")


def save(path: Path, directions: Sequence[Direction]) -> None:
    """Write directions to one .safetensors file, atomically, after `check_writable`.

    Args:
        path: The file.
        directions: What to write.

    Raises:
        OSError: Writing failed all the same.
    """
    from safetensors.torch import save as serialized

    check_writable(path)
    header = {"format": FORMAT, "directions": [d.info.model_dump(mode="json") for d in directions]}
    tensors = {str(k): d.vector.float().contiguous() for k, d in enumerate(directions)}
    content = serialized(tensors, {"triptych": json.dumps(header)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            partial.write_bytes(content)  # save_file would make it readable by its owner only
    except OSError as error:
        raise OSError(f"the directions could not be written to {path}: {error.strerror or error}") from error


def load(path: Path | str) -> list[Direction]:
    """Read what `save` wrote.

    Args:
        path: The file.

    Returns:
        The directions, at least one.

    Raises:
        UsageError: There is no such file.
        ValueError: It is no file of directions, or one of them is not finite.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        file, colon, _ = str(path).rpartition(":")
        target = path if path.suffix == ".safetensors" else "directions.safetensors"
        make = f"make one with triptych steer RUN directions --save {target}"
        if colon and Path(file).is_file():
            raise UsageError(f"{file} is no file of directions, which are .safetensors files: {make}")
        raise UsageError(f"there is no file of directions at {path}: {make}")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("triptych", "{}"))
            if header.get("format") != FORMAT:
                raise ValueError("it names no format that this version knows")
            infos = [DirectionInfo.model_validate(row) for row in header["directions"]]
            directions = [Direction(row, file.get_tensor(str(k))) for k, row in enumerate(infos)]
    except (SafetensorError, ValidationError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a file of directions: {error}") from error
    if not directions or not all(bool(d.vector.isfinite().all()) for d in directions):
        raise ValueError(f"{path} has no direction, or one that is not finite")
    return directions


def select_directions(directions: Sequence[Direction], name: str | None) -> list[Direction]:
    """Select the direction of a name.

    Args:
        directions: All there are.
        name: None selects all.

    Returns:
        One direction, or all.

    Raises:
        UsageError: There is none of this name; with the nearest name.
    """
    if name is None:
        return list(directions)
    names = [d.name for d in directions]
    if name not in names:
        hint = did_you_mean(name, names)
        raise UsageError(f"there is no direction {name!r}.{hint} There are: {', '.join(names)}")
    return [directions[names.index(name)]]


def check_matches(direction: Direction, model: Pipeline, weights: str | None = None) -> None:
    """Check that a direction was found in a model's weights.

    Args:
        direction: The direction.
        model: The model.
        weights: `model_hash(model)`, where it is at hand.

    Raises:
        UsageError: It was found in other weights, or has another shape.
    """
    info, shape = direction.info, code_shape(model, direction.info.space)
    where = f"another run ({info.run or 'without a name'}, weights {info.model[:12]})"
    if tuple(direction.vector.shape) != shape:
        raise UsageError(
            f"the direction {info.name!r} has the shape {tuple(direction.vector.shape)}, this model's "
            f"{info.space} {shape}: it was found in {where}"
        )
    if info.model != (weights or model_hash(model)):
        raise UsageError(
            f"the direction {info.name!r} was found in {where}, and a direction has a meaning for one set of "
            "weights only: find it again with triptych steer RUN directions"
        )
