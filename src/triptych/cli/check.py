"""`triptych check`: the GAN checklist, answered from a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from triptych.cli._flags import JsonFlag, ModelFileFlag, Positional, WeightsFlag
from triptych.cli._registry import Result

if TYPE_CHECKING:
    from triptych.checklist.answers import Word


WORDS: tuple[Word, ...] = ("ok", "not ok", "not known", "does not apply")  # in the order of the last line


@dataclass(kw_only=True)
class CheckFlags(WeightsFlag, ModelFileFlag, JsonFlag):
    """Answer the GAN checklist from a run: are losses, optimizer, balance and samples right, and are the
    rules of the DCGAN paper (Radford et al. 2015) kept? Exit code 0 whatever the answers are, 1 only when
    the run cannot be read."""

    run: Annotated[Path, Positional("RUN")]
    """The run's directory."""


def check(flags: CheckFlags) -> Result:
    """Answer the checklist."""
    from triptych.checklist.checklist import check as answer_checklist

    answers = answer_checklist(flags.run, model_file=flags.model_file, weights=flags.weights)
    chapter = ""
    for answer in answers:
        if answer.chapter != chapter:
            chapter = answer.chapter
            print(chapter.capitalize())
        print(f"  {answer.answer:<14}  {answer.question}: {answer.evidence}")
    counts = Counter(answer.answer for answer in answers)
    wrong = counts["not ok"]
    print(f"{len(answers)} answers: " + ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word]))
    return {"run": str(flags.run), "answers": [answer.model_dump() for answer in answers], "not_ok": wrong}
