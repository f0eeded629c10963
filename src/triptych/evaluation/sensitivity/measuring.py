"""Every metric of the suite on one set of images, with its 95% interval or the reason why it has none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log

from triptych.core.threads import one_thread
from triptych.evaluation.sensitivity.corruptions import LabeledImages
from triptych.metrics import inception_score, memorization
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.inputs import EvaluationInputs, FeatureCache, ImageSet
from triptych.metrics.metric import Better, LeaveOneOut, Metric
from triptych.metrics.suite import METRICS


def _one_split(inputs: EvaluationInputs) -> LeaveOneOut:
    """IS of one split: a set that shrinks with the strength of a corruption must not change the number."""
    groups = inputs.fake_groups(inputs.fake.probabilities)
    return inception_score.inception_score_leave_one_out(groups, splits=1)


STUDIED: tuple[Metric, ...] = tuple(
    replace(metric, leave_one_out=_one_split) if metric is inception_score.METRIC else metric
    for metric in METRICS
)
BETTER: dict[str, Better] = {metric.name: metric.better for metric in STUDIED}
COPY_METRICS = (memorization.NEAR_DUPLICATES.name, memorization.AUTHENTICITY.name)


@dataclass(frozen=True)
class Measured:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float

    def changed(self, factor: float, shift: float) -> Measured:
        """Value and interval times a factor, plus a shift.

        Args:
            factor: > 0.
            shift: in units of the metric.

        Returns:
            The changed value and interval.
        """
        return Measured(*(factor * x + shift for x in (self.value, self.low, self.high)))


Results = dict[str, Measured | str]  # by metric; a sentence where it refused


def badness(metric: str, value: float) -> float:
    """A number that is higher for worse sets, whichever way the metric runs.

    Args:
        metric: a name in `BETTER`.
        value: of that metric. A ratio is as bad as its logarithm is far from 0.

    Returns:
        The badness, in units of the metric (of its logarithm for a ratio).
    """
    better = BETTER[metric]
    if better == "near 1":
        return abs(log(value)) if value > 0 else float("inf")
    return value if better == "lower" else -value


class MetricBench:
    """A reference set and training images, against which sets of images are measured."""

    def __init__(self, reference: LabeledImages, train: LabeledImages, extractor: Extractor) -> None:
        """Nothing is computed yet.

        Args:
            reference: real images that the extractor has not seen.
            train: training images, for metrics of memorization.
            extractor: gives features and, where it has classes, probabilities.
        """
        self._extractor, self._cache = extractor, FeatureCache()
        self._reference = self._images(reference)
        self._train = self._images(train, with_probabilities=False)

    def measure(self, images: LabeledImages) -> Results:
        """Every metric on a set of at least 20 images; a sentence where a metric refuses."""
        measured = self._images(images)
        inputs = EvaluationInputs(self._reference, measured, self._train)
        inputs.extract()
        results: Results = {}
        for metric in STUDIED:
            results[metric.name] = metric.missing(inputs) or _measured(metric, inputs)
        return results

    def _images(self, images: LabeledImages, with_probabilities: bool = True) -> ImageSet:
        return ImageSet(
            images.pixels,
            self._extractor,
            images.labels,
            with_probabilities=with_probabilities,
            cache=self._cache,
        )


@one_thread()
def _measured(metric: Metric, inputs: EvaluationInputs) -> Measured | str:
    try:
        estimate = metric.estimate(inputs)
    except ValueError as error:
        return str(error)
    return Measured(estimate.value, estimate.low, estimate.high)
