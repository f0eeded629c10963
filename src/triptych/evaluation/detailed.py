"""A closer look at one model: further scores, copies of training pictures, diversity over classes, traits.

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
from triptych.evaluation.scoring import further_scores, subset_rows
from triptych.evaluation.two_sample import two_sample_score
from triptych.inference.pipeline import Pipeline
from triptych.metrics import memorization
from triptych.metrics.class_coverage import CONFIDENT, ClassDiversity, class_diversity
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.score import Score

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

LIKELY = 200  # test pictures asked for their likelihood
DRAWS = 4  # of a bound, a picture: more do not narrow the interval, pictures do
NEIGHBOURS = 12  # samples shown beside their nearest training pictures
SEARCHED = 20_000  # training pictures that copies are looked for among


class Share(Record):
    """A share with its exact 95 % interval."""

    value: float
    low: float
    high: float


class Memorization(Record):
    """Whether samples lie nearer to training pictures than held-out pictures do."""

    share: Share
    nominal: float
    """The share expected of an honest model."""
    p_value: float
    more_than_chance: bool
    summary: str
    authenticity: Share
    """Samples farther from their nearest training picture than that picture's own nearest neighbour."""
    n_train: int
    """Training pictures searched."""
    nearest: tuple[tuple[int, int, float], ...]
    """(sample, row of the training picture, distance in features), the nearest first."""


class DetailedEvaluation(Record):
    """What a closer look found; None: it cannot be asked of this model or source."""

    scores: tuple[Score, ...]
    memorization: Memorization | None
    """None where held-out pictures are training pictures too: then nothing can be told apart."""
    diversity: ClassDiversity | None
    diversity_confident: ClassDiversity | None
    """The same of pictures that the judge is over 0.9 sure of."""
    latent_geometry: LatentGeometry | None
    ground_truth: GroundTruthScores | None
    """True precision and recall, where every cause of a picture is known."""
    modes: ModeCount | None = None
    """Of a source whose modes are known."""


def evaluate_in_detail(
    model: Pipeline,
    dataset: Dataset,
    extractor: Extractor,
    fake: np.ndarray,
    features: tuple[np.ndarray, np.ndarray],
    seeds: range,
    real_rows: np.ndarray,
    card: Mapping[str, Any],
) -> DetailedEvaluation:
    """Look closer at samples that were scored already.

    fake: samples, (N, H, W, C) uint8, of these seeds. features: the judge's, of the real pictures and of
    the samples. real_rows: of the real pictures, in the test split. card: the fields that all cards of this
    evaluation share. Takes about as long again as the samples took, and a minute for a slow sampler.
    """
    real = np.asarray(dataset.test.pixels[real_rows])
    asked, own_labels = model.labels_for(seeds), dataset.test.labels
    labels = None if asked is None or own_labels is None else (own_labels[real_rows], asked.numpy())
    train_rows = subset_rows(len(dataset.train), len(fake))
    train = np.asarray(dataset.train.pixels[train_rows])
    scores = further_scores((real, fake), features, extractor, card, train=train, labels=labels)
    known = dataset.train.labels
    told_apart = two_sample_score(
        real,
        fake,
        card,
        train=train,
        labels=labels,
        train_labels=None if known is None else known[train_rows],
    )
    bound = likelihood_score(model, dataset, min(LIKELY, len(dataset.test)), draws=DRAWS)
    own = extractor.classes > 0 and extractor.classes == dataset.spec.classes
    views: list[ClassDiversity | None] = [None, None]
    if own:
        told = extractor.probabilities(fake), extractor.probabilities(real)
        views = [class_diversity(*told), class_diversity(*told, confidence=CONFIDENT)]
    try:
        character = measure_latent_geometry(model, dataset, extractor, fake)
    except ValueError:  # one picture whatever the noise, or points, which have no sharpness
        character = None
    return DetailedEvaluation(
        scores=(*scores, *(score for score in (told_apart, bound) if score is not None)),
        memorization=_copies(dataset, extractor, features[1], features[0]),
        diversity=views[0],
        diversity_confident=views[1],
        latent_geometry=character,
        ground_truth=ground_truth_scores(fake, dataset) if has_known_factors(dataset) else None,
        modes=mode_count(fake, dataset, extractor),
    )


@one_thread()
def _copies(
    dataset: Dataset, judge: Extractor, fake: np.ndarray, held_out: np.ndarray
) -> Memorization | None:
    rows = subset_rows(len(dataset.train), SEARCHED)
    train = judge(np.asarray(dataset.train.pixels[rows]))
    alpha = max(memorization.ALPHA, 1.001 / (len(held_out) + 1))  # the least that so few pictures can tell
    try:
        found = memorization.near_duplicate_test(train, fake, held_out, alpha)
    except ValueError:
        return None
    authentic = memorization.authenticity(train, fake)
    index, distances = memorization.nearest_training_images(train, fake, 1)
    first = np.argsort(distances[:, 0], kind="stable")[:NEIGHBOURS]
    return Memorization(
        share=Share(value=found.share.value, low=found.share.low, high=found.share.high),
        nominal=found.expected,
        p_value=found.p_value,
        more_than_chance=found.significant,
        summary=str(found),
        authenticity=Share(value=authentic.value, low=authentic.low, high=authentic.high),
        n_train=len(rows),
        nearest=tuple((int(k), int(rows[index[k, 0]]), float(distances[k, 0])) for k in first),
    )
