"""What one evaluation is stored as."""

from __future__ import annotations

from triptych.core.checksummed import Checksummed
from triptych.core.config import Record
from triptych.evaluation.detailed import Closer
from triptych.evaluation.scoring import ClassView
from triptych.metrics.score import Score


class Sampling(Record):
    """How the samples were drawn, and how long that took."""

    n: int
    first_seed: int
    batch: int
    seconds: float
    seconds_per_sample: float
    device: str


class JudgeFacts(Record):
    """Who judged."""

    name: str
    hash: str
    width: int
    accuracy: float | None


class Evaluation(Checksummed, Record):
    """One evaluation of a model: what `metrics.jsonl` holds a line of."""

    scores: tuple[Score, ...]
    classes: ClassView | None
    sampling: Sampling
    judge: JudgeFacts
    step: int | None
    made: str
    """When, in UTC."""
    closer: Closer | None = None
    """What a closer look found, where one was taken; its scores stand in `scores` too."""

    def called(self) -> str:
        """What a sentence calls it."""
        return f"the evaluation made {self.made}"
