"""The results of a ranking: standings, verdicts on each two contestants, notes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Standing:
    """A contestant's score with its own 95% interval, and the ranks it may have."""

    label: str
    runs: tuple[str, ...]
    value: float
    low: float
    high: float
    method: str
    claim: str
    best: int
    worst: int


@dataclass(frozen=True)
class Verdict:
    """The comparison of two contestants; the difference is the first's score less the second's."""

    first: str
    second: str
    winner: str | None
    difference: float
    low: float
    high: float
    method: str
    sentence: str


@dataclass(frozen=True)
class Ranking:
    """The contestants by one score, best first."""

    metric: str
    name: str
    better: str
    standings: tuple[Standing, ...]
    verdicts: tuple[Verdict, ...]
    level: float
    """Of each difference's interval, so that all of them hold together with 95%."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """The result of `triptych compare`."""

    rankings: tuple[Ranking, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
