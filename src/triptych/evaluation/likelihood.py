"""Likelihood: a bound on the bits per dimension that a model needs for the source's test images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from triptych._version import __version__
from triptych.core.bits_per_dim import DEQUANTIZATION, dimensions
from triptych.evaluation.scoring import subset_rows
from triptych.inference.pipeline import Pipeline
from triptych.metrics.score import LABELS_NONE, LABELS_OF_IMAGES, Card, Score
from triptych.metrics.stats.intervals import MIN_IMAGES
from triptych.metrics.stats.quantiles import t_quantile

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

VERSION = 1  # of the bounds' code


def likelihood_score(
    model: Pipeline, dataset: Dataset, n: int = 1000, bound: str | None = None, draws: int = 16
) -> Score | None:
    """Mean bits per dimension of test images, with the 95% interval of that mean over images.

    An upper bound on the negative log-likelihood of the uint8 pixels that were not padded, each level
    weighted by the density's mass in its bin: a uniform model needs 8. Images are given with their labels to
    a conditional model. The interval covers the bound's own Monte Carlo error too, which is independent from
    image to image.

    Args:
        model: the model.
        dataset: its source.
        n: test images, at least 20, a fixed random choice; all of them if there are fewer.
        bound: one of the model's bounds; None its first.
        draws: Monte Carlo draws an image.

    Returns:
        The score; None for a model without a likelihood (implicit).

    Raises:
        ValueError: for too few images; from the model for an unknown bound or images of another shape.
    """
    bounds = getattr(model.model, "likelihood_bounds", ())
    if not bounds:
        return None
    if min(len(dataset.test), n) < MIN_IMAGES:
        raise ValueError(
            f"an interval needs at least {MIN_IMAGES} test images, got {min(len(dataset.test), n)}"
        )
    rows = subset_rows(len(dataset.test), n)
    pixels = np.asarray(dataset.test.pixels[rows])
    labeled = model.model.conditional and dataset.test.labels is not None
    labels = dataset.test.labels[rows] if labeled and dataset.test.labels is not None else None
    values = model.bits_per_dim(pixels, labels, bound, draws, rows.tolist(), dataset.content_box)
    mean = float(values.mean())
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    reach = t_quantile(len(values) - 1) * error
    card = Card(
        metric="bits/dim",
        parameters={
            "bound": bound or bounds[0],
            "draws": draws,
            "dequantisation": DEQUANTIZATION,
            "counted": dimensions(pixels.shape[1:], dataset.content_box),
        },
        data=dataset.fingerprint,
        split="test",
        n_real=len(rows),
        n_fake=0,
        extractor="none",
        extractor_hash="none",
        resize="none",
        version=VERSION,
        **_about(model, labeled),
    )
    return Score(
        name=f"bits/dim[{card.parameters['bound']}]",
        value=mean,
        low=max(mean - reach, 0.0),
        high=mean + reach,
        method=f"mean of {len(rows)} images, t",
        better="lower",
        card=card,
    )


def _about(model: Pipeline, labeled: bool) -> dict[str, Any]:
    """The descriptive fields of the card."""
    return {
        "model": model.model.title,
        "run": model.run.path.name if model.run is not None else "",
        "weights": model.weights,
        "step": model.step,
        "seeds": "the images' rows",
        "labels": LABELS_OF_IMAGES if labeled else LABELS_NONE,
        "versions": {"triptych": __version__, "torch": torch.__version__, "numpy": np.__version__},
    }
