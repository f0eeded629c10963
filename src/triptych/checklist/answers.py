"""One line of the checklist."""

from __future__ import annotations

from typing import Literal

from triptych.core.config import Record

Word = Literal["ok", "not ok", "does not apply", "not known"]


class Answer(Record):
    """A question, its answer, and the evidence for it."""

    chapter: str
    """Losses, architecture, optimizer, balance, samples, checkpoint."""
    question: str
    answer: Word
    evidence: str
    """What was measured, in words."""


def pass_or_fail(chapter: str, question: str, good: bool, evidence: str) -> Answer:
    """Make an answer that is either ok or not.

    Args:
        chapter: Where the question belongs.
        question: What was checked.
        good: Whether it is ok.
        evidence: What was measured, in words.

    Returns:
        The answer.
    """
    return Answer(chapter=chapter, question=question, answer="ok" if good else "not ok", evidence=evidence)


def not_applicable(chapter: str, question: str, reason: str) -> Answer:
    """Make the answer to a question that does not apply.

    Args:
        chapter: Where the question belongs.
        question: What would have been checked.
        reason: Why it does not apply.

    Returns:
        The answer.
    """
    return Answer(chapter=chapter, question=question, answer="does not apply", evidence=reason)


def unknown(chapter: str, question: str, reason: str) -> Answer:
    """Make the answer to a question that the run cannot answer.

    Args:
        chapter: Where the question belongs.
        question: What would have been checked.
        reason: What is missing.

    Returns:
        The answer.
    """
    return Answer(chapter=chapter, question=question, answer="not known", evidence=reason)
