"""Evaluation of a model: draw samples and score them against the source's test images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from triptych._version import __version__
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.detailed import evaluate_in_detail
from triptych.evaluation.reconstruction import (
    LABELS_RECONSTRUCTIONS,
    Reconstruction,
    measure_reconstruction,
    reconstruct_all,
)
from triptych.evaluation.records import Evaluation, ExtractorInfo, Sampling
from triptych.evaluation.scoring import class_view, images_fingerprint, scores_of, subset_rows
from triptych.evaluation.selection import SplitName, held_out
from triptych.evaluation.two_sample import two_sample_score
from triptych.inference.pipeline import SAMPLING_BATCH, Pipeline, load
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.score import LABELS_DRAWN, LABELS_NONE, Score
from triptych.metrics.stats.intervals import MIN_IMAGES

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

FIRST_SEED = 1_000_000  # far from the seeds of the sample grids drawn during training
MOST_REAL = 10_000  # test images; of a larger test split, a fixed random choice
Progress = Callable[[str, int, int], None]  # (what: "extractor" or "samples", done, in all)


def evaluate(
    model: Pipeline | Path | str,
    samples: int = 2000,
    features: str | Extractor = "auto",
    **options: Any,
) -> list[Score]:
    """Score a model: `evaluate_run`, but the scores alone.

    Args:
        model: a pipeline, or the path of a run.
        samples: how many to draw, at least 20.
        features: name of a feature extractor, or an extractor; see `extractor_for`.
        **options: those of `evaluate_run`.

    Returns:
        The scores, with intervals, floors and cards.
    """
    return list(evaluate_run(model, samples, features, **options).scores)


def evaluate_run(
    model: Pipeline | Path | str,
    samples: int = 2000,
    features: str | Extractor = "auto",
    *,
    data: Dataset | None = None,
    controls: Mapping[str, Any] | None = None,
    first_seed: int = FIRST_SEED,
    most_real: int = MOST_REAL,
    progress: Progress | None = None,
    detailed: bool = False,
    save: bool = True,
) -> Evaluation:
    """Draw samples and score them against the test split of the data that the model was trained on.

    A ValueError says what is wrong with the data, the number of samples, the features or the controls.

    Args:
        model: a pipeline, or the path of a run.
        samples: how many to draw, at least 20.
        features: "auto" (the source's own classifier, or a network trained on the images alone where it
            has no labels), "domain-cnn", "self-supervised", "random-conv", a published network such as
            "inception" (see `extractor_for`), or an extractor.
        data: the source, where the run cannot find it by itself.
        controls: sampling options; those left out have the model's defaults.
        first_seed: of the samples, which come from consecutive seeds.
        most_real: of a larger test split, a fixed random choice of so many images.
        progress: called with what is done ("extractor" or "samples"), how much of it, and of how much.
        detailed: compute further scores, memorization, class diversity and latent geometry too, in about
            twice the time.
        save: append the evaluation to the run's metrics.jsonl.

    Returns:
        The evaluation.
    """
    model = model if isinstance(model, Pipeline) else load(model)
    check_sample_count(samples)
    dataset = data_of(model, data)
    extractor = (
        features
        if not isinstance(features, str)
        else extractor_for(dataset, features, progress, model.device)
    )
    if model.model.reconstructs:
        drawn = draw_reconstructions(model, dataset, samples, progress)
        return score_samples(model, dataset, extractor, drawn, "test", most_real, False, save)
    drawn = draw(model, samples, first_seed, controls or {}, progress)
    return score_samples(model, dataset, extractor, drawn, "test", most_real, detailed, save)


def check_sample_count(samples: int) -> None:
    """Raise ValueError for fewer samples than an interval needs."""
    if samples < MIN_IMAGES:
        raise ValueError(f"a score with an interval needs at least {MIN_IMAGES} samples, got {samples}")


@dataclass(frozen=True)
class DrawnSamples:
    """Samples of a model and how they were drawn."""

    pixels: np.ndarray  # (N, H, W, C) uint8
    sampling: Sampling
    about: dict[str, Any]  # the descriptive fields of their scores' cards


def score_samples(
    model: Pipeline,
    dataset: Dataset,
    extractor: Extractor,
    drawn: DrawnSamples,
    split: SplitName = "test",
    most_real: int = MOST_REAL,
    detailed: bool = False,
    save: bool = True,
) -> Evaluation:
    """Score drawn samples against the real images of a split.

    Args:
        model: the model that drew them.
        dataset: its source.
        extractor: gives features, and probabilities where it has classes.
        drawn: the samples.
        split: "test", or one of its fixed halves: "selection", to choose by, and "report", to quote then.
        most_real: of a larger split, a fixed random choice of so many images.
        detailed: evaluate in detail too; see `evaluate_in_detail`.
        save: append the evaluation to the run's metrics.jsonl.

    Returns:
        The evaluation.

    Raises:
        ValueError: for a split with too few images for an interval.
    """
    rows = held_out(len(dataset.test), split)
    if len(rows) < MIN_IMAGES:
        where = "test split" if split == "test" else f"{split} half of the test split"
        raise ValueError(
            f"the {where} of {dataset.name} has {len(rows)} images, and a score with an interval needs "
            f"{MIN_IMAGES}: give more images"
        )
    rows = rows[subset_rows(len(rows), most_real)]
    train_rows = subset_rows(len(dataset.train), len(drawn.pixels))
    own_classes = extractor.classes > 0 and extractor.classes == dataset.spec.classes  # and not ImageNet's
    inputs = EvaluationInputs.of(
        np.asarray(dataset.test.pixels[rows]),
        drawn.pixels,
        extractor,
        np.asarray(dataset.train.pixels[train_rows]),
        _labels(model, dataset, drawn, rows) if detailed else None,
        with_probabilities=own_classes or detailed,
        stored=True,
    )
    where = split if split == "test" else f"{split} half of test"
    card = {"data": dataset.fingerprint, "split": where, **drawn.about}
    scores = scores_of(inputs, card)
    details = None
    if detailed:
        details = evaluate_in_detail(model, dataset, inputs, card, train_rows)
        scores = [*scores, *details.scores]
    evaluation = Evaluation(
        scores=tuple(scores),
        classes=class_view(inputs, dataset.class_names) if own_classes else None,
        sampling=drawn.sampling,
        extractor=ExtractorInfo(
            name=extractor.name, hash=extractor.hash, width=extractor.width, accuracy=extractor.accuracy
        ),
        step=drawn.about["step"],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        detailed=details,
        reconstruction=_reconstruction(model, dataset, drawn, tuple(scores)),
    )
    if save:
        save_evaluation(model, evaluation)
    return evaluation


def _reconstruction(
    model: Pipeline, dataset: Dataset, drawn: DrawnSamples, scores: tuple[Score, ...]
) -> Reconstruction | None:
    """Errors of drawn reconstructions; None for a model that draws samples."""
    if not model.model.reconstructs:
        return None
    rows = subset_rows(len(dataset.test), len(drawn.pixels))
    return measure_reconstruction(model, np.asarray(dataset.test.pixels[rows]), drawn.pixels, scores)


def _labels(
    model: Pipeline, dataset: Dataset, drawn: DrawnSamples, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Classes of the real images in these rows and of the samples, or None where either are unknown."""
    first = drawn.sampling.first_seed
    drawn_for, known = model.labels_for(range(first, first + len(drawn.pixels))), dataset.test.labels
    return None if drawn_for is None or known is None else (known[rows], drawn_for.numpy())


