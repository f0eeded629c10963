"""One line of the checklist."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Word = Literal["ok", "not ok", "does not apply", "not known"]


class Answer(BaseModel):
    """What was asked, what was found, and the figure that says so."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chapter: str
    """Losses, architecture, optimiser, balance, samples."""
    question: str
    answer: Word
    figure: str
    """What was measured, in words."""


def judged(chapter: str, question: str, good: bool, figure: str) -> Answer:
    """An answer that is either ok or not."""
    return Answer(chapter=chapter, question=question, answer="ok" if good else "not ok", figure=figure)


def beside(chapter: str, question: str, why: str) -> Answer:
    """An answer where the question does not apply."""
    return Answer(chapter=chapter, question=question, answer="does not apply", figure=why)


def unknown(chapter: str, question: str, why: str) -> Answer:
    """An answer that the run cannot give."""
    return Answer(chapter=chapter, question=question, answer="not known", figure=why)
