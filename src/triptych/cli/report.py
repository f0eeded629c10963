"""`triptych report`: one HTML file about runs or a duel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from triptych.cli._flags import JsonFlag, Positional, WeightsFlag
from triptych.cli._registry import Result


@dataclass(kw_only=True)
class ReportFlags(WeightsFlag, JsonFlag):
    """Write one self-contained HTML file about a run, about several side by side, or about a duel."""

    run_dirs: Annotated[tuple[Path, ...], Positional("RUN [RUN ...]")]
    """The runs' directories, or one duel's."""
    out: Path = Path("report.html")
    """The HTML file to write."""
    tables: Path | None = None
    """Also write the scores to PATH.csv and, as a LaTeX table, to PATH.tex."""
    tensorboard: Path | None = None
    """Also write TensorBoard event files into this directory."""


def report(flags: ReportFlags) -> Result:
    """Write a report.

    Args:
        flags: As typed.

    Returns:
        What --json prints.

    Raises:
        UsageError: For an --out that is not HTML, no run, or a duel together with anything else.
    """
    from triptych.comparison.duel import is_duel, open_duel
    from triptych.core.errors import UsageError
    from triptych.report.duel_html import write_duel
    from triptych.report.html import write_report
    from triptych.report.tables import write_score_tables
    from triptych.report.tensorboard import write_events
    from triptych.runs.run import open_run

    if flags.out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            f"--out {flags.out}: a report is one HTML file: {flags.out.with_suffix('.html').name}; scores as "
            "CSV and LaTeX: --tables PATH; event files: --tensorboard FOLDER"
        )
    if not flags.run_dirs:
        raise UsageError("give at least one run: triptych report RUN... [--out report.html]")
    if any(map(is_duel, flags.run_dirs)):
        if len(flags.run_dirs) > 1 or flags.tables or flags.tensorboard:
            raise UsageError(
                "the report of a duel takes that duel alone and writes its tables beside it: "
                "triptych report DUEL [--out report.html]"
            )
        out = write_duel(open_duel(flags.run_dirs[0]), flags.out)
        print(out)
        return {"out": str(out), "also": []}
    runs = [open_run(path) for path in flags.run_dirs]
    extra = [] if flags.tables is None else write_score_tables(runs, flags.tables)
    extra += [] if flags.tensorboard is None else write_events(runs, flags.tensorboard)
    out = write_report(runs, flags.out, commands=[run.card.command for run in runs], weights=flags.weights)
    print("\n".join(map(str, [*extra, out])))
    return {"out": str(out), "also": list(map(str, extra))}
