"""`triptych check`: the GAN checklist, answered from a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from triptych.cli._flags import JsonFlag, ModelFileFlag, Positional, WeightsFlag
from triptych.cli._registry import Result


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
    wrong = sum(answer.answer == "not ok" for answer in answers)
    open_questions = sum(answer.answer == "not known" for answer in answers)
    not_known = f"; {open_questions} not known" if open_questions else ""
    print(f"{wrong or 'none'} of {len(answers)} answers {'are' if wrong > 1 else 'is'} not ok{not_known}")
    return {"run": str(flags.run), "answers": [answer.model_dump() for answer in answers], "not_ok": wrong}
