"""Classification accuracy score: what a classifier learns from samples, by its accuracy on real test images.

Three forms: trained on samples, on real images, and on both. Whether samples help as data augmentation is
the last minus the second.

References:
    Ravuri, Vinyals (2019): Classification accuracy score for conditional generative models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from triptych.core import rng as streams
from triptych.core.config import Record
from triptych.core.threads import one_thread
from triptych.evaluation.classifier import fit_classifier, steps_for, untrained
from triptych.inference.pipeline import SAMPLING_BATCH, Pipeline
from triptych.metrics.extractors.base import NetworkExtractor, Pixels
from triptych.metrics.score import LABELS_DRAWN
from triptych.metrics.stats.binomial import clopper_pearson
from triptych.metrics.stats.quantiles import t_quantile

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

VERSION = 1
SAMPLES = 2000
TRAININGS = 3
TWO_LEVELS = 3  # trainings from which on the interval holds for trainings that were not run, too
FIRST_SEED = 1_000_000  # of the samples that the other scores are computed from
FORMS = ("fake", "real", "both")

LabeledSamples = tuple[np.ndarray, np.ndarray]  # pixels (N, H, W, C) uint8, labels (N,) int
Progress = Callable[[int, int], None]  # (trainings done, in all)


class Accuracy(Record):
    """Test accuracy of classifiers that were trained on one kind of images."""

    value: float
    """Mean over the trainings."""
    low: float
    """Exact binomial 95% interval over test images, of these trainings."""
    high: float
    each: tuple[float, ...]
    """Of every training."""


class ClassificationAccuracyScore(Record):
    """The classification accuracy score in three forms, and whether samples help as augmentation."""

    fake: Accuracy
    real: Accuracy
    both: Accuracy
    gain: float
    """Accuracy of both minus that of real images alone."""
    gain_low: float
    """Ends of its paired 95% interval."""
    gain_high: float
    method: str
    """How that interval was made, and what it holds for."""
    verdict: Literal["helps", "hurts", "no difference seen"]
    sentence: str
    chance: float
    """Accuracy of always predicting the most frequent class of the test images."""
    n_fake: int
    n_real: int
    """Real training images."""
    n_test: int
    steps: int
    """Optimizer steps of every training: the same, so more images are not more training."""
    trainings: int
    labels: str
    """How the samples' labels were drawn."""


def classification_accuracy_score(
    model: Pipeline | LabeledSamples,
    dataset: Dataset,
    samples: int = SAMPLES,
    *,
    trainings: int = TRAININGS,
    steps: int | None = None,
    first_seed: int = FIRST_SEED,
    progress: Progress | None = None,
) -> ClassificationAccuracyScore:
    """Train the small classifier on samples, on real images, and on both; test each on real images.

    All three see the same number of batches and start from the same weights, `trainings` times with
    other weights and orders. In "both" an image is drawn from samples and real ones alike, so more
    samples than real images are most of a batch. With three trainings or more the interval of the gain
    holds for trainings that were not run, too; with fewer the verdict may be due to chance in one of them.
    Deterministic, on one thread.

    Args:
        model: a conditional model, whose samples are drawn by the training data's class distribution, or
            (pixels, labels) of samples drawn before, (M, H, W, C) uint8 and (M,) int.
        dataset: a source with labels.
        samples: how many to draw, or of those given, to use at most; at least 2.
        trainings: of each form, at least 1.
        steps: of every training; None takes as many as the source's own extractor is trained for.
        first_seed: of the samples.
        progress: called with trainings done and trainings in all.

    Returns:
        The three accuracies, and the gain with its interval.

    Raises:
        ValueError: for a model or a source without labels, for unfit images or labels, and for numbers below
            their least.
    """
    if dataset.train.labels is None or dataset.test.labels is None or dataset.spec.classes < 2:
        raise ValueError(f"{dataset.name} has no labels: there is nothing for a classifier to learn")
    if trainings < 1 or samples < 2 or (steps is not None and steps < 1):
        raise ValueError(
            f"at least 1 training, 2 samples and 1 step are needed, got {trainings}, {samples} and {steps}"
        )
    drawn = isinstance(model, Pipeline)
    fake = (
        _draw(model, samples, first_seed) if isinstance(model, Pipeline) else _given(model, samples, dataset)
    )
    real = (dataset.train.pixels, np.asarray(dataset.train.labels))
    both = (_Joined(fake[0], real[0]), np.concatenate([fake[1], real[1]]))
    budget = steps or steps_for(len(real[0]))
    sets: dict[str, tuple[Pixels, np.ndarray]] = {"fake": fake, "real": real, "both": both}
    right: dict[str, list[np.ndarray]] = {form: [] for form in FORMS}
    with one_thread():
        for training in range(trainings):
            for form in FORMS:
                right[form].append(_right(*sets[form], dataset, budget, training))
                if progress is not None:
                    progress(sum(map(len, right.values())), trainings * len(FORMS))
    return _record(
        {form: np.stack(rows) for form, rows in right.items()},
        np.asarray(dataset.test.labels),
        n_fake=len(fake[0]),
        n_real=len(real[0]),
        steps=budget,
        labels=LABELS_DRAWN if drawn else "given",
    )


