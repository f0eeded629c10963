"""A closer look at one model: further scores, copies of training pictures, diversity over classes, traits.

None of it is needed to rank models quickly; all of it is needed to trust a ranking.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.likelihood import likelihood_score
from triptych.metrics import copies, inception, infinity, intra, spectrum, vendi
from triptych.metrics.card import Card, Score
from triptych.metrics.diversity import Diversity, diversity
from triptych.metrics.features import Extractor
from triptych.metrics.intervals import GROUPS, deal, jackknife_interval
from triptych.metrics.threads import one_thread
from triptych.model import Model
from triptych.scoring import Record, chosen_rows, score_of
from triptych.traits import Traits, traits

if TYPE_CHECKING:
    from triptych.data import Dataset

WIDEST = 256  # features beyond which FD-infinity with an interval takes hours
LIKELY = 200  # test pictures asked for their likelihood
DRAWS = 4  # of a bound, a picture: more do not narrow the interval, pictures do
NEIGHBOURS = 12  # samples shown beside their nearest training pictures
SEARCHED = 20_000  # training pictures that copies are looked for among


class Share(Record):
    """A share with its exact 95 % interval."""

    value: float
    low: float
    high: float


class Copies(Record):
    """Whether samples lie nearer to training pictures than held-out pictures do."""

    share: Share
    nominal: float
    """The share expected of an honest model."""
    p_value: float
    more_than_chance: bool
    words: str
    authentic: Share
    """Samples farther from their nearest training picture than that picture's own nearest neighbour."""
    searched: int
    """Training pictures searched."""
    nearest: tuple[tuple[int, int, float], ...]
    """(sample, row of the training picture, distance in features), the nearest first."""


class Closer(Record):
    """What a closer look found; None: it cannot be asked of this model or source."""

    scores: tuple[Score, ...]
    copies: Copies
    diversity: Diversity | None
    diversity_sure: Diversity | None
    """The same of pictures that the judge is over 0.9 sure of."""
    traits: Traits | None


@one_thread()
def closer_look(
    model: Model,
    dataset: Dataset,
    judge: Extractor,
    fake: np.ndarray,
    seeds: range,
    real_rows: np.ndarray,
    card: Mapping[str, Any],
) -> Closer:
    """Look closer. fake: samples, (N, H, W, C) uint8, of these seeds; real_rows: of the test split.

    card: the fields that all cards of this evaluation share. Takes about as long again as the samples
    took, and a minute for a slow sampler.
    """
    real = np.asarray(dataset.test.pixels[real_rows])
    features = judge(real), judge(fake)
    scores = _scores(dataset, judge, (real, fake), features, real_rows, model.labels_for(seeds), card)
    bound = likelihood_score(model, dataset, min(LIKELY, len(dataset.test)), draws=DRAWS)
    own = judge.classes > 0 and judge.classes == dataset.spec.classes
    views: list[Diversity | None] = [None, None]
    if own:
        told = judge.probabilities(fake), judge.probabilities(real)
        views = [diversity(*told), diversity(*told, sure=0.9)]
    try:
        character = traits(model, dataset, judge, fake)
    except ValueError:  # one picture whatever the noise
        character = None
    return Closer(
        scores=(*scores, *([] if bound is None else [bound])),
        copies=_copies(dataset, judge, features[1], features[0]),
        diversity=views[0],
        diversity_sure=views[1],
        traits=character,
    )


def _scores(
    dataset: Dataset,
    judge: Extractor,
    pixels: tuple[np.ndarray, np.ndarray],
    features: tuple[np.ndarray, np.ndarray],
    real_rows: np.ndarray,
    asked: Any,
    card: Mapping[str, Any],
) -> list[Score]:
    real, fake = features
    count = min(GROUPS, min(len(real), len(fake)) // 5)
    reals, fakes = deal(real, count, seed=0), deal(fake, count, seed=1)

    def score(
        metric: str, version: int, parameters: dict[str, Any], found: tuple[float, Any], **more: Any
    ) -> Score:
        lowest = more.pop("lowest", 0.0)
        made = Card(**{**card, **more.pop("card", {})}, metric=metric, parameters=parameters, version=version)
        return score_of(jackknife_interval(*found, lowest), made, **more)

    scores = []
    if (
        judge.width <= WIDEST
        and min(len(real), len(fake)) >= 2 * (judge.width + 1) * count // (count - 1) + 2
    ):
        found = infinity.fd_infinity_without_each(reals, fakes, points=5)
        parameters = {"points": 5, "vary": "both"}
        scores.append(
            score("FD-infinity", infinity.VERSION, parameters, found, lowest=-np.inf, target="population")
        )
    scores.append(
        score("Vendi", vendi.VERSION, {"kernel": "cosine"}, vendi.vendi_without_each(fakes), better="higher")
    )
    if judge.classes:
        splits = 10 if min(map(len, fakes)) >= 10 else 1
        told = inception.inception_score_without_each(
            deal(judge.probabilities(pixels[1]), count, seed=1), splits
        )
        scores.append(score("IS", inception.VERSION, {"splits": splits}, told, better="higher", lowest=1.0))
    labels = dataset.test.labels
    if asked is not None and labels is not None:
        own = np.asarray(labels)[real_rows]
        classes = [deal(own, count, seed=0), deal(np.asarray(asked), count, seed=1)]
        try:
            mean, _ = intra.intra_class_fid_without_each(reals, fakes, *classes)
            scores.append(score("intra-class FID", intra.VERSION, {"ddof": 1}, mean))
        except ValueError:  # a class with too few pictures: there is no such score here
            pass
    groups = deal(pixels[0], count, seed=0), deal(pixels[1], count, seed=1)
    plain = {"extractor": "pixels", "extractor_hash": "none", "resize": "none"}
    distance = spectrum.log_spectral_distance_without_each(*groups)
    scores.append(score("LSD", spectrum.VERSION, {"window": "Hann"}, distance, card=plain))
    return scores


def _copies(dataset: Dataset, judge: Extractor, fake: np.ndarray, held_out: np.ndarray) -> Copies:
    rows = chosen_rows(len(dataset.train), SEARCHED)
    train = judge(np.asarray(dataset.train.pixels[rows]))
    found = copies.copy_share(train, fake, held_out)
    authentic = copies.authenticity(train, fake)
    index, distances = copies.nearest(train, fake, 1)
    first = np.argsort(distances[:, 0], kind="stable")[:NEIGHBOURS]
    return Copies(
        share=Share(value=found.share.value, low=found.share.low, high=found.share.high),
        nominal=found.nominal,
        p_value=found.p_value,
        more_than_chance=found.more_than_chance,
        words=str(found),
        authentic=Share(value=authentic.value, low=authentic.low, high=authentic.high),
        searched=len(rows),
        nearest=tuple((int(k), int(rows[index[k, 0]]), float(distances[k, 0])) for k in first),
    )
