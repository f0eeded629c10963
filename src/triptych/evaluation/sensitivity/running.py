"""Partitions a source's images, corrupts them and measures every metric on each set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from triptych.data.dataset import Dataset, Split, fingerprint
from triptych.data.load import load
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.sensitivity.corruptions import (
    Corruption,
    CorruptionSource,
    LabeledImages,
    corruptions,
)
from triptych.evaluation.sensitivity.measuring import BETTER, MetricBench, Results
from triptych.evaluation.sensitivity.records import Graded, Row, SensitivityStudy, reading, trend
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.stats.intervals import MIN_IMAGES

KINDS = (
    "honest",
    "blur",
    "noise",
    "JPEG",
    "resize filter",
    "salt and pepper",
    "checkerboard",
    "low contrast",
    "posterized",
    "blocks shuffled",
    "halves swapped",
    "upside down",
    "dropped classes",
    "duplicates",
    "one fine image",
    "copies",
    "disguised copies",
)
MIN_THIRD = 300  # images in a third of the test split; with fewer the whole source is split anew
MAX_TRAIN = 10_000  # training images in which copies are searched for
Progress = Callable[[str, int, int], None]  # (what: "extractor" or "corruptions", done, in all)


@dataclass(frozen=True)
class Partition:
    """A source's images by their role in the study: no image has two."""

    dataset: Dataset  # its training split is what the extractor learns from
    reference: LabeledImages
    honest: LabeledImages
    second_honest: LabeledImages
    train: LabeledImages
    rule: str


def study_sensitivity(
    source: Any,
    samples: int = 2000,
    features: str | Extractor = "auto",
    seed: int = 0,
    *,
    kinds: Sequence[str] = KINDS,
    size: int | None = None,
    progress: Progress | None = None,
) -> SensitivityStudy:
    """Corrupt real images of a source in known ways and see which metric notices.

    An honest set of real images is measured against a reference of other ones, then the same images
    corrupted. A metric noticed if its value got worse, each of the two values outside the other's 95%
    interval; it was fooled if the value got better in the same sense; else it missed. A corrupted set that
    is smaller (dropped classes) is compared with as many honest images. Only the metrics of memorization
    know the training images, so only they can notice copies. A ValueError says what is wrong with the
    arguments.

    Args:
        source: as for `data.load`, or a Dataset.
        samples: images in the reference and in the honest set, at least 20; fewer where the source has fewer.
        features: "auto", "domain-cnn", "self-supervised", "random-conv" or an extractor.
        seed: of the partition and of the noise.
        kinds: of corruption, some of KINDS.
        size: side in pixels; None the source's own.
        progress: called with what is done ("extractor" or "corruptions"), how much of it, and of how much.

    Returns:
        The study.
    """
    dataset = source if isinstance(source, Dataset) else load(source, size=size)
    parts = partition(dataset, samples, seed)
    extractor = _extractor(parts, features, progress)
    source_images = _source(parts, extractor, seed)
    rows, graded = _measure_all(
        MetricBench(parts.reference, parts.train, extractor), source_images, kinds, progress
    )
    honest, rest = rows[0], rows[1:]
    return SensitivityStudy(
        source=dataset.name,
        data=dataset.fingerprint,
        partition=parts.rule,
        extractor=extractor.name,
        extractor_hash=extractor.hash,
        extractor_accuracy=extractor.accuracy,
        features=extractor.width,
        n=len(parts.honest),
        n_train=len(parts.train),
        seed=seed,
        better=BETTER,
        honest=honest.readings,
        rows=tuple(rest),
        graded=tuple(graded),
    )


def _extractor(parts: Partition, features: str | Extractor, progress: Progress | None) -> Extractor:
    if not isinstance(features, str):
        return features
    return extractor_for(parts.dataset, features, progress)


def _measure_all(
    bench: MetricBench, source_images: CorruptionSource, kinds: Sequence[str], progress: Progress | None
) -> tuple[list[Row], list[Graded]]:
    """A row for the honest set itself and one for each corrupted set; then each metric along each kind."""
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise ValueError(f"unknown kind of corruption {unknown[0]!r}: there are {', '.join(KINDS)}")
    selected = [corruption for corruption in corruptions(source_images) if corruption.kind in kinds]
    n = len(source_images.honest)
    honest = {n: bench.measure(source_images.honest)}
    itself = Corruption("honest", "itself", lambda source_images: source_images.honest)
    rows = [_row(itself, n, honest[n], honest[n])]
    steps: dict[str, list[tuple[Results, Results]]] = {}
    for done, corruption in enumerate(selected):
        if progress is not None:
            progress("corruptions", done, len(selected))
        corrupted = corruption.make(source_images)
        count = len(corrupted)
        if count < MIN_IMAGES:  # too few for an interval: all but one class dropped from a small set
            continue
        if count not in honest:
            honest[count] = bench.measure(source_images.honest.at(np.arange(count)))
        results = bench.measure(corrupted)
        rows.append(_row(corruption, count, results, honest[count]))
        if corruption.ordered:
            steps.setdefault(corruption.kind, []).append((results, honest[count]))
    return rows, [_graded(kind, name, taken) for kind, taken in steps.items() for name in BETTER]


