"""A score and how it came to be: two scores may be compared only if they were measured alike."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

VERSION = 1  # of the metrics' code: raised when the same features would give another value


class Card(BaseModel):
    """How a score was measured (protocol) and what was measured (description)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    PROTOCOL: ClassVar[tuple[str, ...]] = (
        "metric",
        "parameters",
        "data",
        "split",
        "n_real",
        "n_fake",
        "extractor",
        "extractor_hash",
        "resize",
        "quantisation",
        "version",
    )

    # --- protocol: must match for a comparison ---
    metric: str
    """FID, KID, precision, recall, density or coverage."""
    parameters: dict[str, int | float | str]
    """What the metric was told: k, the kernel's degree."""
    data: str
    """Fingerprint of the prepared pictures of the source."""
    split: str
    """Which of them: "test", or how they were chosen."""
    n_real: int
    n_fake: int
    extractor: str
    extractor_hash: str
    """Of the extractor's weights."""
    resize: str
    """How pictures were brought to the extractor's size; "none" if they were not."""
    quantisation: str = "uint8 round"
    version: int = VERSION

    # --- description: shown, never compared ---
    family: str = ""
    run: str = ""
    controls: dict[str, Any] = {}
    """Sampling options that were set."""
    weights: str = ""
    """Which were shown: averaged or raw."""
    step: int | None = None
    """After how many training steps."""
    seeds: str = ""
    """Of the samples: "first-last"."""
    labels: str = ""
    """Where the samples' labels came from."""
    precision: str = "fp32"
    """Of sampling and of the extractor."""
    versions: dict[str, str] = {}


class Score(BaseModel):
    """One measured number with its 95 % interval, its floor and its card."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """With the extractor's name: "FID[digits-cnn]", never plain "FID"."""
    value: float
    low: float
    high: float
    method: str
    """How the interval was made."""
    floor: float | None = None
    """The same score of real training pictures in place of the samples: what a perfect model would get."""
    floor_n: int | None = None
    """How many training pictures made the floor: n_fake, or all there are."""
    better: Literal["lower", "higher"]
    notes: tuple[str, ...] = ()
    card: Card


class UnlikeCardsError(ValueError):
    """Two scores that were not measured alike; `field` is the first protocol field that differs."""

    def __init__(self, field: str, first: object, second: object) -> None:
        super().__init__(
            f"these scores cannot be compared: {field} differs ({first!r} and {second!r}). "
            "Evaluate both again in the same way."
        )
        self.field = field


def first_difference(a: Card, b: Card) -> str | None:
    """The first protocol field in which two cards differ, None if they are alike."""
    return next((name for name in Card.PROTOCOL if getattr(a, name) != getattr(b, name)), None)


def comparable(a: Score | Card, b: Score | Card) -> None:
    """Return if two scores may be compared. Raises UnlikeCardsError naming the first field that differs."""
    first, second = (x.card if isinstance(x, Score) else x for x in (a, b))
    if (name := first_difference(first, second)) is not None:
        raise UnlikeCardsError(name, getattr(first, name), getattr(second, name))
