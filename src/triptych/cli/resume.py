"""`triptych resume`: go on with a stopped run or duel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.cli._flags import flags_of, parse, positional
from triptych.cli._registry import say, verb
from triptych.cli.duel import fought
from triptych.cli.train import finished


@verb("resume", "go on with a stopped run, to the same bits")
def resume(words: list[str]) -> dict[str, Any]:
    """Go on with a run."""
    flags = parse(
        words,
        flags_of(
            run=(positional(Path), ..., "The run's directory, or a duel's."),
            steps=(int | None, None, "A new total number of steps."),
            family=(
                str | None,
                None,
                "Path to the family's .py file, if it was one of your own; several of a duel with commas.",
            ),
        ),
        "resume",
        "Go on with a stopped run, to the same bits as if it had never stopped.",
    )
    from triptych.comparison.duel import is_duel, open_duel

    if is_duel(flags.run):
        return fought(open_duel(flags.run), None, flags.family.split(",") if flags.family else ())
    from triptych.cli.progress import progress_bar
    from triptych.runs.run import open_run
    from triptych.training.runner import resume as go_on

    with progress_bar(open_run(flags.run).card.title) as watch:
        run = go_on(flags.run, flags.steps, watch=watch, announce=say, model_file=flags.family)
    return finished(run, flags.family)
