"""Style mixing: some layers painted in one picture's style, the rest in another's.

Karras, Laine and Aila 2019, "A style-based generator architecture", section 3.1 and figure 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.core.errors import UsageError
from triptych.inference.pipeline import Pipeline
from triptych.latent.codes import Codes, Labels, code_shape, codes_at, paint

GROUPS = ("coarse", "middle", "fine")


def layers_called(name: str, layers: int) -> list[int]:
    """Layer numbers of a group or a list: "coarse", "middle", "fine" (thirds), "all", or "0-2,5".

    Layer 0 decides the coarsest things; where the thirds are uneven the finer ones get more. Raises
    UsageError for other words and for layers that are not there.
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


def mixed(base: Tensor, donor: Tensor, layers: Iterable[int]) -> Tensor:
    """`base` with the given layers of `donor`: (..., layers, width) both, returns the same shape."""
    found = torch.broadcast_tensors(base, donor)[0].clone()
    chosen = list(layers)
    found[..., chosen, :] = donor[..., chosen, :]
    return found


def mix(
    model: Pipeline,
    donors: Iterable[int],
    bases: Iterable[int],
    layers: str = "coarse",
    labels: Labels = None,
    donor_model: Pipeline | None = None,
    **controls: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every base seed with the chosen layers of every donor seed.

    labels: one for all, or None. donor_model: whose styles the donors' are, if not the model's own: styles
    of another run mean the same only if one was trained on from the other.
    Returns the grid (donors, bases, H, W, C), the donors' own pictures (donors, H, W, C) and the bases'
    (bases, H, W, C), all uint8. Raises UsageError for a family without styles, for runs of unlike shape and
    for more than one label.
    """
    shape = code_shape(model, "style")
    if labels is not None and (count := np.asarray(labels).size) != 1:
        raise UsageError(f"mixing takes one label for all, donors and bases, got {count}")
    chosen = layers_called(layers, shape[0])
    giver = donor_model or model
    alike(model, giver)
    given = codes_at(giver, donors, "style", labels, **controls)
    based = codes_at(model, bases, "style", labels, **controls)
    grid = mixed(based.values[None], given.values[:, None], chosen)  # (donors, bases, layers, width)
    seeds = based.seeds * len(given)
    painted = paint(model, Codes("style", grid.flatten(0, 1), seeds), **controls)
    rows = painted.reshape(len(given), len(based), *painted.shape[1:])
    return rows, paint(giver, given, **controls), paint(model, based, **controls)


def alike(model: Pipeline, other: Pipeline) -> None:
    """Raises UsageError if styles of one cannot be painted by the other."""
    mine, theirs = code_shape(model, "style"), code_shape(other, "style")
    pictures = [(m.spec.channels, m.spec.size) for m in (model, other)]
    if mine != theirs or pictures[0] != pictures[1]:

        def told(m: Pipeline, shape: tuple[int, ...]) -> str:
            return f"{shape[0]} layers of {shape[1]} for {m.spec.size} px and {m.spec.channels} channel(s)"

        raise UsageError(
            f"these runs cannot be mixed: one has {told(model, mine)}, the other {told(other, theirs)}. "
            "Mix runs of one size, color mode and width"
        )
