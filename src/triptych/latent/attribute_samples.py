"""Samples of a model with predicted attributes: what directions are fitted to and refined on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from triptych.core.errors import UsageError
from triptych.core.style_space import StyleBased
from triptych.inference.pipeline import SAMPLING_BATCH, Pipeline
from triptych.latent.attributes import Attribute, AttributePredictor, attribute_units
from triptych.latent.codes import Codes, Labels, Space, codes_at, synthesize
from triptych.latent.directions import latent_distribution
from triptych.latent.linear_fit import LatentDistribution, equalize_label_means

FIRST_SEED = 3_000_000  # far from those of evaluation and of the samples drawn during training
SAMPLES = 4000
MIN_SAMPLES = 200
MIN_SAMPLES_PER_SLOPE = 3  # where layers have slopes of their own
MIN_STD = 1e-6  # in units of an attribute: one that varies less within a label is decided by the label

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class AttributeDataset:
    """Samples of a model, their predicted attributes, and whitened codes that slopes are fitted to.

    Where a model has labels, whitened codes and fitted values are relative to their label's mean: a direction
    is a step among images of one label, not from one label to the next.
    """

    codes: Codes
    """N, as the model draws them."""
    values: np.ndarray = field(repr=False)
    """(N, K) attributes of their images."""
    distribution: LatentDistribution = field(repr=False)
    """Of the codes of one layer, of rank R."""
    whitened: np.ndarray = field(repr=False)
    """(N, B R): B blocks of uncorrelated numbers of variance 1, one per layer if layers have own slopes."""
    fitted_values: np.ndarray = field(repr=False)
    """(N, K): the attributes that belong to these."""
    blocks: int
    """B."""
    attributes: tuple[Attribute, ...]
    predictor: str
    controls: dict[str, Any]
    """Sampling controls of all images."""

    @property
    def stds(self) -> np.ndarray:
        """(K,): the standard deviation of each attribute over unedited samples; 0 where it never varies."""
        return self.values.std(0)

    @property
    def units(self) -> np.ndarray:
        """(K,): the unit of changes of each attribute: its standard deviation, if that is not too small."""
        return attribute_units(self.values, self.attributes)

    @property
    def varies(self) -> np.ndarray:
        """(K,) bool: whether an attribute varies in the images, and in those of one label."""
        return (self.stds > 0) & (self.fitted_values.std(0) > MIN_STD * self.units)

    @property
    def dof(self) -> int:
        """Samples beyond the fitted coefficients; the error of a slope falls with its square root."""
        classes = 1 if self.codes.labels is None else len(self.codes.labels.unique())
        return max(len(self.whitened) - self.whitened.shape[1] - classes, 1)


def sample_attributes(
    model: Pipeline,
    predictor: AttributePredictor,
    samples: int = SAMPLES,
    space: Space | None = None,
    labels: Labels = None,
    per_layer: bool | None = None,
    first_seed: int = FIRST_SEED,
    progress: Progress | None = None,
    **controls: Any,
) -> AttributeDataset:
    """Draw samples and predict their attributes.

    Args:
        model: The model.
        predictor: Predicts the attributes of images.
        samples: At least 200; the error of a direction falls with the square root.
        space: None takes styles where there are some, else noise.
        labels: As for `codes_at`.
        per_layer: Fit slopes of every layer of a style, so that a step moves each layer its own way. That
            takes as many images more, whose layers have unrelated styles (of one label). None: if the model
            was trained with style mixing and there are enough samples.
        first_seed: Of the samples.
        progress: Called with (what, done, total).
        **controls: Sampling controls of the model.

    Returns:
        The samples.

    Raises:
        UsageError: There are too few samples, or `per_layer` in a space without layers.
    """
    if samples < MIN_SAMPLES:
        raise UsageError(f"directions are fitted to at least {MIN_SAMPLES} samples, got {samples}")
    where: Space = space or ("style" if isinstance(model.model, StyleBased) else "noise")
    codes = codes_at(model, range(first_seed, first_seed + samples), where, labels, **controls)
    distribution = latent_distribution(model, where, labels, **controls)
    flat = codes.values[:, 0] if where == "style" else codes.values.flatten(1)
    whitened = equalize_label_means(distribution.whiten(flat.double().numpy()), codes.labels)
    blocks = _count_blocks(model, codes, distribution, per_layer)
    total = samples * (1 if blocks == 1 else 2)

    def predict(of: Codes, done: int) -> np.ndarray:
        parts = []
        for start in range(0, samples, SAMPLING_BATCH):
            part = of.select(range(start, min(start + SAMPLING_BATCH, samples)))
            parts.append(predictor(synthesize(model, part, **controls)))
            if progress is not None:
                progress("samples with attributes", done + start + len(part), total)
        return np.concatenate(parts)

    values = fitted_values = predict(codes, 0)
    if blocks > 1:
        rows = mixed_rows(codes, blocks, first_seed)
        styles = torch.stack([codes.values[own, layer] for layer, own in enumerate(rows)], 1)
        fitted_values = predict(replace(codes, values=styles), samples)
        whitened = np.concatenate([whitened[own] for own in rows], 1)  # (N, B R)
    return AttributeDataset(
        codes=codes,
        values=values,
        distribution=distribution,
        whitened=whitened,
        fitted_values=equalize_label_means(fitted_values, codes.labels),
        blocks=blocks,
        attributes=predictor.attributes,
        predictor=predictor.name,
        controls=controls,
    )


def _count_blocks(
    model: Pipeline, codes: Codes, distribution: LatentDistribution, per_layer: bool | None
) -> int:
    """How many layers get slopes of their own; 1: all move alike."""
    layers = codes.values.shape[1] if codes.space == "style" else 1
    needed = MIN_SAMPLES_PER_SLOPE * layers * distribution.rank
    if per_layer and layers == 1:
        raise UsageError(f"the {codes.space} space of {model.model.title} has no layers to move separately")
    if per_layer and len(codes) < needed:
        raise UsageError(
            f"directions that move {layers} layers of {distribution.rank} dimensions separately are fitted "
            f"to at least {needed} samples, got {len(codes)}: draw more, or let all layers move alike"
        )
    if per_layer is None:
        mixes = isinstance(model.model, StyleBased) and model.model.trained_with_mixing
        per_layer = mixes and len(codes) >= needed
    return layers if per_layer else 1


def mixed_rows(codes: Codes, layers: int, seed: int) -> np.ndarray:
    """Choose whose style each layer takes, so that layers have unrelated styles of one label.

    Args:
        codes: N codes.
        layers: The number of layers.
        seed: Of the permutations.

    Returns:
        (layers, N) int64, for every layer a permutation among codes of one label.
    """
    rng, count = np.random.default_rng(seed), len(codes)
    labels = np.zeros(count) if codes.labels is None else codes.labels.numpy()
    rows = np.empty((layers, count), dtype=np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        for layer in range(layers):
            rows[layer, own] = rng.permutation(own)
    return rows
