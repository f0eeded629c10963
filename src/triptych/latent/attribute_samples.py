"""Pictures of a model, read: what directions are fitted to and tried out on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from triptych.core.errors import UsageError
from triptych.core.style_space import StyleBased
from triptych.inference.pipeline import SAMPLING_BATCH, Pipeline
from triptych.latent.attributes import Attribute, Reader, units_of
from triptych.latent.codes import Codes, Labels, Space, codes_at, paint
from triptych.latent.directions import cloud_of
from triptych.latent.linear_fit import Cloud, within

FIRST_SEED = 3_000_000  # far from those of evaluation and of training's pictures
SAMPLES = 4000
LEAST = 200
LEAST_A_NUMBER = 3  # pictures a slope, where layers have slopes of their own
SMALL = 1e-6  # of a unit: a reading that varies less within a label is decided by it

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Study:
    """Pictures of a model that were read, and numbers of codes that slopes are fitted to.

    Where a model has labels, numbers and fitted readings are told from their label's mean: a direction is a
    step among pictures of one label, not from one label to the next.
    """

    codes: Codes
    """N, as the model draws them."""
    readings: np.ndarray = field(repr=False)
    """(N, K) of their pictures."""
    cloud: Cloud = field(repr=False)
    """Of the codes of one layer, R wide."""
    white: np.ndarray = field(repr=False)
    """(N, B R): B blocks of uncorrelated numbers of variance 1, one a layer if layers are told apart."""
    fitted: np.ndarray = field(repr=False)
    """(N, K): the readings that belong to these."""
    blocks: int
    """B."""
    attributes: tuple[Attribute, ...]
    reader: str
    controls: dict[str, Any]
    """That all pictures are drawn with."""

    @property
    def spreads(self) -> np.ndarray:
        """(K,): the standard deviation of each reading over unedited samples; 0 for what never varies."""
        return self.readings.std(0)

    @property
    def units(self) -> np.ndarray:
        """(K,): what changes of each reading are told in: its spread, where that is not too small."""
        return units_of(self.readings, self.attributes)

    @property
    def varies(self) -> np.ndarray:
        """(K,) bool: whether a reading varies in the pictures, and in those of one label."""
        return (self.spreads > 0) & (self.fitted.std(0) > SMALL * self.units)

    @property
    def freedom(self) -> int:
        """Pictures beyond the numbers fitted to them: what the error of a slope falls with the root of."""
        kinds = 1 if self.codes.labels is None else len(self.codes.labels.unique())
        return max(len(self.white) - self.white.shape[1] - kinds, 1)


def study(
    model: Pipeline,
    reader: Reader,
    samples: int = SAMPLES,
    space: Space | None = None,
    labels: Labels = None,
    apart: bool | None = None,
    first_seed: int = FIRST_SEED,
    progress: Progress | None = None,
    **controls: Any,
) -> Study:
    """Draw pictures and read them. space: None takes styles where there are some.

    samples: at least 200; the error of a direction falls with their root. labels: as for `codes_at`.
    apart: let every layer of a style have slopes of its own, so that a step moves each its own way. That
    reads as many pictures more, whose layers have unrelated styles (of one label). None: where the model
    was trained on such pictures and there are enough of them. Raises UsageError for too few samples, and for
    `apart` where there are no layers.
    """
    if samples < LEAST:
        raise UsageError(f"a direction needs at least {LEAST} pictures to be found in, got {samples}")
    where: Space = space or ("style" if isinstance(model.model, StyleBased) else "noise")
    codes = codes_at(model, range(first_seed, first_seed + samples), where, labels, **controls)
    cloud = cloud_of(model, where, labels, **controls)
    values = codes.values[:, 0] if where == "style" else codes.values.flatten(1)
    white = within(cloud.white(values.double().numpy()), codes.labels)
    blocks = _blocks(model, codes, cloud, apart)
    pictures = samples * (1 if blocks == 1 else 2)

    def read(of: Codes, done: int) -> np.ndarray:
        found = []
        for start in range(0, samples, SAMPLING_BATCH):
            part = of.cut(range(start, min(start + SAMPLING_BATCH, samples)))
            found.append(reader(paint(model, part, **controls)))
            if progress is not None:
                progress("pictures read", done + start + len(part), pictures)
        return np.concatenate(found)

    readings = fitted = read(codes, 0)
    if blocks > 1:
        mixed = mixed_rows(codes, blocks, first_seed)
        styles = torch.stack([codes.values[rows, layer] for layer, rows in enumerate(mixed)], 1)
        fitted = read(replace(codes, values=styles), samples)
        white = np.concatenate([white[rows] for rows in mixed], 1)  # (N, B R)
    return Study(
        codes=codes,
        readings=readings,
        cloud=cloud,
        white=white,
        fitted=within(fitted, codes.labels),
        blocks=blocks,
        attributes=reader.attributes,
        reader=reader.name,
        controls=controls,
    )


def _blocks(model: Pipeline, codes: Codes, cloud: Cloud, apart: bool | None) -> int:
    """How many layers get slopes of their own; 1: all move alike."""
    layers = codes.values.shape[1] if codes.space == "style" else 1
    needed = LEAST_A_NUMBER * layers * cloud.width
    if apart and layers == 1:
        raise UsageError(f"a code of {model.model.title}'s {codes.space} space has no layers to move apart")
    if apart and len(codes) < needed:
        raise UsageError(
            f"{layers} layers of {cloud.width} numbers that move apart need at least {needed} pictures to be "
            f"found in, got {len(codes)}: draw more, or let all layers move alike"
        )
    if apart is None:
        apart = isinstance(model.model, StyleBased) and model.model.mixed and len(codes) >= needed
    return layers if apart else 1


def mixed_rows(codes: Codes, layers: int, seed: int) -> np.ndarray:
    """Whose style each layer takes, (layers, N): shuffled among pictures of one label, layer by layer."""
    draw, count = np.random.default_rng(seed), len(codes)
    labels = np.zeros(count) if codes.labels is None else codes.labels.numpy()
    found = np.empty((layers, count), dtype=np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        for layer in range(layers):
            found[layer, own] = draw.permutation(own)
    return found
