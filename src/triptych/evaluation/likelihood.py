"""The likelihood axis: how many bits per dimension a model needs for the source's test pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import stdtrit

from triptych._version import __version__
from triptych.core.bits_per_dim import DEQUANTIZATION, dimensions
from triptych.inference.pipeline import Pipeline
from triptych.metrics.score import LABELS_NONE, LABELS_OF_IMAGES, Card, Score

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

VERSION = 1  # of the bounds' code
LEAST = 20  # pictures for an interval
LEVEL = 0.95


def likelihood_score(
    model: Pipeline, dataset: Dataset, n: int = 1000, bound: str | None = None, draws: int = 16
) -> Score | None:
    """Mean bits per dimension of n test pictures, with the 95 % interval of that mean over pictures.

    An upper bound on the negative log-likelihood of the uint8 pixels that were not padded, each level
    priced by the density's mass in its bin: a model that knows nothing needs 8. Pictures are given with
    their labels to a model that reads them. The interval holds the bound's own Monte Carlo error too,
    which is independent from picture to picture.

    n: test pictures, at least 20, a seeded choice; all of them if there are fewer. bound: one of the
    family's, None its first. draws: a picture. Returns None for an implicit family. Raises ValueError for
    an unknown bound, too few pictures and pictures of another shape than the model's.
    """
    bounds = getattr(model.model, "likelihood_bounds", ())
    if not bounds:
        return None
    rows = _rows(len(dataset.test), n)
    pixels = np.asarray(dataset.test.pixels[rows])
    labelled = model.model.conditional and dataset.test.labels is not None
    labels = dataset.test.labels[rows] if labelled and dataset.test.labels is not None else None
    values = model.bits_per_dim(pixels, labels, bound, draws, rows.tolist(), dataset.content_box)
    mean = float(values.mean())
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    reach = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * error
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
        **_about(model, labelled),
    )
    return Score(
        name=f"bits/dim[{card.parameters['bound']}]",
        value=mean,
        low=max(mean - reach, 0.0),
        high=mean + reach,
        method=f"mean of {len(rows)} pictures, t",
        better="lower",
        card=card,
    )


def _rows(count: int, n: int) -> np.ndarray:
    """The rows of n pictures by a fixed seed, ascending; those that `evaluate.chosen` takes."""
    if min(count, n) < LEAST:
        raise ValueError(f"an interval needs at least {LEAST} test pictures, got {min(count, n)}")
    if count <= n:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, n, replace=False))


def _about(model: Pipeline, labelled: bool) -> dict[str, Any]:
    """The descriptive fields of the card."""
    return {
        "model": model.model.title,
        "run": model.run.path.name if model.run is not None else "",
        "weights": model.weights,
        "step": model.step,
        "seeds": "the pictures' rows",
        "labels": LABELS_OF_IMAGES if labelled else LABELS_NONE,
        "versions": {"triptych": __version__, "torch": torch.__version__, "numpy": np.__version__},
    }
