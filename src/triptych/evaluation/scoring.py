"""Image sets in, scores out: the metrics of the suite with their intervals, floors, notes and cards."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from triptych.core.config import Record
from triptych.metrics import suite
from triptych.metrics.class_coverage import CONFIDENT
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.metric import Metric, Stage
from triptych.metrics.score import Card, Score
from triptych.metrics.stats.intervals import Estimate

OF_PIXELS = {"extractor": "pixels", "extractor_hash": "none", "resize": "none"}
FEW = 100  # images that features were learned from: of fewer a note says so


class ClassView(Record):
    """What the classifier takes the samples for. Shares are of all samples, in the order of the classes."""

    names: tuple[str, ...]
    confident: float
    """Share of samples that the classifier gives one class a probability above 0.9."""
    confident_real: float
    """The same of the test images."""
    shares: tuple[float, ...]
    """Share of samples in each class, by the most probable class."""
    shares_real: tuple[float, ...]
    """The same of the test images."""


def score_pixels(
    real: np.ndarray,
    fake: np.ndarray,
    extractor: Extractor,
    *,
    train: np.ndarray | None = None,
    data: str | None = None,
    split: str = "given",
    about: Mapping[str, Any] | None = None,
) -> list[Score]:
    """The scores of every evaluation, of two sets of images: FID, KID, precision, recall, density, coverage.

    A ValueError says that there are too few images, or of another size than the extractor's.

    Args:
        real: (N, H, W, C) uint8, N >= 20.
        fake: (M, H, W, C) uint8, M >= 20.
        extractor: gives the features.
        train: other real images for the floors, as many as there are fakes where possible; None: no floors.
        data: fingerprint of the source; None makes one from the real images, whatever their order.
        split: for the card, where the real images come from.
        about: further fields of the card.

    Returns:
        Scores with intervals, floors and cards.
    """
    inputs = EvaluationInputs.of(real, fake, extractor, train)
    return scores_of(inputs, {"data": data or images_fingerprint(real), "split": split, **(about or {})})


def scores_of(inputs: EvaluationInputs, card: Mapping[str, Any], *stages: Stage) -> list[Score]:
    """The scores of these inputs by the metrics of the suite.

    A ValueError says that there are too few images, or such that the extractor does not take.

    Args:
        inputs: image sets and their extractor.
        card: fields that all cards of an evaluation share: data, split and the descriptive ones.
        *stages: which metrics; none given: those of every evaluation.

    Returns:
        Scores with intervals, floors and cards; a metric that these inputs do not allow is left out.
    """
    inputs.extract()
    computed = suite.computed(inputs, suite.metrics_of(*(stages or ("always",))))
    return [_score(inputs, card, *result) for result in computed]


def _score(
    inputs: EvaluationInputs,
    fields: Mapping[str, Any],
    metric: Metric,
    estimate: Estimate,
    floor: float | None,
) -> Score:
    """A score with its card and notes."""
    assert metric.better != "near 1", "a metric of sensitivity studies is no score"
    extractor, train = inputs.extractor, inputs.train
    of_extractor = {"extractor": extractor.name, "extractor_hash": extractor.hash, "resize": extractor.resize}
    card = Card(
        metric=metric.name,
        parameters=metric.parameters_of(inputs),
        version=metric.version,
        n_real=len(inputs.real),
        n_fake=len(inputs.fake),
        **(of_extractor if metric.domain == "features" else OF_PIXELS),
        **fields,
    )
    floor_n = None if train is None or floor is None else len(train)
    notes = _notes(card, extractor, inputs.fake.features, floor_n) if metric.stage == "always" else ()
    return score_of(
        estimate, card, better=metric.better, target=metric.target, floor=floor, floor_n=floor_n, notes=notes
    )


def class_view(inputs: EvaluationInputs, names: Sequence[str] | None) -> ClassView:
    """How confident the classifier is of the samples, and which classes it finds among them.

    Args:
        inputs: of an extractor with classes.
        names: of the classes; None or empty numbers them.

    Returns:
        Shares of the samples, and of the real images.
    """
    classes = inputs.extractor.classes

    def facts(p: np.ndarray) -> tuple[float, tuple[float, ...]]:  # p: (N, classes)
        counts = np.bincount(p.argmax(1), minlength=classes)
        return float((p.max(1) > CONFIDENT).mean()), tuple((counts / len(p)).tolist())

    confident, shares = facts(inputs.fake.probabilities)
    confident_real, shares_real = facts(inputs.real.probabilities)
    return ClassView(
        names=tuple(names) if names else tuple(str(i) for i in range(classes)),
        confident=confident,
        confident_real=confident_real,
        shares=shares,
        shares_real=shares_real,
    )


def subset_rows(total: int, count: int) -> np.ndarray:
    """A fixed random choice of rows.

    Args:
        total: how many rows there are.
        count: how many to choose.

    Returns:
        Row numbers, ascending, (min(total, count),).
    """
    if total <= count:
        return np.arange(total)
    return np.sort(np.random.default_rng(0).choice(total, count, replace=False))


def subset(pixels: np.ndarray, count: int) -> np.ndarray:
    """A fixed random choice of images, in their order in the source.

    Args:
        pixels: (N, H, W, C) uint8.
        count: how many to choose.

    Returns:
        (min(N, count), H, W, C) uint8.
    """
    return np.asarray(pixels[subset_rows(len(pixels), count)])


def images_fingerprint(pixels: np.ndarray) -> str:
    """SHA-256, in hex, of a set of images, (N, H, W, C) uint8, that does not depend on their order."""
    each = sorted(hashlib.sha256(image.tobytes()).digest() for image in np.ascontiguousarray(pixels))
    return hashlib.sha256(f"{pixels.shape[1:]}".encode() + b"".join(each)).hexdigest()


def score_of(
    estimate: Estimate,
    card: Card,
    *,
    better: Literal["lower", "higher"] = "lower",
    target: Literal["expectation", "population"] = "expectation",
    floor: float | None = None,
    floor_n: int | None = None,
    notes: tuple[str, ...] = (),
) -> Score:
    """An estimate and its card as a score, named after its extractor.

    Args:
        estimate: value and interval.
        card: of the score.
        better: which direction is better.
        target: what the interval is for; see `Score.target`.
        floor: the same metric of training images in the samples' place.
        floor_n: how many training images made the floor.
        notes: what to beware of.

    Returns:
        The score.
    """
    return Score(
        name=f"{card.metric}[{card.extractor}]",
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        method=estimate.method,
        floor=floor,
        floor_n=floor_n,
        better=better,
        target=target,
        resampling=estimate.resampling,
        trials=estimate.trials,
        notes=notes,
        card=card,
    )


def _notes(card: Card, extractor: Extractor, fake: np.ndarray, floor_n: int | None) -> tuple[str, ...]:
    """What to beware of; fake: features of the samples, (M, D)."""
    notes = []
    fewest = min(card.n_real, card.n_fake)
    if card.metric == "FID" and fewest <= extractor.width:
        notes.append(
            f"{fewest} images for {extractor.width} features: mostly bias, compare with the floor and see KID"
        )
    if floor_n is not None and floor_n < card.n_fake:
        notes.append(f"the floor is of {floor_n} training images, all there are")
    if extractor.accuracy is not None and extractor.accuracy < CONFIDENT:
        notes.append(f"the classifier is right about {extractor.accuracy:.0%} of the test images")
    learned_from = getattr(extractor, "images", None)
    if learned_from is not None and learned_from < FEW:
        notes.append(
            f"the features were learned from {learned_from} images alone: they show gross faults only"
        )
    if bool((fake == fake[0]).all()):
        notes.append("all samples have the same features")
    return tuple(notes)
