"""What a metric is: how it is computed, with its interval and its floor, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.stats.intervals import Estimate, jackknife_interval

Better = Literal["lower", "higher", "near 1"]
Parameters = Mapping[str, int | float | str]
LeaveOneOut = tuple[float, list[float]]  # the value, and the values without the g-th group of both sets

Stage = Literal["always", "detailed", "sensitivity"]


@dataclass(frozen=True)
class Need:
    """Something that a metric cannot be computed without."""

    name: str
    missing: Callable[[EvaluationInputs], str | None]
    """A sentence on what these inputs lack; None if they have it."""


@dataclass(frozen=True)
class Metric:
    """One metric. A new one is a file with such an entry, and a line in `suite.METRICS`.

    Either `leave_one_out` or `estimate_with` gives the interval: the first by the jackknife.
    """

    name: str
    """Bare, as in a card: "FID"."""
    better: Better
    version: int
    """VERSION of its module: raised when the same inputs would give another value."""
    value: Callable[[EvaluationInputs], float] | None = None
    """Of the samples alone, without an interval: with training images in the samples' place it is the
    floor. None: the metric has no floor."""
    leave_one_out: Callable[[EvaluationInputs], LeaveOneOut] | None = None
    estimate_with: Callable[[EvaluationInputs], Estimate] | None = None
    parameters: Parameters | Callable[[EvaluationInputs], Parameters] = field(default_factory=dict)
    """Everything that changes the value, for the card."""
    needs: tuple[Need, ...] = ()
    target: Literal["expectation", "population"] = "expectation"
    """What the interval is for; see `Score.target`."""
    lowest: float = 0.0
    """No value lies below it: the jackknife's interval is cut there."""
    stage: Stage = "always"
    """In every evaluation, in detailed ones, or in studies of metrics' sensitivity alone."""
    domain: Literal["features", "pixels"] = "features"
    """What it compares; a card of a metric of pixels names no extractor."""

    def missing(self, inputs: EvaluationInputs) -> str | None:
        """The first thing that these inputs lack for this metric, as a sentence; None if nothing."""
        return next((why for need in self.needs if (why := need.missing(inputs)) is not None), None)

    def estimate(self, inputs: EvaluationInputs) -> Estimate:
        """The value with its 95% interval. Raises ValueError where the inputs do not allow one."""
        if self.estimate_with is not None:
            return self.estimate_with(inputs)
        assert self.leave_one_out is not None, f"{self.name} has no form that gives an interval"
        return jackknife_interval(*self.leave_one_out(inputs), self.lowest)

    def floor(self, inputs: EvaluationInputs) -> float | None:
        """The metric of training images in the samples' place; None without them, or where it has none."""
        instead = inputs.with_train_as_fake()
        return None if instead is None or self.value is None else self.value(instead)

    def parameters_of(self, inputs: EvaluationInputs) -> dict[str, int | float | str]:
        """Parameters for the card of a score of these inputs."""
        return dict(self.parameters(inputs) if callable(self.parameters) else self.parameters)


def _no_classes(inputs: EvaluationInputs) -> str | None:
    if inputs.extractor.classes:
        return None
    return f"{inputs.extractor.name} predicts no classes: class scores need a source with labels"


def _no_labels(inputs: EvaluationInputs) -> str | None:
    if inputs.real.labels is not None and inputs.fake.labels is not None:
        return None
    return "the labels of real images and samples are not both known"


def _no_train(inputs: EvaluationInputs) -> str | None:
    return None if inputs.train is not None else "there are no training images to compare with"


PROBABILITIES = Need("probabilities", _no_classes)
LABELS = Need("labels", _no_labels)
TRAINING_IMAGES = Need("training images", _no_train)


def at_least_px(side: int) -> Need:
    """Images of at least `side` pixels each way."""

    def missing(inputs: EvaluationInputs) -> str | None:
        shape = inputs.fake.pixels.shape[1:3]
        return None if min(shape) >= side else f"images must be at least {side} px each way, got {shape}"

    return Need(f"{side} px", missing)


def enough_for_width(max_width: int, images_for_width: Callable[[int], int]) -> Need:
    """Features no wider than the metric can take, and images enough for that width.

    Args:
        max_width: features of one image, at most.
        images_for_width: least images in every set, for a width.

    Returns:
        The need; a metric that lacks it is left out.
    """

    def missing(inputs: EvaluationInputs) -> str | None:
        width = inputs.extractor.width
        if width > max_width:
            return f"{width} features of an image would take hours, {max_width} are the most"
        least = images_for_width(width)
        if inputs.smallest < least:
            return f"{width} features need at least {least} images in each set, got {inputs.smallest}"
        return None

    return Need(f"images for up to {max_width} features", missing)
