"""The content of a duel's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from triptych.report.properties_table import Rows


@dataclass(frozen=True)
class DuelPage:
    """What duel.html shows."""

    budget: str
    seeds: int
    samples: int
    level: str  # what the intervals are for
    warnings: Sequence[str]
    verdicts: Sequence[str]
    heads: Sequence[tuple[str, str]]  # label and color of each contestant
    scores: Rows
    choices: Rows
    costs: Rows
    curves: Sequence[str]  # SVG
    trades: Sequence[str]  # SVG
    front: Sequence[str]
    properties: Rows = field(default_factory=list)
