"""A score with its card: two scores are comparable only if they were measured by the same protocol."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from triptych.core.checksummed import Checksummed
from triptych.core.errors import UnlikeCardsError
from triptych.metrics.stats.resampling import ResamplingErrors

LABELS_NONE = "none"
LABELS_DRAWN = "class distribution of the training data"
LABELS_OF_IMAGES = "of the images"
LABELS_UNKNOWN = "unknown: not recorded"
FORMER_LABELS = {
    "": LABELS_UNKNOWN,
    "drawn by the training data's class law": LABELS_DRAWN,
    "the pictures' own": LABELS_OF_IMAGES,
}


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
        "labels",
        "version",
    )

    # --- protocol: must match for a comparison ---
    metric: str
    """Name without the extractor: FID, KID, precision, recall, ..."""
    parameters: dict[str, int | float | str]
    """Every parameter of the metric that changes the value: k, the degree of the kernel."""
    data: str
    """Fingerprint of the source's preprocessed images."""
    split: str
    """Which real images were used: "test", or how they were chosen."""
    n_real: int
    n_fake: int
    extractor: str
    extractor_hash: str
    """SHA-256 of the extractor's weights."""
    resize: str
    """How images were resized for the extractor; "none" if they were not."""
    quantization: str = Field("uint8 round", validation_alias=AliasChoices("quantization", "quantisation"))
    labels: str = LABELS_UNKNOWN
    """How the labels that samples were drawn for were chosen: by the training data's class distribution, or
    none were asked for; of a likelihood, those the images were given with."""
    version: int
    """Version of the metric's code (VERSION of its module), raised when the same features would give another
    value."""

    # --- description: displayed, never compared ---
    model: str = Field("", validation_alias=AliasChoices("model", "family"))
    run: str = ""
    controls: dict[str, Any] = {}
    """Sampling options."""
    weights: str = ""
    """Weights used for sampling: raw or ema."""
    weights_requested: str = Field("", validation_alias=AliasChoices("weights_requested", "weights_asked"))
    """How these weights were requested: auto (the run's choice) or by name; "" where it was not recorded."""
    step: int | None = None
    """Number of training steps."""
    seeds: str = ""
    """Seeds of the samples: "first-last"."""
    precision: str = "fp32"
    """Arithmetic of sampling and of the extractor."""
    versions: dict[str, str] = {}

    @field_validator("weights", "extractor", "resize", mode="before")
    @classmethod
    def _former_values(cls, value: object) -> object:
        """Stored cards say "averaged" for EMA weights, and "grey"."""
        if not isinstance(value, str):
            return value
        return {"averaged": "ema"}.get(value, re.sub(r"\bgrey\b", "gray", value))

    @field_validator("labels", mode="before")
    @classmethod
    def _former_labels(cls, value: object) -> object:
        """Cards of before labels were protocol word them otherwise, or do not say."""
        return FORMER_LABELS.get(value, value) if isinstance(value, str) else value


class Score(Checksummed):
    """One measured number with its 95% interval, its floor and its card."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """Metric and extractor: "FID[digits-cnn]", never plain "FID"."""
    value: float
    low: float
    high: float
    method: str
    """How the interval was computed."""
    floor: float | None = None
    """The score of real training images in place of the samples: what a perfect model would get."""
    floor_n: int | None = None
    """Number of training images behind the floor: n_fake, or all there are."""
    better: Literal["lower", "higher"]
    target: Literal["expectation", "population"] = "expectation"
    """What the interval covers: the score's expectation at these sample sizes, or its population value (KID,
    whose expectation does not depend on the sample size)."""
    resampling: ResamplingErrors | None = Field(None, validation_alias=AliasChoices("resampling", "spread"))
    """Resampling errors, for intervals of differences and means. None: unknown; what two scores share is then
    counted twice in their difference."""
    trials: int | None = Field(None, validation_alias=AliasChoices("trials", "share_of"))
    """Number of images of which the value is a proportion; None for other scores."""
    notes: tuple[str, ...] = ()
    card: Card

    @field_validator("name", mode="before")
    @classmethod
    def _former_name(cls, name: object) -> object:
        """Stored scores say "grey"."""
        return name.replace("-grey]", "-gray]") if isinstance(name, str) else name

    def called(self) -> str:
        """How messages refer to this score."""
        of = f" of {self.card.run}" if self.card.run else ""
        return f"the score {self.name}{of}"


def first_difference(a: Card, b: Card) -> str | None:
    """Name of the first protocol field in which two cards differ.

    Args:
        a: a card.
        b: another card.

    Returns:
        The name, or None if the protocols are the same.
    """
    return next((name for name in Card.PROTOCOL if getattr(a, name) != getattr(b, name)), None)


def comparable(a: Score | Card, b: Score | Card, who: str = "these scores") -> None:
    """Return if two scores were measured by the same protocol, raise otherwise.

    Args:
        a: a score or its card.
        b: a score or its card.
        who: how the message refers to them.

    Raises:
        UnlikeCardsError: if a protocol field differs; it names the first one.
    """
    first, second = (x.card if isinstance(x, Score) else x for x in (a, b))
    if (name := first_difference(first, second)) is not None:
        raise UnlikeCardsError(name, getattr(first, name), getattr(second, name), who)