def _row(corruption: Corruption, n: int, results: Results, honest: Results) -> Row:
    readings = tuple(reading(name, results[name], honest[name]) for name in BETTER)
    return Row(corruption=corruption.kind, strength=corruption.strength, n=n, readings=readings)


def _graded(kind: str, metric: str, pairs: list[tuple[Results, Results]]) -> Graded:
    steps = [(results[metric], honest[metric]) for results, honest in pairs]
    return Graded(corruption=kind, metric=metric, trend=trend(metric, steps))


def partition(dataset: Dataset, samples: int, seed: int) -> Partition:
    """Divide a source among extractor training, the reference, and two honest sets, by a seeded shuffle.

    The test split in thirds; where a third would be under 300 images the whole source is split anew, half of
    it for the extractor and a sixth for each other part.

    Args:
        dataset: the source.
        samples: images in each set, at most.
        seed: of the shuffle.

    Returns:
        The parts.

    Raises:
        ValueError: where a third has fewer than 20 images.
    """
    shuffle = np.random.default_rng(seed)
    rule = "thirds of the test split"
    if len(dataset.test) // 3 < MIN_THIRD:
        dataset = _anew(dataset, shuffle)
        rule = "parts anew: half for the extractor, a sixth each"
    pool = LabeledImages(dataset.test.pixels, dataset.test.labels)
    count = min(samples, len(pool) // 3)
    if count < MIN_IMAGES:
        raise ValueError(
            f"the study needs at least {MIN_IMAGES} images in each of three sets, got samples={samples} of "
            f"{len(pool)} images that the extractor has not seen: give more"
        )
    order = shuffle.permutation(len(pool))
    reference, honest, second = (pool.at(order[k * count : (k + 1) * count]) for k in range(3))
    training = LabeledImages(dataset.train.pixels, dataset.train.labels)
    train = training.at(shuffle.permutation(len(training))[:MAX_TRAIN])
    return Partition(dataset, reference, honest, second, train, rule)


def _anew(dataset: Dataset, shuffle: np.random.Generator) -> Dataset:
    """The same images, half of them for training and half for testing."""
    both = (dataset.train, dataset.test)
    pixels = np.concatenate([split.pixels for split in both])
    known = [split.labels for split in both if split.labels is not None]
    labels = np.concatenate(known) if len(known) == 2 else None
    order = shuffle.permutation(len(pixels))
    halves = (order[: len(order) // 2], order[len(order) // 2 :])
    train, test = (Split(pixels[rows], None if labels is None else labels[rows]) for rows in halves)
    return replace(dataset, train=train, test=test, fingerprint=fingerprint(train, test))


def corruption_source(
    source: Any,
    samples: int = 2000,
    features: str | Extractor = "auto",
    seed: int = 0,
    *,
    size: int | None = None,
) -> CorruptionSource:
    """What `study_sensitivity` with the same arguments corrupts.

    Args:
        source: as for `data.load`, or a Dataset.
        samples: images in the honest set, at most.
        features: name of an extractor, or an extractor.
        seed: of the partition and of the noise.
        size: side in pixels; None the source's own.

    Returns:
        The images.
    """
    parts = partition(source if isinstance(source, Dataset) else load(source, size=size), samples, seed)
    return _source(parts, _extractor(parts, features, None), seed)


def _source(parts: Partition, extractor: Extractor, seed: int) -> CorruptionSource:
    return CorruptionSource(
        parts.honest, parts.train, _prototypes(parts.honest, extractor), seed, parts.second_honest
    )


def _prototypes(honest: LabeledImages, extractor: Extractor) -> np.ndarray | None:
    """For each class, the row of the image that the classifier is most confident about; without a classifier,
    of the one nearest to the class mean."""
    if honest.labels is None:
        return None
    if extractor.classes:
        typicality = extractor.probabilities(honest.pixels)[np.arange(len(honest)), honest.labels]  # (N,)
    else:
        x = extractor(honest.pixels).astype(np.float64)
        means = {label: x[honest.labels == label].mean(0) for label in np.unique(honest.labels).tolist()}
        typicality = -np.linalg.norm(x - np.stack([means[label] for label in honest.labels.tolist()]), axis=1)
    each = [np.flatnonzero(honest.labels == label) for label in np.unique(honest.labels)]
    return np.array([rows[typicality[rows].argmax()] for rows in each])
