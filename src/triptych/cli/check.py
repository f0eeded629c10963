"""The verb that asks a run the GAN checklist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.cli._flags import WEIGHTS, flags_of, parse, positional
from triptych.cli._registry import verb


@verb("check", "the GAN checklist, answered from a run: losses, architecture, optimiser, balance, samples")
def check(words: list[str]) -> dict[str, Any]:
    """Answer the checklist."""
    flags = parse(
        words,
        flags_of(
            run=(positional(Path), ..., "The run's directory."),
            family=(str | None, None, "Path to the family's .py file, if it was one of your own."),
            weights=WEIGHTS,
        ),
        "check",
        "Answer the usual checklist for GANs from the run itself: are losses, optimiser, balance and samples "
        "right, and are the DCGAN paper's rules (Radford et al. 2015) kept. Exit code 0 whatever is found, "
        "1 only when the run cannot be read.",
    )
    from triptych.checklist.checklist import check as ask

    answers = ask(flags.run, model_file=flags.family, weights=flags.weights)
    chapter = ""
    for answer in answers:
        if answer.chapter != chapter:
            chapter = answer.chapter
            print(chapter.capitalize())
        print(f"  {answer.answer:<14}  {answer.question}: {answer.figure}")
    wrong = sum(answer.answer == "not ok" for answer in answers)
    print(
        f"{wrong} of {len(answers)} answers are not ok"
        if wrong
        else f"nothing wrong in {len(answers)} answers"
    )
    return {"run": str(flags.run), "answers": [a.model_dump() for a in answers], "not_ok": wrong}
