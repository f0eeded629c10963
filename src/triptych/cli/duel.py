"""`triptych duel`: equal budgets, several seeds, one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from triptych.cli._flags import flags_of, parse, positional
from triptych.cli._registry import say, verb


@verb("duel", "families against each other: equal budgets, several seeds, one judge, one report")
def duel(words: list[str]) -> dict[str, Any]:
    """A contest under one protocol."""
    from triptych.comparison import duel as contest
    from triptych.core.errors import UsageError

    flags = parse(
        words,
        flags_of(
            families=(
                positional(tuple[str, ...]),
                ...,
                'Each alone, or with flags: "dcgan --preset paper".',
            ),
            data=(str, "digits", "Where the pictures come from: digits, mnist, folder:PATH, ..."),
            size=(int | None, None, "Side of the pictures in pixels; left out: what suits the source."),
            minutes=(float | None, None, "Budget of each training in minutes (5 if none is given), ..."),
            images=(int | None, None, "... or in pictures seen, ..."),
            flops=(float | None, None, "... or in floating-point operations."),
            repeats=(
                int,
                1,
                "Trainings of each family, from seeds of their own; from 3 on families are judged.",
            ),
            seed=(int, 0, "The first of these seeds."),
            samples=(int, 1000, "Pictures drawn at each look."),
            features=(str, "auto", "Who judges; see triptych evaluate."),
            runs=(Path, Path("runs"), "Directory the duel is made in."),
            name=(str | None, None, "Name of the duel after its number."),
            out=(Path | None, None, "The report; left out: report.html in the duel's directory."),
        ),
        "duel",
        "Train families on the same pictures with equal budgets and judge them alike.",
    )
    budgets = {kind: getattr(flags, kind) for kind in contest.BUDGETS if getattr(flags, kind) is not None}
    if len(budgets) > 1:
        raise UsageError(f"give one budget, not {' and '.join('--' + kind for kind in budgets)}")
    if flags.repeats < 1:
        raise UsageError(f"--repeats must be at least 1, got {flags.repeats}")
    budget, amount = next(iter(budgets.items()), ("minutes", 5.0))
    made = contest.begin(
        flags.families, flags.data, budget=budget, amount=amount, size=flags.size,
        seeds=range(flags.seed, flags.seed + flags.repeats), samples=flags.samples,
        features=flags.features, home=flags.runs, name=flags.name,
    )  # fmt: skip
    return fought(made, flags.out, made.files())


def fought(made: Any, out: Path | None, files: Sequence[str]) -> dict[str, Any]:
    """Do what a duel has not done yet, and write its report. files: the .py files that the user named."""
    from triptych.comparison import duel as contest
    from triptych.report.duel_html import write_duel

    if code := contest.fight(made, say, files):
        return {"exit": code, **contest.as_dict(made)}
    report = write_duel(made, out or made.path / "report.html")
    say(f"open {report} in a browser")
    print(made.path)
    return {**contest.as_dict(made), "report": str(report)}
