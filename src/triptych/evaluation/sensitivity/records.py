"""Results of a sensitivity study as records, and how a verdict is reached."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from triptych.core.config import Record
from triptych.evaluation.sensitivity.measuring import BETTER, Measured, badness
from triptych.metrics.metric import Better

Verdict = Literal["noticed", "missed", "fooled", "refused"]
Trend = Literal["worsens", "improves", "wavers", "unmoved", "refused"]


class MetricReading(Record):
    """One metric on one corrupted set."""

    metric: str
    value: float | None
    """None where the metric refused."""
    low: float | None
    high: float | None
    """The ends of the 95% interval."""
    honest: float | None
    """The same metric on as many honest images."""
    change: float | None
    """value - honest."""
    verdict: Verdict
    """noticed: worse than the honest set, each value outside the other's interval; fooled: better, in the
    same sense; missed: neither; refused: no value, for `reason`."""
    reason: str = ""


class Row(Record):
    """One corruption at one strength, as measured by every metric."""

    corruption: str
    strength: str
    n: int
    readings: tuple[MetricReading, ...]


class Graded(Record):
    """One metric along the strengths of one corruption, from the honest set to the strongest."""

    corruption: str
    metric: str
    trend: Trend
    """worsens: some step up in strength is noticed and none is taken for better; improves: the reverse;
    wavers: both occur; unmoved: neither; refused: some strength has no value."""


class SensitivityStudy(Record):
    """Which metric notices which corruption, on one source and with one feature extractor."""

    source: str
    data: str
    """Fingerprint of the images."""
    partition: str
    """Which images the extractor learned from, and which are the reference and the honest set."""
    extractor: str
    extractor_hash: str
    extractor_accuracy: float | None
    features: int
    """Features of one image."""
    n: int
    """Images in the reference, and in the honest set."""
    n_train: int
    seed: int
    better: dict[str, Better]
    honest: tuple[MetricReading, ...]
    """The honest set itself."""
    rows: tuple[Row, ...]
    graded: tuple[Graded, ...]

    def row(self, kind: str, strength: str | None = None) -> Row:
        """The row of a corruption at a strength.

        Args:
            kind: of corruption.
            strength: None takes the strongest.

        Returns:
            The row.

        Raises:
            ValueError: if there is none.
        """
        for row in reversed(self.rows):
            if row.corruption == kind and strength in (None, row.strength):
                return row
        have = ", ".join(f"{row.corruption} {row.strength}" for row in self.rows)
        raise ValueError(f"no row {kind!r} {strength or ''}: there are {have}")

    def verdict(self, kind: str, metric: str, strength: str | None = None) -> Verdict:
        """How a metric responded to a corruption.

        Args:
            kind: of corruption.
            metric: by name.
            strength: None takes the strongest.

        Returns:
            The verdict.

        Raises:
            ValueError: for an unknown metric or corruption.
        """
        row = self.row(kind, strength)
        if metric not in BETTER:
            raise ValueError(f"no metric {metric!r}: there are {', '.join(BETTER)}")
        return next(reading.verdict for reading in row.readings if reading.metric == metric)


def compare(metric: str, before: Measured, after: Measured) -> Verdict:
    """Whether `after` differs from `before`: each value outside the other's interval, then which is worse.

    What a reader could say who has two scores with their intervals. Both intervals are used because a
    corrupted set may have a wider or a narrower one than an honest set. By chance this happens to two
    independent scores of equal error in one of seven cases, to honest sets beside one reference in fewer.
    Corrupted images share the sampling error of those they were made from; a paired test, which no reader of
    scores can make, is more sensitive.

    Args:
        metric: by name.
        before: of the honest set, or of a weaker corruption.
        after: of the corrupted set.

    Returns:
        "noticed" (worse), "fooled" (better) or "missed" (neither).
    """
    lower = after.value < before.low and before.value > after.high
    higher = after.value > before.high and before.value < after.low
    worse = badness(metric, after.value) - badness(metric, before.value)
    if not (lower or higher) or worse == 0:
        return "missed"
    return "noticed" if worse > 0 else "fooled"


def reading(metric: str, corrupted: Measured | str, honest: Measured | str) -> MetricReading:
    """A metric on a corrupted set, compared with as many honest images.

    Args:
        metric: by name.
        corrupted: its result on the corrupted set; a sentence where it refused.
        honest: its result on the honest set.

    Returns:
        The reading with its verdict.
    """
    base = None if isinstance(honest, str) else honest.value
    if isinstance(corrupted, str) or isinstance(honest, str):
        interval = (
            (None, None, None)
            if isinstance(corrupted, str)
            else (corrupted.value, corrupted.low, corrupted.high)
        )
        reason = corrupted if isinstance(corrupted, str) else f"as many honest images: {honest}"
        return _reading(metric, interval, base, "refused", reason)
    interval = (corrupted.value, corrupted.low, corrupted.high)
    return _reading(metric, interval, honest.value, compare(metric, honest, corrupted), "")


def _reading(
    metric: str,
    interval: tuple[float | None, float | None, float | None],
    honest: float | None,
    verdict: Verdict,
    reason: str,
) -> MetricReading:
    value, low, high = interval
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
    """How a metric changes along strengths, weak to strong.

    Sets that shrink with the strength (dropped classes) would show the metric's bias at small numbers. So
    neighbors are compared as if both honest values were that of the first: by a shift where lower is better,
    because a distance's bias adds up, and else by a factor.

    Args:
        metric: by name.
        steps: (corrupted, as many honest images) for each strength.

    Returns:
        The trend.
    """
    chain: list[Measured] = []
    for corrupted, honest in steps:
        if isinstance(corrupted, str) or isinstance(honest, str):
            return "refused"
        chain = chain or [honest]
        chain.append(_rebased(metric, corrupted, honest.value, chain[0].value))
    verdicts = {compare(metric, weaker, stronger) for weaker, stronger in pairwise(chain)}
    if {"noticed", "fooled"} <= verdicts:
        return "wavers"
    return "worsens" if "noticed" in verdicts else "improves" if "fooled" in verdicts else "unmoved"


def _rebased(metric: str, corrupted: Measured, honest: float, first: float) -> Measured:
    if BETTER[metric] == "lower":
        return corrupted.changed(1.0, first - honest)
    return corrupted.changed(first / honest if honest > 0 else 1.0, 0.0)
