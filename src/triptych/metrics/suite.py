"""The list of all metrics. Evaluations, floors, cards, reports, tables and `compare` go by it.

To add a metric: write a file in this package with a `Metric` entry (`vendi.py` is a short example), and add
the entry to `METRICS`. Two scores have no entry, because images and an extractor do not suffice for them:
bits per dimension need the model, two-sample accuracy trains networks (`triptych.evaluation`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from triptych.core.threads import one_thread
from triptych.metrics import (
    fid,
    fid_infinity,
    inception_score,
    intra_class_fid,
    kid,
    memorization,
    prd,
    prdc,
    spectral,
    vendi,
)
from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.metric import Metric, Stage
from triptych.metrics.stats.intervals import Estimate

METRICS: tuple[Metric, ...] = (
    fid.METRIC,
    kid.METRIC,
    prdc.PRECISION,
    prdc.RECALL,
    prdc.DENSITY,
    prdc.COVERAGE,
    fid_infinity.METRIC,
    vendi.METRIC,
    intra_class_fid.METRIC,
    inception_score.METRIC,
    spectral.METRIC,
    prd.F8,
    prd.F1_8,
    spectral.SHARPNESS_RATIO,
    memorization.NEAR_DUPLICATES,
    memorization.AUTHENTICITY,
)

log = logging.getLogger(__name__)


def metrics_of(*stages: Stage) -> tuple[Metric, ...]:
    """The metrics of these stages, in the order of the list."""
    return tuple(metric for metric in METRICS if metric.stage in stages)


def names_of(*stages: Stage) -> tuple[str, ...]:
    """The names of the metrics of these stages."""
    return tuple(metric.name for metric in metrics_of(*stages))


def computed(
    inputs: EvaluationInputs, metrics: Sequence[Metric]
) -> Iterator[tuple[Metric, Estimate, float | None]]:
    """Compute those metrics that these inputs allow.

    Args:
        inputs: image sets and their extractor.
        metrics: what to compute.

    Yields:
        Each metric with its value and interval, and its floor (None without training images). A metric
        whose needs are not met is left out; so is one of the detailed stage that refuses these inputs.

    Raises:
        ValueError: from a metric of every evaluation that refuses these inputs.
    """
    for metric in metrics:
        reason = metric.missing(inputs)
        if reason is None:
            try:
                with one_thread():
                    result = metric.estimate(inputs), metric.floor(inputs)
            except ValueError as error:
                if metric.stage == "always":
                    raise
                reason = str(error)
        if reason is None:
            yield metric, *result
        else:
            log.info("%s is left out: %s", metric.name, reason)


@one_thread()
def estimates(
    real: np.ndarray,
    fake: np.ndarray,
    precision_k: int = prdc.PRECISION_K,
    density_k: int = prdc.DENSITY_K,
) -> dict[str, Estimate]:
    """FID, KID, precision, recall, density and coverage of features, each with a 95% interval.

    An interval is for the score's expectation at these numbers of images, so it does not cover
    FID's bias: that is what the floor is for. (KID has none: its target is the population's value.)
    NaN, unlike widths and too few images raise ValueError.

    Raises ValueError for NaN, unlike widths and too few images.

    Args:
        real: (N, D), N >= 20 and enough that half of them have neighbors.
        fake: (M, D), likewise.
        precision_k: neighbor of precision and recall.
        density_k: neighbor of density and coverage.

    Returns:
        The values with their intervals, by name.
    """
    return {
        "FID": fid.fid_estimate(real, fake),
        "KID": kid.kid_estimate(real, fake),
        **prdc.prdc_estimates(real, fake, precision_k, density_k),
    }
