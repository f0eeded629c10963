"""Every metric there is, on one set of pictures, each with its 95 % interval or the reason it has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np

from triptych.core.threads import one_thread
from triptych.evaluation.sensitivity.corruptions import LabeledImages
from triptych.metrics import spectral
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.fid_infinity import fd_infinity_leave_one_out
from triptych.metrics.inception_score import inception_score_leave_one_out
from triptych.metrics.intra_class_fid import intra_class_fid_leave_one_out
from triptych.metrics.memorization import authenticity, near_duplicate_test
from triptych.metrics.prd import prd_leave_one_out
from triptych.metrics.stats.binomial import Proportion
from triptych.metrics.stats.intervals import (
    METRICS,
    estimates,
    groups_for,
    jackknife_interval,
    leave_one_out,
)
from triptych.metrics.stats.resampling import split_groups
from triptych.metrics.vendi import vendi_leave_one_out

POINTS = 5  # of FD-infinity's line
Better = Literal["lower", "higher", "near 1"]
BETTER: dict[str, Better] = {
    "FID": "lower",
    "FD-infinity": "lower",
    "KID": "lower",
    "IS": "higher",
    "precision": "higher",
    "recall": "higher",
    "density": "higher",
    "coverage": "higher",
    "intra-class FID": "lower",
    "PRD F8": "higher",
    "PRD F1/8": "higher",
    "Vendi": "higher",
    "sharpness ratio": "near 1",
    "spectral distance": "lower",
    "copy share": "lower",
    "authenticity": "higher",
}
COPY_METRICS = ("copy share", "authenticity")


@dataclass(frozen=True)
class Measured:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    def changed(self, factor: float, shift: float) -> Measured:
        """Value and interval times a positive factor, plus a shift."""
        return Measured(*(factor * x + shift for x in (self.value, self.low, self.high)))


Found = dict[str, Measured | str]  # by metric; a sentence where it refused


def badness(metric: str, value: float) -> float:
    """Higher is worse, whichever way the metric runs. A ratio is as bad as its logarithm is far from 0."""
    better = BETTER[metric]
    if better == "near 1":
        return abs(log(value)) if value > 0 else float("inf")
    return value if better == "lower" else -value


class MetricBench:
    """A reference and training pictures, against which sets of pictures are measured."""

    def __init__(self, reference: LabeledImages, train: LabeledImages, judge: Extractor) -> None:
        self._reference, self._judge = reference, judge
        self._real, self._train = judge(reference.pixels).astype(np.float64), judge(train.pixels)

    @one_thread()
    def measure(self, made: LabeledImages) -> Found:
        """Every metric of BETTER on `made`, at least 20 pictures; a sentence where a metric refuses."""
        found: Found = {}
        for names, compute in _Set(self._reference, self._real, self._train, self._judge, made).parts():
            try:
                found |= dict(zip(names, compute(), strict=True))
            except ValueError as error:
                found |= dict.fromkeys(names, str(error))
        return {name: found[name] for name in BETTER}


Part = tuple[tuple[str, ...], Callable[[], Sequence[Measured]]]


class _Set:
    """One set beside the reference, both dealt into the same number of groups for the jackknife."""

    def __init__(
        self,
        reference: LabeledImages,
        real: np.ndarray,
        train: np.ndarray,
        judge: Extractor,
        made: LabeledImages,
    ) -> None:
        self.reference, self.made, self.judge = reference, made, judge
        self.real, self.train, self.fake = real, train, judge(made.pixels).astype(np.float64)
        self.count = groups_for(min(len(real), len(made)))
        self.reals, self.fakes = self._real_groups(real), self._fake_groups(self.fake)

    def parts(self) -> list[Part]:
        """Metrics that are computed together, and how."""
        return [
            (METRICS, self.common),
            (
                ("FD-infinity",),
                lambda: [_left_out(fd_infinity_leave_one_out(self.reals, self.fakes, POINTS))],
            ),
            (("IS",), self.inception),
            (("intra-class FID",), self.intra_class),
            (("PRD F8", "PRD F1/8"), self.prd),
            (("Vendi",), lambda: [_left_out(vendi_leave_one_out(self.fakes))]),
            (("sharpness ratio", "spectral distance"), self.of_pixels),
            (
                ("copy share",),
                lambda: [_of_share(near_duplicate_test(self.train, self.fake, self.real).share)],
            ),
            (("authenticity",), lambda: [_of_share(authenticity(self.train, self.fake))]),
        ]

    def common(self) -> list[Measured]:
        made = estimates(self.real, self.fake)
        return [Measured(made[name].value, made[name].low, made[name].high) for name in METRICS]

    def inception(self) -> list[Measured]:
        groups = self._fake_groups(self.judge.probabilities(self.made.pixels))
        return [_left_out(inception_score_leave_one_out(groups, splits=1))]

    def intra_class(self) -> list[Measured]:
        if self.reference.labels is None or self.made.labels is None:
            raise ValueError("intra-class FID needs labels, and this source has none")
        real_labels, fake_labels = (
            self._real_groups(self.reference.labels),
            self._fake_groups(self.made.labels),
        )
        mean, _ = intra_class_fid_leave_one_out(self.reals, self.fakes, real_labels, fake_labels)
        return [_left_out(mean)]

    def prd(self) -> list[Measured]:
        scores = prd_leave_one_out(self.reals, self.fakes)
        return [_left_out(scores[name]) for name in ("F_8", "F_1/8")]

    def of_pixels(self) -> list[Measured]:
        sharp = [spectral.image_sharpness(x.pixels) for x in (self.reference, self.made)]
        ratio = leave_one_out(
            lambda real, fake: float(fake.mean() / real.mean()),
            self._real_groups(sharp[0]),
            self._fake_groups(sharp[1]),
        )
        distance = spectral.log_spectral_distance_leave_one_out(
            self._real_groups(self.reference.pixels), self._fake_groups(self.made.pixels)
        )
        return [_left_out(ratio), _left_out(distance)]

    def _real_groups(self, values: np.ndarray) -> list[np.ndarray]:
        return split_groups(values, self.count, seed=0)

    def _fake_groups(self, values: np.ndarray) -> list[np.ndarray]:
        return split_groups(values, self.count, seed=1)


def _left_out(found: tuple[float, list[float]]) -> Measured:
    made = jackknife_interval(*found)
    return Measured(made.value, made.low, made.high)


def _of_share(share: Proportion) -> Measured:
    return Measured(share.value, share.low, share.high)
