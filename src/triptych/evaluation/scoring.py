"""Pictures in, scores out: what one judge says of two sets of pictures, with intervals, floors and cards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from triptych.core.config import Record
from triptych.core.threads import one_thread
from triptych.metrics import fid as frechet
from triptych.metrics import fid_infinity, inception_score, intra_class_fid, prdc, spectral, vendi
from triptych.metrics import kid as kernel
from triptych.metrics.class_coverage import CONFIDENT
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.fid import fid
from triptych.metrics.kid import COEF, DEGREE, kid
from triptych.metrics.prdc import DENSITY_K, PRECISION_K, prdc_scores
from triptych.metrics.score import Card, Score
from triptych.metrics.stats.intervals import METRICS, Estimate, estimates, groups_for, jackknife_interval
from triptych.metrics.stats.resampling import split_groups

PARAMETERS: dict[str, dict[str, int | float | str]] = {
    "FID": {"ddof": 1},
    "KID": {"degree": DEGREE, "coef": COEF, "gamma": "1/d", "estimator": "unbiased, full sets"},
    "precision": {"k": PRECISION_K},
    "recall": {"k": PRECISION_K},
    "density": {"k": DENSITY_K},
    "coverage": {"k": DENSITY_K},
}
FEW = 100  # images that features were learned from: of fewer a note says so
VERSIONS = dict.fromkeys(METRICS, prdc.VERSION) | {"FID": frechet.VERSION, "KID": kernel.VERSION}


class ClassView(Record):
    """What the judge takes the samples for. Shares are of all samples, in the order of the classes."""

    names: tuple[str, ...]
    confident: float
    """Share of samples that the judge gives one class a probability above 0.9."""
    confident_real: float
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
    fingerprint = data if data is not None else images_fingerprint(real)
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
    real: np.ndarray, fake: np.ndarray, extractor: Extractor, names: tuple[str, ...] | list[str] | None
) -> ClassView:
    """How sure the judge is of the samples, and which classes it sees. real, fake: (N, H, W, C) uint8."""

    def facts(pixels: np.ndarray) -> tuple[float, tuple[float, ...]]:
        p = extractor.probabilities(pixels)  # (N, classes)
        counts = np.bincount(p.argmax(1), minlength=extractor.classes)
        return float((p.max(1) > CONFIDENT).mean()), tuple((counts / len(p)).tolist())

    (sure, shares), (sure_real, shares_real) = facts(fake), facts(real)
    labels = tuple(names) if names else tuple(str(i) for i in range(extractor.classes))
    return ClassView(
        names=labels, confident=sure, confident_real=sure_real, shares=shares, shares_real=shares_real
    )


def subset_rows(there_are: int, count: int) -> np.ndarray:
    """`count` row numbers by a fixed seed, ascending; all of them if there are fewer."""
    if there_are <= count:
        return np.arange(there_are)
    return np.sort(np.random.default_rng(0).choice(there_are, count, replace=False))


def subset(pixels: np.ndarray, count: int) -> np.ndarray:
    """`count` pictures by a fixed seed, in their order in the source; all of them if there are fewer."""
    return np.asarray(pixels[subset_rows(len(pixels), count)])


def images_fingerprint(pixels: np.ndarray) -> str:
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
        resampling=found.resampling,
        trials=found.trials,
        notes=notes,
        card=card,
    )


@one_thread()
def _floors(real: np.ndarray, train: np.ndarray) -> dict[str, float]:
    """Each score of training features in place of the samples'."""
    return {"FID": fid(real, train), "KID": kid(real, train), **prdc_scores(real, train)}


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
    if extractor.accuracy is not None and extractor.accuracy < CONFIDENT:
        notes.append(f"the judge is right about {extractor.accuracy:.0%} of the test pictures")
    learned_from = getattr(extractor, "images", None)
    if learned_from is not None and learned_from < FEW:
        notes.append(
            f"the features were learned from {learned_from} images alone: they tell gross faults only"
        )
    if bool((fake == fake[0]).all()):
        notes.append("all samples have the same features")
    return tuple(notes)


WIDEST = 256  # features beyond which FD-infinity with an interval takes hours
POINTS = 5  # of FD-infinity's line
Pair = tuple[np.ndarray, np.ndarray]  # of the real and of the made pictures


