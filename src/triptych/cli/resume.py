"""`triptych resume`: continue a stopped run or duel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from triptych.cli._flags import JsonFlag, Positional
from triptych.cli._registry import Result, say
from triptych.cli.duel import run_and_report
from triptych.cli.train import summarize


@dataclass(kw_only=True)
class ResumeFlags(JsonFlag):
    """Continue a stopped run or duel. On a CPU the result is the same, bit for bit, as without the stop."""

    run: Annotated[Path, Positional("RUN")]
    """The directory of a run or a duel."""
    steps: int | None = None
    """New total number of steps; left out: as planned when the run began."""
    model_file: str | None = None
    """Your own .py file with the model's class, if the run was trained from one; for a duel of several,
    the files with commas between."""


def resume(flags: ResumeFlags) -> Result:
    """Continue a run or a duel."""
    from triptych.comparison.duel import is_duel, open_duel

    if is_duel(flags.run):
        files = flags.model_file.split(",") if flags.model_file else ()
        return run_and_report(open_duel(flags.run), None, files)
    from triptych.cli.progress import progress_bar
    from triptych.runs.run import open_run
    from triptych.training.runner import resume as continue_run

    with progress_bar(open_run(flags.run).card.title) as on_step:
        run = continue_run(flags.run, flags.steps, on_step=on_step, announce=say, model_file=flags.model_file)
    return summarize(run, flags.model_file)
