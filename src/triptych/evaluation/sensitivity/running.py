"""Deals a source's pictures, spoils them and lets every metric look."""

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
    "one fine picture",
    "copies",
    "disguised copies",
)
ENOUGH = 300  # pictures in a third of the test split; with fewer the whole source is dealt anew
MOST_TRAIN = 10_000  # training pictures in which copies are looked for
Progress = Callable[[str, int, int], None]  # (what: "extractor" or "corruptions", done, in all)


@dataclass(frozen=True)
class Partition:
    """A source's pictures by their parts in the probe: no picture has two."""

    dataset: Dataset  # its train split is the judge's
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
    """Spoil honest pictures of a source in known ways and see which metric notices.

    An honest set of real pictures is measured against a reference of other ones, then the same
    pictures spoilt. A metric noticed if its value got worse, each of the two values outside the
    other's 95 % interval; it was fooled if the value got better in the same sense; else it missed.
    A spoilt set that is smaller (dropped classes) is held against as many honest pictures. Only the
    copy metrics know the training pictures, so only they can notice copies.

    source: as for `data.load`, or a Dataset. samples: pictures in the reference and in the honest
    set, at least 20; fewer where the source does not have them. features: "auto", "domain-cnn",
    "self-supervised", "random-conv" or an Extractor. seed: of the deal and of the noise. kinds: some of
    KINDS. size: side in pixels, None for the source's own. Raises ValueError for too few pictures,
    unknown kinds or features.
    """
    dataset = source if isinstance(source, Dataset) else load(source, size=size)
    dealt = partition(dataset, samples, seed)
    judge = _judge(dealt, features, progress)
    stock = _stocked(dealt, judge, seed)
    rows, graded = _looked_at(MetricBench(dealt.reference, dealt.train, judge), stock, kinds, progress)
    honest, rest = rows[0], rows[1:]
    return SensitivityStudy(
        source=dataset.name,
        data=dataset.fingerprint,
        partition=dealt.rule,
        extractor=judge.name,
        extractor_hash=judge.hash,
        extractor_accuracy=judge.accuracy,
        features=judge.width,
        n=len(dealt.honest),
        n_train=len(dealt.train),
        seed=seed,
        better=BETTER,
        honest=honest.readings,
        rows=tuple(rest),
        graded=tuple(graded),
    )


def _judge(dealt: Partition, features: str | Extractor, progress: Progress | None) -> Extractor:
    if not isinstance(features, str):
        return features
    return extractor_for(dealt.dataset, features, progress)


def _looked_at(
    bench: MetricBench, stock: CorruptionSource, kinds: Sequence[str], progress: Progress | None
) -> tuple[list[Row], list[Graded]]:
    """A row for the honest set itself and one for each spoilt set; then each metric along each kind."""
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise ValueError(f"unknown kind {unknown[0]!r}: there are {', '.join(KINDS)}")
    chosen = [corruption for corruption in corruptions(stock) if corruption.kind in kinds]
    whole = len(stock.honest)
    honest = {whole: bench.measure(stock.honest)}
    itself = Corruption("honest", "itself", lambda stock: stock.honest)
    rows = [_row(itself, whole, honest[whole], honest[whole])]
    steps: dict[str, list[tuple[Results, Results]]] = {}
    for done, corruption in enumerate(chosen):
        if progress is not None:
            progress("corruptions", done, len(chosen))
        made = corruption.make(stock)
        count = len(made)
        if count < MIN_IMAGES:  # too few for an interval: all but one class dropped from a small set
            continue
        if count not in honest:
            honest[count] = bench.measure(stock.honest.at(np.arange(count)))
        found = bench.measure(made)
        rows.append(_row(corruption, count, found, honest[count]))
        if corruption.ordered:
            steps.setdefault(corruption.kind, []).append((found, honest[count]))
    return rows, [_graded(kind, name, taken) for kind, taken in steps.items() for name in BETTER]


def _row(corruption: Corruption, pictures: int, found: Results, honest: Results) -> Row:
    readings = tuple(reading(name, found[name], honest[name]) for name in BETTER)
    return Row(corruption=corruption.kind, strength=corruption.strength, n=pictures, readings=readings)


def _graded(kind: str, metric: str, taken: list[tuple[Results, Results]]) -> Graded:
    steps = [(found[metric], honest[metric]) for found, honest in taken]
    return Graded(corruption=kind, metric=metric, trend=trend(metric, steps))


def partition(dataset: Dataset, samples: int, seed: int) -> Partition:
    """Who is the judge's, who the reference, who the honest set, by a seeded shuffle.

    The test split in thirds; where a third would be under 300 pictures the whole source is dealt
    anew, half of it to the judge and a sixth to each other part. Raises ValueError where a third
    has fewer than 20 pictures.
    """
    shuffle = np.random.default_rng(seed)
    rule = "thirds of the test split"
    if len(dataset.test) // 3 < ENOUGH:
        dataset = _anew(dataset, shuffle)
        rule = "dealt anew: half for the judge, a sixth each"
    pool = LabeledImages(dataset.test.pixels, dataset.test.labels)
    count = min(samples, len(pool) // 3)
    if count < MIN_IMAGES:
        raise ValueError(
            f"the probe needs at least {MIN_IMAGES} pictures in each of three sets, got samples={samples} of "
            f"{len(pool)} pictures that the judge has not seen: give more"
        )
    order = shuffle.permutation(len(pool))
    reference, honest, again = (pool.at(order[k * count : (k + 1) * count]) for k in range(3))
    seen = LabeledImages(dataset.train.pixels, dataset.train.labels)
    train = seen.at(shuffle.permutation(len(seen))[:MOST_TRAIN])
    return Partition(dataset, reference, honest, again, train, rule)


def _anew(dataset: Dataset, shuffle: np.random.Generator) -> Dataset:
    """The same pictures, half of them for training and half for testing."""
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
    """What `probe` with the same arguments spoils."""
    dealt = partition(source if isinstance(source, Dataset) else load(source, size=size), samples, seed)
    return _stocked(dealt, _judge(dealt, features, None), seed)


def _stocked(dealt: Partition, judge: Extractor, seed: int) -> CorruptionSource:
    return CorruptionSource(
        dealt.honest, dealt.train, _finest(dealt.honest, judge), seed, dealt.second_honest
    )


def _finest(honest: LabeledImages, judge: Extractor) -> np.ndarray | None:
    """For each class the picture the judge is surest of; without classes, the nearest to their mean."""
    if honest.labels is None:
        return None
    if judge.classes:
        fine = judge.probabilities(honest.pixels)[np.arange(len(honest)), honest.labels]  # (N,)
    else:
        x = judge(honest.pixels).astype(np.float64)
        means = {label: x[honest.labels == label].mean(0) for label in np.unique(honest.labels).tolist()}
        fine = -np.linalg.norm(x - np.stack([means[label] for label in honest.labels.tolist()]), axis=1)
    each = [np.flatnonzero(honest.labels == label) for label in np.unique(honest.labels)]
    return np.array([rows[fine[rows].argmax()] for rows in each])