def save_evaluation(model: Pipeline, evaluation: Evaluation) -> None:
    """Append an evaluation to its run's metrics.jsonl, if there is a run. A RunError says why it cannot.

    Args:
        model: the model that was evaluated.
        evaluation: its evaluation.
    """
    if model.run is not None:
        model.run.append_metrics(evaluation.model_dump(mode="json"))


def data_of(model: Pipeline, given: Dataset | None = None) -> Dataset:
    """The source to evaluate a model against; a DataError says why it is not what the run was trained on.

    Args:
        model: a model, of a run or of none.
        given: the source; None opens the run's own.

    Returns:
        The source.

    Raises:
        ValueError: for a model of no run where no source is given.
    """
    if model.run is None:
        if given is None:
            raise ValueError("this model belongs to no run: say what to measure it against with data=...")
        return given
    from triptych.data.load import reopen

    return reopen(model.run.card.data, model.run.path, given)


def draw(
    model: Pipeline,
    count: int,
    first_seed: int = FIRST_SEED,
    controls: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> DrawnSamples:
    """Draw samples from consecutive seeds.

    Always whole batches, the last one cut: the bits of a sample then depend on its seed alone.

    Args:
        model: the model.
        count: how many, at least 20.
        first_seed: the first seed.
        controls: sampling options; None: the model's defaults.
        progress: called with "samples", how many are drawn, and of how many.

    Returns:
        The samples with how they were drawn.
    """
    check_sample_count(count)
    controls, parts = controls or {}, []
    began = time.perf_counter()
    for start in range(0, count, SAMPLING_BATCH):
        first = first_seed + start
        parts.append(model.sample(range(first, first + SAMPLING_BATCH), **controls))
        if progress is not None:
            progress("samples", min(start + SAMPLING_BATCH, count), count)
    seconds = time.perf_counter() - began
    drawn = len(parts) * SAMPLING_BATCH
    facts = Sampling(
        n=count,
        first_seed=first_seed,
        batch=SAMPLING_BATCH,
        seconds=seconds,
        seconds_per_sample=seconds / drawn,
        device=str(model.device),
    )
    return DrawnSamples(np.concatenate(parts)[:count], facts, _about(model, first_seed, count, controls))


def draw_reconstructions(
    model: Pipeline, dataset: Dataset, count: int, progress: Progress | None = None
) -> DrawnSamples:
    """Reconstruct test images, in the place of samples of a model that has no prior to draw from.

    Args:
        model: an autoencoder.
        dataset: its source.
        count: how many, at least 20; all test images if there are fewer.
        progress: called with "samples", how many are done, and of how many.

    Returns:
        The reconstructions with how they were made.
    """
    check_sample_count(count)
    rows = subset_rows(len(dataset.test), count)
    pixels, seconds = reconstruct_all(model, np.asarray(dataset.test.pixels[rows]), progress)
    facts = Sampling(
        n=len(rows),
        first_seed=0,
        batch=SAMPLING_BATCH,
        seconds=seconds,
        seconds_per_sample=seconds / len(rows),
        device=str(model.device),
    )
    about = _about(model, 0, len(rows), {})
    return DrawnSamples(pixels, facts, {**about, "labels": LABELS_RECONSTRUCTIONS, "seeds": ""})


def _about(model: Pipeline, first_seed: int, count: int, controls: Mapping[str, Any]) -> dict[str, Any]:
    """The descriptive fields of the card."""
    settings = model.model.Controls(**controls)
    return {
        "model": model.model.title,
        "run": model.run.path.name if model.run is not None else "",
        "controls": settings.model_dump(mode="json"),
        "weights": getattr(model, "weights", "ema"),
        "weights_requested": getattr(model, "requested_weights", None) or "",
        "step": getattr(model, "step", None),
        "seeds": f"{first_seed}-{first_seed + count - 1}",
        "labels": LABELS_DRAWN if model.model.conditional else LABELS_NONE,
        "versions": {"triptych": __version__, "torch": torch.__version__, "numpy": np.__version__},
    }


def score_sources(
    real: str, fake: str, features: str = "auto", size: int | None = None, detailed: bool = True
) -> list[Score]:
    """Score one source of images against another, all images of both: `evaluate --real DIR --fake DIR`.

    A DataError or UsageError says why a source cannot be used.

    Args:
        real: name of the source of real images.
        fake: name of the other.
        features: name of a feature extractor; a classifier is trained where the real source has labels.
        size: side in pixels of both; None takes the real source's.
        detailed: compute further scores too.

    Returns:
        The scores, without floors.
    """
    from triptych.data.load import load as load_data

    real_data = load_data(real, size=size)
    modes: dict[int, Literal["gray", "rgb"]] = {1: "gray", 3: "rgb"}
    fake_data = load_data(fake, size=real_data.spec.size, color=modes.get(real_data.spec.channels, "auto"))
    extractor = extractor_for(real_data, features)
    pixels = (
        concatenated(real_data.train.pixels, real_data.test.pixels),
        concatenated(fake_data.train.pixels, fake_data.test.pixels),
    )
    labels = None
    if real_data.class_names and real_data.class_names == fake_data.class_names:
        labels = (
            concatenated(real_data.train.labels, real_data.test.labels),
            concatenated(fake_data.train.labels, fake_data.test.labels),
        )
    inputs = EvaluationInputs.of(*pixels, extractor, labels=labels, with_probabilities=detailed)
    card = {"data": images_fingerprint(pixels[0]), "split": "all", "run": fake}
    scores = scores_of(inputs, card)
    if detailed:
        scores += scores_of(inputs, card, "detailed")
        two_sample = two_sample_score(*pixels, card)
        scores += [] if two_sample is None else [two_sample]
    return scores


def concatenated(train: Any, test: Any) -> np.ndarray:
    """Both splits as one array.

    Args:
        train: images or labels of the training split, (N, ...).
        test: the same of the test split, (M, ...).

    Returns:
        (N + M, ...).
    """
    return np.concatenate([train, test])
