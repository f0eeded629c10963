"""Style mixing: some layers take the style of one image, the rest that of another.

Karras, Laine and Aila 2019, "A style-based generator architecture for generative adversarial networks",
section 3.1 and figure 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.core.errors import UsageError
from triptych.inference.pipeline import Pipeline
from triptych.latent.codes import Codes, Labels, code_shape, codes_at, synthesize

GROUPS = ("coarse", "middle", "fine")


def parse_layers(name: str, layers: int) -> list[int]:
    """Read layer numbers from the name of a group or a list.

    Layer 0 decides the coarsest features; where the thirds are uneven the finer ones get more.

    Args:
        name: "coarse", "middle", "fine" (thirds), "all", or "0-2,5".
        layers: How many there are.

    Returns:
        Layer numbers, ascending.

    Raises:
        UsageError: The name is neither, or a layer does not exist.
    """
    if name == "all":
        return list(range(layers))
    if name in GROUPS:
        edges = [0, layers // 3, 2 * layers // 3, layers]
        third = GROUPS.index(name)
        return list(range(edges[third], edges[third + 1]))
    try:
        ends = [part.split("-") for part in name.split(",")]
        chosen = sorted({n for part in ends for n in range(int(part[0]), int(part[-1]) + 1)})
    except ValueError as error:
        raise UsageError(
            f"layers are coarse, middle, fine, all, or numbers like 0-2,5, got {name!r}"
        ) from error
    if not chosen or chosen[0] < 0 or chosen[-1] >= layers:
        raise UsageError(f"this model's layers are 0-{layers - 1}, got {name!r}")
    return chosen


def mix_styles(base: Tensor, donor: Tensor, layers: Iterable[int]) -> Tensor:
    """Replace some layers of a style.

    Args:
        base: (..., layers, width).
        donor: (..., layers, width), broadcast against `base`.
        layers: Which layers are the donor's.

    Returns:
        (..., layers, width).
    """
    styles = torch.broadcast_tensors(base, donor)[0].clone()
    chosen = list(layers)
    styles[..., chosen, :] = donor[..., chosen, :]
    return styles


def mix(
    model: Pipeline,
    donors: Iterable[int],
    bases: Iterable[int],
    layers: str = "coarse",
    labels: Labels = None,
    donor_model: Pipeline | None = None,
    **controls: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mix every base seed with the chosen layers of every donor seed.

    Args:
        model: A style-based model.
        donors: Seeds whose styles the chosen layers take.
        bases: Seeds whose styles the other layers take.
        layers: As for `parse_layers`.
        labels: One for all, or None.
        donor_model: Maps the donors' seeds to styles, if not the model itself: styles of another run mean the
            same only if one run was trained further from the other.
        **controls: Sampling controls of the model.

    Returns:
        The grid (donors, bases, H, W, C), the donors' own images (donors, H, W, C) and the bases' (bases, H,
        W, C), all uint8.

    Raises:
        UsageError: The model has no styles, the two models differ in shape, or there is more than one label.
    """
    shape = code_shape(model, "style")
    if labels is not None and (count := np.asarray(labels).size) != 1:
        raise UsageError(f"style mixing takes one label for all donors and bases, got {count}")
    chosen = parse_layers(layers, shape[0])
    source = donor_model or model
    check_compatible(model, source)
    donor = codes_at(source, donors, "style", labels, **controls)
    base = codes_at(model, bases, "style", labels, **controls)
    grid = mix_styles(base.values[None], donor.values[:, None], chosen)  # (donors, bases, layers, width)
    seeds = base.seeds * len(donor)
    images = synthesize(model, Codes("style", grid.flatten(0, 1), seeds), **controls)
    rows = images.reshape(len(donor), len(base), *images.shape[1:])
    return rows, synthesize(source, donor, **controls), synthesize(model, base, **controls)


def check_compatible(model: Pipeline, other: Pipeline) -> None:
    """Check that one model can synthesize images from the styles of the other.

    Args:
        model: One.
        other: The other.

    Raises:
        UsageError: Their styles or images differ in shape.
    """
    mine, theirs = code_shape(model, "style"), code_shape(other, "style")
    images = [(m.spec.channels, m.spec.size) for m in (model, other)]
    if mine != theirs or images[0] != images[1]:

        def described(m: Pipeline, shape: tuple[int, ...]) -> str:
            return f"{shape[0]} layers of {shape[1]} for {m.spec.size} px and {m.spec.channels} channel(s)"

        raise UsageError(
            f"these runs cannot be mixed: one has {described(model, mine)}, the other "
            f"{described(other, theirs)}. Mix runs of one size, color mode and width"
        )
