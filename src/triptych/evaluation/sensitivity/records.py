"""What the probe found, as records, and how a verdict is reached."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from triptych.core.config import Record
from triptych.evaluation.sensitivity.measuring import BETTER, Measured, badness
from triptych.metrics.metric import Better

Verdict = Literal["noticed", "missed", "fooled", "refused"]
Trend = Literal["worsens", "improves", "wavers", "unmoved", "refused"]


class MetricReading(Record):
    """One metric on one spoilt set."""

    metric: str
    value: float | None
    """None where the metric refused."""
    low: float | None
    high: float | None
    """The ends of the 95 % interval."""
    honest: float | None
    """The same metric on as many honest pictures."""
    change: float | None
    """value - honest."""
    verdict: Verdict
    """noticed: worse than the honest set, each value outside the other's interval; fooled: better, in the
    same sense; missed: neither; refused: no value, for `reason`."""
    reason: str = ""


class Row(Record):
    """One way to spoil a set at one strength, as every metric sees it."""

    corruption: str
    strength: str
    n: int
    readings: tuple[MetricReading, ...]


class Graded(Record):
    """One metric along the strengths of one kind, from honest to strongest."""

    corruption: str
    metric: str
    trend: Trend
    """worsens: some step up in strength is noticed and none is taken for better; improves: the reverse;
    wavers: both occur; unmoved: neither; refused: some strength has no value."""


class SensitivityStudy(Record):
    """Which metric notices what, on one source and by one judge."""

    source: str
    data: str
    """Fingerprint of the pictures."""
    partition: str
    """Which pictures were the judge's, the reference and the honest set."""
    extractor: str
    extractor_hash: str
    extractor_accuracy: float | None
    features: int
    """Width of the judge's features."""
    n: int
    """In the reference, and in the honest set."""
    n_train: int
    seed: int
    better: dict[str, Better]
    honest: tuple[MetricReading, ...]
    """The honest set itself."""
    rows: tuple[Row, ...]
    graded: tuple[Graded, ...]

    def row(self, kind: str, grade: str | None = None) -> Row:
        """The row of a kind at a grade; without a grade the strongest. Raises ValueError if there is none."""
        for row in reversed(self.rows):
            if row.corruption == kind and grade in (None, row.strength):
                return row
        have = ", ".join(f"{row.corruption} {row.strength}" for row in self.rows)
        raise ValueError(f"no row {kind!r} {grade or ''}: there are {have}")

    def verdict(self, kind: str, metric: str, grade: str | None = None) -> Verdict:
        """How a metric took a kind of spoiling."""
        row = self.row(kind, grade)
        if metric not in BETTER:
            raise ValueError(f"no metric {metric!r}: there are {', '.join(BETTER)}")
        return next(reading.verdict for reading in row.readings if reading.metric == metric)


def compare(metric: str, before: Measured, after: Measured) -> Verdict:
    """Whether `after` is told from `before`: each value outside the other's interval, then which is worse.

    What a reader could say who has two scores with their intervals. Both intervals are asked because a
    spoilt set may have a wider or a narrower one than an honest set. Chance does it to two independent
    scores of equal error in one of seven cases, to honest sets beside one reference in fewer. Spoilt
    pictures share the luck of those they were made of; a paired test, which no reader can do, sees more.
    """
    lower = after.value < before.low and before.value > after.high
    higher = after.value > before.high and before.value < after.low
    worse = badness(metric, after.value) - badness(metric, before.value)
    if not (lower or higher) or worse == 0:
        return "missed"
    return "noticed" if worse > 0 else "fooled"


def reading(metric: str, spoilt: Measured | str, honest: Measured | str) -> MetricReading:
    """One metric's reading of a spoilt set beside that of as many honest pictures."""
    base = None if isinstance(honest, str) else honest.value
    if isinstance(spoilt, str) or isinstance(honest, str):
        found = (None, None, None) if isinstance(spoilt, str) else (spoilt.value, spoilt.low, spoilt.high)
        why = spoilt if isinstance(spoilt, str) else f"as many honest pictures: {honest}"
        return _reading(metric, found, base, "refused", why)
    found = (spoilt.value, spoilt.low, spoilt.high)
    return _reading(metric, found, honest.value, compare(metric, honest, spoilt), "")


def _reading(
    metric: str,
    found: tuple[float | None, float | None, float | None],
    honest: float | None,
    verdict: Verdict,
    reason: str,
) -> MetricReading:
    value, low, high = found
    change = None if value is None or honest is None else value - honest
    return MetricReading(
        metric=metric,
        value=value,
        low=low,
        high=high,
        honest=honest,
        change=change,
        verdict=verdict,
        reason=reason,
    )


def trend(metric: str, steps: list[tuple[Measured | str, Measured | str]]) -> Trend:
    """Along strengths, weak to strong. steps: (spoilt, as many honest pictures) for each.

    Sets that shrink with the strength (dropped classes) would show their metric's bias at small numbers.
    So neighbours are compared as if both honest values were that of the first: by a shift where lower is
    better, because a distance's bias adds up, and else by a factor.
    """
    chain: list[Measured] = []
    for spoilt, honest in steps:
        if isinstance(spoilt, str) or isinstance(honest, str):
            return "refused"
        chain = chain or [honest]
        chain.append(_rebased(metric, spoilt, honest.value, chain[0].value))
    seen = {compare(metric, weaker, stronger) for weaker, stronger in pairwise(chain)}
    if {"noticed", "fooled"} <= seen:
        return "wavers"
    return "worsens" if "noticed" in seen else "improves" if "fooled" in seen else "unmoved"


def _rebased(metric: str, spoilt: Measured, honest: float, first: float) -> Measured:
    if BETTER[metric] == "lower":
        return spoilt.changed(1.0, first - honest)
    return spoilt.changed(first / honest if honest > 0 else 1.0, 0.0)
