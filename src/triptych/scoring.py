"""Pictures in, scores out: what one judge says of two sets of pictures, with intervals, floors and cards."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from triptych.core.record import Record
from triptych.metrics import fid, frechet, kernel, kid, neighbours
from triptych.metrics.card import Card, Score
from triptych.metrics.diversity import SURE
from triptych.metrics.features import Extractor
from triptych.metrics.intervals import METRICS, Estimate, estimates
from triptych.metrics.kernel import COEF, DEGREE
from triptych.metrics.neighbours import DENSITY_K, PRECISION_K, neighbour_scores
from triptych.metrics.threads import one_thread

PARAMETERS: dict[str, dict[str, int | float | str]] = {
    "FID": {"ddof": 1},
    "KID": {"degree": DEGREE, "coef": COEF, "gamma": "1/d", "estimator": "unbiased, full sets"},
    "precision": {"k": PRECISION_K},
    "recall": {"k": PRECISION_K},
    "density": {"k": DENSITY_K},
    "coverage": {"k": DENSITY_K},
}
FEW = 100  # images that features were learned from: of fewer a note says so
VERSIONS = dict.fromkeys(METRICS, neighbours.VERSION) | {"FID": frechet.VERSION, "KID": kernel.VERSION}


class ClassView(Record):
    """What the judge takes the samples for. Shares are of all samples, in the order of the classes."""

    names: tuple[str, ...]
    sure: float
    """Share of samples that the judge gives one class a probability above 0.9."""
    sure_real: float
    """The same of the test pictures."""
    shares: tuple[float, ...]
    """Share of samples in each class, by the judge's first choice."""
    shares_real: tuple[float, ...]
    """The same of the test pictures."""


def score_pixels(
    real: np.ndarray,
    fake: np.ndarray,
    extractor: Extractor,
    *,
    train: np.ndarray | None = None,
    data: str | None = None,
    split: str = "given",
    about: Mapping[str, Any] | None = None,
    features: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[Score]:
    """FID, KID, precision, recall, density and coverage of two sets of pictures, with intervals.

    real: (N, H, W, C), fake: (M, H, W, C) uint8, at least 20 each. train: other real pictures for the
    floor, as many as there are fakes where possible; without them no floor. data: fingerprint of the
    real pictures (made from them, whatever their order, if not given). about: descriptive fields of
    the card. features: the extractor's of both sets, where they are known already. Raises ValueError on
    pictures of another size than the extractor's and on too few.
    """
    real_features, fake_features = features or (extractor(real), extractor(fake))
    found = estimates(real_features, fake_features)
    floors = _floors(real_features, extractor(train)) if train is not None else {}
    fingerprint = data if data is not None else pictures_fingerprint(real)
    scores = []
    for metric in METRICS:
        card = Card(
            metric=metric,
            parameters=PARAMETERS[metric],
            data=fingerprint,
            split=split,
            n_real=len(real),
            n_fake=len(fake),
            extractor=extractor.name,
            extractor_hash=extractor.hash,
            resize=extractor.resize,
            version=VERSIONS[metric],
            **(about or {}),
        )
        notes = _notes(metric, card, extractor, fake_features, None if train is None else len(train))
        better: Literal["lower", "higher"] = "lower" if metric in ("FID", "KID") else "higher"
        target: Literal["expectation", "population"] = "population" if metric == "KID" else "expectation"
        scores.append(
            score_of(
                found[metric], card, better=better, target=target, floor=floors.get(metric),
                floor_n=None if train is None else len(train), notes=notes,
            )
        )  # fmt: skip
    return scores


def class_view(
    real: np.ndarray, fake: np.ndarray, judge: Extractor, names: tuple[str, ...] | list[str] | None
) -> ClassView:
    """How sure the judge is of the samples, and which classes it sees. real, fake: (N, H, W, C) uint8."""

    def facts(pixels: np.ndarray) -> tuple[float, tuple[float, ...]]:
        p = judge.probabilities(pixels)  # (N, classes)
        counts = np.bincount(p.argmax(1), minlength=judge.classes)
        return float((p.max(1) > SURE).mean()), tuple((counts / len(p)).tolist())

    (sure, shares), (sure_real, shares_real) = facts(fake), facts(real)
    labels = tuple(names) if names else tuple(str(i) for i in range(judge.classes))
    return ClassView(names=labels, sure=sure, sure_real=sure_real, shares=shares, shares_real=shares_real)


def chosen_rows(there_are: int, count: int) -> np.ndarray:
    """`count` row numbers by a fixed seed, ascending; all of them if there are fewer."""
    if there_are <= count:
        return np.arange(there_are)
    return np.sort(np.random.default_rng(0).choice(there_are, count, replace=False))


def chosen(pixels: np.ndarray, count: int) -> np.ndarray:
    """`count` pictures by a fixed seed, in their order in the source; all of them if there are fewer."""
    return np.asarray(pixels[chosen_rows(len(pixels), count)])


def pictures_fingerprint(pixels: np.ndarray) -> str:
    """A name for a set of pictures, (N, H, W, C) uint8, that does not depend on their order."""
    each = sorted(hashlib.sha256(picture.tobytes()).digest() for picture in np.ascontiguousarray(pixels))
    return hashlib.sha256(f"{pixels.shape[1:]}".encode() + b"".join(each)).hexdigest()


def score_of(
    found: Estimate,
    card: Card,
    *,
    better: Literal["lower", "higher"] = "lower",
    target: Literal["expectation", "population"] = "expectation",
    floor: float | None = None,
    floor_n: int | None = None,
    notes: tuple[str, ...] = (),
) -> Score:
    """An estimate and its card as a score, named after its extractor."""
    return Score(
        name=f"{card.metric}[{card.extractor}]",
        value=found.value,
        low=found.low,
        high=found.high,
        method=found.method,
        floor=floor,
        floor_n=floor_n,
        better=better,
        target=target,
        spread=found.spread,
        share_of=found.share_of,
        notes=notes,
        card=card,
    )


@one_thread()
def _floors(real: np.ndarray, train: np.ndarray) -> dict[str, float]:
    """Each score of training features in place of the samples'."""
    return {"FID": fid(real, train), "KID": kid(real, train), **neighbour_scores(real, train)}


def _notes(
    metric: str, card: Card, extractor: Extractor, fake: np.ndarray, floor_n: int | None
) -> tuple[str, ...]:
    notes = []
    fewest = min(card.n_real, card.n_fake)
    if metric == "FID" and fewest <= extractor.width:
        notes.append(
            f"{fewest} pictures for {extractor.width} features: mostly bias, look at the floor and at KID"
        )
    if floor_n is not None and floor_n < card.n_fake:
        notes.append(f"the floor is of {floor_n} training pictures, all there are")
    if extractor.accuracy is not None and extractor.accuracy < SURE:
        notes.append(f"the judge is right about {extractor.accuracy:.0%} of the test pictures")
    learned_from = getattr(extractor, "images", None)
    if learned_from is not None and learned_from < FEW:
        notes.append(
            f"the features were learned from {learned_from} images alone: they tell gross faults only"
        )
    if bool((fake == fake[0]).all()):
        notes.append("all samples have the same features")
    return tuple(notes)