@one_thread()
def further_scores(
    pixels: Pair,
    features: Pair,
    judge: Extractor,
    card: Mapping[str, Any],
    *,
    train: np.ndarray | None = None,
    labels: Pair | None = None,
) -> list[Score]:
    """FD-infinity, Vendi, intra-class FID, IS and LSD of real and made pictures, with intervals.

    Those that these pictures and this judge can have: FD-infinity of enough pictures for the judge's
    width, intra-class FID of labelled ones, IS of a judge with classes.

    pixels: (N, H, W, C) and (M, H, W, C) uint8. features: the judge's, of both. card: the fields that all
    their cards share. train: other real pictures, (K, H, W, C) uint8, for the floors; without them
    there are none. labels: (N,) and (M,) int.
    """
    judged = _Judged(pixels, features, judge, card, train, labels)
    return [*judged.of_features(), *judged.of_classes(), *judged.of_pixels()]


@dataclass(frozen=True)
class _Judged:
    """What `further_scores` was given."""

    pixels: Pair
    features: Pair
    judge: Extractor
    card: Mapping[str, Any]
    train: np.ndarray | None
    labels: Pair | None

    def dealt(self, both: Pair) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Both sets in the groups of every jackknife here: what belongs together stays together."""
        return split_groups(np.asarray(both[0]), self.groups, seed=0), self.dealt_fakes(both[1])

    def dealt_fakes(self, rows: np.ndarray) -> list[np.ndarray]:
        """What is known of the made pictures, in the same groups."""
        return split_groups(np.asarray(rows), self.groups, seed=1)

    @property
    def groups(self) -> int:
        """How many."""
        return groups_for(min(map(len, self.pixels)))

    def score(
        self,
        metric: str,
        version: int,
        parameters: dict[str, Any],
        found: tuple[float, list[float]],
        floor: float | None = None,
        lowest: float = 0.0,
        changed: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Score:
        """found: the value, and those without each group. changed: fields of the card that differ."""
        card = Card(**{**self.card, **(changed or {})}, metric=metric, parameters=parameters, version=version)
        floor_n = None if self.train is None or floor is None else len(self.train)
        return score_of(jackknife_interval(*found, lowest), card, floor=floor, floor_n=floor_n, **more)

    def of_features(self) -> Iterator[Score]:
        """FD-infinity, Vendi and intra-class FID."""
        reals, fakes = self.dealt(self.features)
        train = None if self.train is None else self.judge(self.train)
        fewest = min(len(x) for x in (*self.features, train) if x is not None)
        if self.judge.width <= WIDEST and fewest >= 2 * (self.judge.width + 1):
            found = fid_infinity.fd_infinity_leave_one_out(reals, fakes, points=POINTS)
            floor = (
                None if train is None else fid_infinity.fd_infinity(self.features[0], train, points=POINTS)
            )
            line = {"points": POINTS, "vary": "both"}
            yield self.score(
                "FD-infinity", fid_infinity.VERSION, line, found, floor, -np.inf, target="population"
            )
        found = vendi.vendi_leave_one_out(fakes)
        floor = None if train is None else vendi.vendi_score(train)
        yield self.score("Vendi", vendi.VERSION, {"kernel": "cosine"}, found, floor, better="higher")
        if self.labels is not None:
            try:
                found, _ = intra_class_fid.intra_class_fid_leave_one_out(
                    reals, fakes, *self.dealt(self.labels)
                )
            except ValueError:  # a class with too few pictures: there is no such score here
                return
            yield self.score("intra-class FID", intra_class_fid.VERSION, {"ddof": 1}, found)

    def of_classes(self) -> Iterator[Score]:
        """IS, of a judge with classes."""
        if not self.judge.classes:
            return
        train, told = self.train, self.dealt_fakes(self.judge.probabilities(self.pixels[1]))
        splits = 10 if min(map(len, told)) >= 10 and (train is None or len(train) >= 10) else 1
        found = inception_score.inception_score_leave_one_out(told, splits)
        floor = (
            None
            if train is None
            else inception_score.inception_score(self.judge.probabilities(train), splits)
        )
        yield self.score(
            "IS", inception_score.VERSION, {"splits": splits}, found, floor, 1.0, better="higher"
        )

    def of_pixels(self) -> Iterator[Score]:
        """LSD, of pictures large enough to have a spectrum."""
        if min(self.pixels[1].shape[1:3]) < spectral.MIN_PX:
            return
        found = spectral.log_spectral_distance_leave_one_out(*self.dealt(self.pixels))
        floor = None if self.train is None else spectral.log_spectral_distance(self.pixels[0], self.train)
        plain = {"extractor": "pixels", "extractor_hash": "none", "resize": "none"}
        yield self.score("LSD", spectral.VERSION, {"window": "Hann"}, found, floor, changed=plain)
