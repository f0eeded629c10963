"""A score and how it came to be: two scores may be compared only if they were measured alike."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from triptych.core.checksummed import Checksummed
from triptych.core.errors import UnlikeCardsError
from triptych.metrics.stats.resampling import ResamplingErrors


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
        "quantization",
        "version",
    )

    # --- protocol: must match for a comparison ---
    metric: str
    """Its bare name: FID, KID, precision, recall, ..."""
    parameters: dict[str, int | float | str]
    """What the metric was told: k, the kernel's degree. Everything that changes the value."""
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
    quantization: str = Field("uint8 round", validation_alias=AliasChoices("quantization", "quantisation"))
    version: int
    """Of the metric's code: VERSION of its module, raised when the same features would give another value."""

    # --- description: shown, never compared ---
    model: str = Field("", validation_alias=AliasChoices("model", "family"))
    run: str = ""
    controls: dict[str, Any] = {}
    """Sampling options that were set."""
    weights: str = ""
    """Which were scored: raw or ema."""
    weights_asked: str = ""
    """How these were chosen: auto (those that the run shows) or by name; "" where it was not noted."""
    step: int | None = None
    """After how many training steps."""
    seeds: str = ""
    """Of the samples: "first-last"."""
    labels: str = ""
    """Where the samples' labels came from."""
    precision: str = "fp32"
    """Of sampling and of the extractor."""
    versions: dict[str, str] = {}

    @field_validator("weights", "extractor", "resize", mode="before")
    @classmethod
    def _former_values(cls, value: object) -> object:
        """Stored cards say "averaged" for EMA weights, and "grey"."""
        if not isinstance(value, str):
            return value
        return {"averaged": "ema"}.get(value, re.sub(r"\bgrey\b", "gray", value))


class Score(Checksummed):
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
    target: Literal["expectation", "population"] = "expectation"
    """What the interval is for: the score's expectation at these numbers of pictures, or its value
    for infinitely many (KID, whose expectation does not depend on them)."""
    resampling: ResamplingErrors | None = Field(None, validation_alias=AliasChoices("resampling", "spread"))
    """What the interval was made of, for intervals of differences and means. None: unknown, so what two
    scores have in common is counted twice in their difference."""
    trials: int | None = Field(None, validation_alias=AliasChoices("trials", "share_of"))
    """Of how many pictures it is a share; None where it is no share."""
    notes: tuple[str, ...] = ()
    card: Card

    @field_validator("name", mode="before")
    @classmethod
    def _former_name(cls, name: object) -> object:
        """Stored scores say "grey"."""
        return name.replace("-grey]", "-gray]") if isinstance(name, str) else name

    def called(self) -> str:
        """What a sentence calls it."""
        of = f" of {self.card.run}" if self.card.run else ""
        return f"the score {self.name}{of}"


def first_difference(a: Card, b: Card) -> str | None:
    """The first protocol field in which two cards differ, None if they are alike."""
    return next((name for name in Card.PROTOCOL if getattr(a, name) != getattr(b, name)), None)


def comparable(a: Score | Card, b: Score | Card, who: str = "these scores") -> None:
    """Return if two scores may be compared. Raises UnlikeCardsError naming the first field that differs.

    who: what the sentence calls them.
    """
    first, second = (x.card if isinstance(x, Score) else x for x in (a, b))
    if (name := first_difference(first, second)) is not None:
        raise UnlikeCardsError(name, getattr(first, name), getattr(second, name), who)