def paired_interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float, str]:
    """The second accuracy minus the first, with a 95% interval.

    Over test images: the mean of the differences image by image, so that images that both find hard cancel,
    with half an image added to each of the four cells of the paired table, which keeps a width where the two
    agree everywhere. With three trainings or more the variance between them is added, with Satterthwaite's
    degrees of freedom.

    Args:
        first: whether each classification is correct, (R, N) bool, of R trainings and N test images.
        second: the same of the other classifiers, for the same images.

    Returns:
        (difference, low, high, method).

    Raises:
        ValueError: for tables of unlike or no entries.

    References:
        Agresti, Min (2005): Simple improved confidence intervals for comparing matched proportions.
        Satterthwaite (1946): An approximate distribution of estimates of variance components.
    """
    if first.shape != second.shape or first.ndim != 2 or first.size == 0:
        raise ValueError(f"expected two tables (trainings, images) alike, got {first.shape}, {second.shape}")
    difference = second.astype(np.float64) - first  # (R, N)
    trainings, images = difference.shape
    each = difference.mean(0)  # (N,)
    n = images + 2  # four cells, half an image in each: two of them with a difference, -1 and 1
    center = each.sum() / n
    of_images = (((each**2).sum() + 1) / n - center**2) / n
    if trainings < TWO_LEVELS:
        reach = t_quantile(np.inf) * np.sqrt(of_images)
        method = "paired over test images (Agresti and Min); these trainings only"
    else:
        of_trainings = difference.mean(1).var(ddof=1) / trainings
        variance = of_images + of_trainings
        dof = variance**2 / (of_images**2 / (n - 1) + of_trainings**2 / (trainings - 1))
        reach = t_quantile(dof) * np.sqrt(variance)
        method = f"paired over test images and {trainings} trainings (t)"
    return float(each.mean()), float(center - reach), float(center + reach), method


def _record(
    right: dict[str, np.ndarray], test: np.ndarray, *, n_fake: int, n_real: int, steps: int, labels: str
) -> ClassificationAccuracyScore:
    gain, low, high, method = paired_interval(right["real"], right["both"])
    trainings, n_test = right["real"].shape
    verdict: Literal["helps", "hurts", "no difference seen"] = "no difference seen"
    if low > 0 or high < 0:
        verdict = "helps" if low > 0 else "hurts"
    points = f"{gain * 100:+.1f} points, {low * 100:+.1f} to {high * 100:+.1f}"
    added = f"{n_fake} samples added to {n_real} real training images"
    sentence = f"{added}: {verdict} with n = {n_test} test images ({points})"
    if trainings < TWO_LEVELS:
        sentence += ", of these trainings only: another may differ by as much"
    return ClassificationAccuracyScore(
        **{form: _accuracy(right[form]) for form in FORMS},
        gain=gain,
        gain_low=low,
        gain_high=high,
        method=method,
        verdict=verdict,
        sentence=sentence,
        chance=float(np.bincount(test).max() / len(test)),
        n_fake=n_fake,
        n_real=n_real,
        n_test=n_test,
        steps=steps,
        trainings=trainings,
        labels=labels,
    )


def _accuracy(right: np.ndarray) -> Accuracy:
    """right: (R, N) bool."""
    low, high = clopper_pearson(float(right.mean(0).sum()), right.shape[1])
    return Accuracy(value=float(right.mean()), low=low, high=high, each=tuple(right.mean(1).tolist()))


def _right(pixels: Pixels, labels: np.ndarray, dataset: Dataset, steps: int, training: int) -> np.ndarray:
    """Which test images a classifier trained on `pixels` classifies correctly: (N,) bool."""
    source = streams.generator(dataset.fingerprint, "usefulness", VERSION, training)
    network = fit_classifier(untrained(dataset, training), pixels, labels, steps, source, junk=False)
    classifier = NetworkExtractor(network, f"{dataset.name}-usefulness", dataset.spec.size)
    return classifier.logits(np.asarray(dataset.test.pixels)).argmax(1) == np.asarray(dataset.test.labels)


class _Joined:
    """Two arrays of images as one, without a copy of either."""

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        cut = np.searchsorted(rows, len(self.first))  # rows are sorted
        return np.concatenate([self.first[rows[:cut]], self.second[rows[cut:] - len(self.first)]])


def _draw(model: Pipeline, count: int, first_seed: int) -> LabeledSamples:
    """Samples and the labels they were drawn for, in whole batches: a sample's bits depend on its seed."""
    if not model.model.conditional:
        raise ValueError(
            f"this {model.model.title} was trained without labels, so its samples have none to train a "
            "classifier on: train a conditional model, or give (pixels, labels)"
        )
    pixels, labels = [], []
    for start in range(first_seed, first_seed + count, SAMPLING_BATCH):
        batch = range(start, start + SAMPLING_BATCH)
        drawn_for = model.labels_for(batch)
        assert drawn_for is not None
        pixels.append(model.sample(batch, labels=drawn_for))
        labels.append(drawn_for.numpy())
    return np.concatenate(pixels)[:count], np.concatenate(labels)[:count]


def _given(samples: LabeledSamples, most: int, dataset: Dataset) -> LabeledSamples:
    pixels, labels = np.asarray(samples[0]), np.asarray(samples[1])
    shape, classes = dataset.train.pixels.shape[1:], dataset.spec.classes
    if pixels.dtype != np.uint8 or pixels.shape[1:] != shape or len(pixels) < 2:
        raise ValueError(f"expected at least 2 samples (N, {shape}) uint8, got {pixels.shape} {pixels.dtype}")
    if labels.shape != (len(pixels),) or labels.dtype.kind not in "iu":
        raise ValueError(f"expected one whole label a sample, got {labels.shape} {labels.dtype} labels")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}, got {labels.min()}..{labels.max()}")
    return pixels[:most], labels[:most].astype(np.int64)
