"""Detailed evaluation: further scores, memorization, class diversity, latent geometry, ground truth.

None of it is needed to rank models quickly; all of it is needed to trust a ranking.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.core.config import Record
from triptych.core.threads import one_thread
from triptych.evaluation.ground_truth import GroundTruthScores, ground_truth_scores, has_known_factors
from triptych.evaluation.latent_geometry import LatentGeometry, measure_latent_geometry
from triptych.evaluation.likelihood import likelihood_score
from triptych.evaluation.mode_coverage import ModeCount, mode_count
from triptych.evaluation.scoring import scores_of, subset_rows
from triptych.evaluation.two_sample import two_sample_score
from triptych.inference.pipeline import Pipeline
from triptych.metrics import memorization
from triptych.metrics.class_coverage import CONFIDENT, ClassDiversity, class_diversity
from triptych.metrics.inputs import EvaluationInputs, ImageSet
from triptych.metrics.score import Score

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

LIKELIHOOD_IMAGES = 200  # test images whose likelihood is bounded
DRAWS = 4  # Monte Carlo draws an image: more do not narrow the interval, images do
NEIGHBORS = 12  # samples listed with their nearest training images
MAX_TRAIN = 20_000  # training images that near-duplicates are searched for among


class Share(Record):
    """A proportion with its exact 95% interval."""

    value: float
    low: float
    high: float


class Memorization(Record):
    """Whether samples lie nearer to training images than held-out images do."""

    share: Share
    nominal: float
    """The share expected of a model that copies nothing."""
    p_value: float
    more_than_chance: bool
    summary: str
    authenticity: Share
    """Share of samples farther from their nearest training image than that image's own nearest neighbor."""
    n_train: int
    """Training images searched."""
    nearest: tuple[tuple[int, int, float], ...]
    """(sample, row of the training image, distance in features), the nearest first."""


class DetailedEvaluation(Record):
    """What a detailed evaluation measured; None: it does not apply to this model or source."""

    scores: tuple[Score, ...]
    memorization: Memorization | None
    """None where held-out images are among the training images: then there is nothing to compare with."""
    diversity: ClassDiversity | None
    diversity_confident: ClassDiversity | None
    """The same of images whose most probable class has a probability above 0.9."""
    latent_geometry: LatentGeometry | None
    ground_truth: GroundTruthScores | None
    """Ground-truth precision and recall, where every generative factor of an image is known."""
    modes: ModeCount | None = None
    """Of a source whose modes are known."""


def evaluate_in_detail(
    model: Pipeline,
    dataset: Dataset,
    inputs: EvaluationInputs,
    card: Mapping[str, Any],
    train_rows: np.ndarray,
) -> DetailedEvaluation:
    """Evaluate scored samples in detail, in about as long again as the samples took to draw.

    Args:
        model: the model that drew the samples.
        dataset: its source.
        inputs: real test images and the samples, with labels where they are known, and training images.
        card: the fields that all cards of this evaluation share.
        train_rows: rows of these training images in the training split, (K,).

    Returns:
        Everything that can be measured of this model and source.
    """
    real, fake, known = inputs.real, inputs.fake, dataset.train.labels
    scores = scores_of(inputs, card, "detailed")
    two_sample = two_sample_score(
        real.pixels,
        fake.pixels,
        card,
        train=None if inputs.train is None else inputs.train.pixels,
        labels=None if real.labels is None or fake.labels is None else (real.labels, fake.labels),
        train_labels=None if known is None else known[train_rows],
    )
    bound = likelihood_score(model, dataset, min(LIKELIHOOD_IMAGES, len(dataset.test)), draws=DRAWS)
    diversity: list[ClassDiversity | None] = [None, None]
    if 0 < inputs.extractor.classes == dataset.spec.classes:
        both = fake.probabilities, real.probabilities
        diversity = [class_diversity(*both), class_diversity(*both, confidence=CONFIDENT)]
    try:
        geometry = measure_latent_geometry(model, dataset, inputs.extractor, fake.pixels)
    except ValueError:  # one image whatever the noise, or points, which have no sharpness
        geometry = None
    return DetailedEvaluation(
        scores=(*scores, *(score for score in (two_sample, bound) if score is not None)),
        memorization=_memorization(dataset, inputs),
        diversity=diversity[0],
        diversity_confident=diversity[1],
        latent_geometry=geometry,
        ground_truth=ground_truth_scores(fake.pixels, dataset) if has_known_factors(dataset) else None,
        modes=mode_count(fake, dataset),
    )


@one_thread()
def _memorization(dataset: Dataset, inputs: EvaluationInputs) -> Memorization | None:
    """Near-duplicates of training images; None where held-out images are among the training images."""
    rows = subset_rows(len(dataset.train), MAX_TRAIN)
    train = ImageSet(np.asarray(dataset.train.pixels[rows]), inputs.extractor, stored=True).features
    fake, held_out = inputs.fake.features, inputs.real.features
    alpha = max(memorization.ALPHA, 1.001 / (len(held_out) + 1))  # the least that so few images can resolve
    try:
        test = memorization.near_duplicate_test(train, fake, held_out, alpha)
    except ValueError:
        return None
    authentic = memorization.authenticity(train, fake)
    index, distances = memorization.nearest_training_images(train, fake, 1)
    first = np.argsort(distances[:, 0], kind="stable")[:NEIGHBORS]
    return Memorization(
        share=Share(value=test.share.value, low=test.share.low, high=test.share.high),
        nominal=test.expected,
        p_value=test.p_value,
        more_than_chance=test.significant,
        summary=str(test),
        authenticity=Share(value=authentic.value, low=authentic.low, high=authentic.high),
        n_train=len(rows),
        nearest=tuple((int(k), int(rows[index[k, 0]]), float(distances[k, 0])) for k in first),
    )
