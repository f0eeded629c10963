"""Which weights of a run are used for sampling: the raw ones or their exponential moving average (EMA).

When a training ends or stops, `selection` compares both on held-out images and writes a `Comparison` beside
the checkpoint. Whatever opens the run reads it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from triptych.core.config import Record
from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean

Which = Literal["raw", "ema"]
RequestedWeights = Literal["auto", "raw", "ema"]
REQUESTABLE: tuple[str, ...] = get_args(RequestedWeights)
NAMES = {"raw": "raw weights", "ema": "EMA weights"}
FORMER = {"averaged": "ema"}  # what cards and records called them before


class Comparison(Record):
    """How the raw weights and the EMA of one step scored on held-out images; lower scores are better."""

    step: int
    """After how many training steps the two were compared."""
    selected: Which
    """The better one: the EMA, but where the interval of the difference lies wholly below 0."""
    metric: str
    """FD (a Frechet distance of features), or the model's own loss, by its name in the log."""
    raw: float
    ema: float
    difference: float
    """The raw weights' score less the EMA's, both drawn from the same noise."""
    low: float
    high: float
    """Of the difference, 95%."""
    n: int
    """Samples drawn from each, or images whose loss was taken."""
    n_real: int
    """Held-out images the samples were compared with, or whose loss was taken."""
    split: str
    """Where these come from: the selection half of the test images, or the training images where that is
    too small."""
    features: str = ""
    """Name of the feature extractor; "" for a loss."""
    features_hash: str = ""
    """SHA-256 of its weights."""
    seconds: float
    """What the comparison took; no training time."""

    def sentence(self) -> str:
        """The result as a sentence."""
        name = self.metric + (f"[{self.features}]" if self.features else "")
        tie = ", not separable" if self.low <= 0 <= self.high else ""
        unit = "samples" if self.features else "images"
        return (
            f"{NAMES[self.selected]} are used for sampling: {name} raw {self.raw:.4g}, EMA "
            f"{self.ema:.4g}{tie} (step {self.step:,}, {self.n:,} {unit}, {self.split})"
        )


def checked(requested: str) -> RequestedWeights:
    """`requested` if it is one of REQUESTABLE. Raises UsageError with the nearest one if not."""
    for known in get_args(RequestedWeights):
        if requested == known:
            return known
    hint = did_you_mean(str(requested), REQUESTABLE, FORMER)
    raise UsageError(f"weights must be auto, raw or ema, got {requested!r}.{hint}")


def choose(
    requested: RequestedWeights, comparison: Comparison | None, kept: Sequence[Which], where: str
) -> Which:
    """Which weights of a checkpoint or snapshot to take.

    Args:
        requested: "auto" goes by the recorded comparison, and takes the raw weights where there is none.
        comparison: the one recorded beside the weights; None: there is none.
        kept: which weights it holds.
        where: what a sentence calls it.

    Returns:
        "raw" or "ema".

    Raises:
        UsageError: if it does not hold the requested weights.
    """
    if requested == "auto":
        wish: Which = "raw" if comparison is None else comparison.selected
        return wish if wish in kept else kept[0]
    if requested not in kept:
        raise UsageError(
            f"{where} kept no {NAMES[requested]}: leave --weights out, or give --weights {kept[0]}"
        )
    return requested
