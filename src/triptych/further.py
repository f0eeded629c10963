"""Further scores of two sets of pictures, beside those of `scoring`: slower, or of some pictures only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.metrics import inception, infinity, intra, spectrum, vendi
from triptych.metrics.card import Card, Score
from triptych.metrics.features import Extractor
from triptych.metrics.intervals import deal, groups_for, jackknife_interval
from triptych.metrics.threads import one_thread
from triptych.scoring import score_of

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
        return deal(np.asarray(both[0]), self.groups, seed=0), self.dealt_fakes(both[1])

    def dealt_fakes(self, rows: np.ndarray) -> list[np.ndarray]:
        """What is known of the made pictures, in the same groups."""
        return deal(np.asarray(rows), self.groups, seed=1)

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
            found = infinity.fd_infinity_without_each(reals, fakes, points=POINTS)
            floor = None if train is None else infinity.fd_infinity(self.features[0], train, points=POINTS)
            line = {"points": POINTS, "vary": "both"}
            yield self.score(
                "FD-infinity", infinity.VERSION, line, found, floor, -np.inf, target="population"
            )
        found = vendi.vendi_without_each(fakes)
        floor = None if train is None else vendi.vendi_score(train)
        yield self.score("Vendi", vendi.VERSION, {"kernel": "cosine"}, found, floor, better="higher")
        if self.labels is not None:
            try:
                found, _ = intra.intra_class_fid_without_each(reals, fakes, *self.dealt(self.labels))
            except ValueError:  # a class with too few pictures: there is no such score here
                return
            yield self.score("intra-class FID", intra.VERSION, {"ddof": 1}, found)

    def of_classes(self) -> Iterator[Score]:
        """IS, of a judge with classes."""
        if not self.judge.classes:
            return
        train, told = self.train, self.dealt_fakes(self.judge.probabilities(self.pixels[1]))
        splits = 10 if min(map(len, told)) >= 10 and (train is None or len(train) >= 10) else 1
        found = inception.inception_score_without_each(told, splits)
        floor = None if train is None else inception.inception_score(self.judge.probabilities(train), splits)
        yield self.score("IS", inception.VERSION, {"splits": splits}, found, floor, 1.0, better="higher")

    def of_pixels(self) -> Iterator[Score]:
        """LSD, of pictures large enough to have a spectrum."""
        if min(self.pixels[1].shape[1:3]) < spectrum.LEAST_PX:
            return
        found = spectrum.log_spectral_distance_without_each(*self.dealt(self.pixels))
        floor = None if self.train is None else spectrum.log_spectral_distance(self.pixels[0], self.train)
        plain = {"extractor": "pixels", "extractor_hash": "none", "resize": "none"}
        yield self.score("LSD", spectrum.VERSION, {"window": "Hann"}, found, floor, changed=plain)
