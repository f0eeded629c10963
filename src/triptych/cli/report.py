"""`triptych report`: one HTML file about runs or a duel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.cli._flags import WEIGHTS, flags_of, parse, positional
from triptych.cli._registry import verb


@verb("report", "write one HTML file about one run or several, or about a duel")
def report(words: list[str]) -> dict[str, Any]:
    """Write a report."""
    flags = parse(
        words,
        flags_of(
            run_dirs=(positional(tuple[Path, ...]), ..., "The runs' directories, or a duel's."),
            out=(Path, Path("report.html"), "The file to write."),
            weights=WEIGHTS,
            tables=(Path | None, None, "Write the scores too: PATH.csv, and PATH.tex for LaTeX."),
            tensorboard=(Path | None, None, "Write TensorBoard event files into this folder too."),
        ),
        "report",
        "Write one self-contained HTML file about one run or several, side by side.",
    )
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
            "CSV and LaTeX: --tables PATH, event files: --tensorboard FOLDER"
        )
    if not flags.run_dirs:
        raise UsageError("name at least one run: triptych report RUN... [--out report.html]")
    if any(map(is_duel, flags.run_dirs)):
        if len(flags.run_dirs) > 1 or flags.tables or flags.tensorboard:
            raise UsageError(
                "a duel's report is about that duel alone, and its tables stand beside it: "
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
