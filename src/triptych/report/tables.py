"""Scores as files for a paper or a spreadsheet: CSV, and LaTeX with booktabs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from triptych.core.errors import RunError
from triptych.report.run_summary import summarize
from triptych.runs.run import Run
from triptych.viz.svg import short


@dataclass(frozen=True)
class Row:
    """One score of one model."""

    model: str
    score: str
    value: float
    low: float
    high: float
    runs: int
    floor: float | None
    better: str


def write_score_tables(runs: Sequence[Run], stem: Path) -> list[Path]:
    """Write the scores of the runs' newest evaluations as stem.csv and stem.tex.

    Args:
        runs: Runs on one data set.
        stem: Path of both files, without a suffix.

    Returns:
        Both paths.

    Raises:
        RunError: If no run has an evaluation.
    """
    rows = [
        Row(s.label, x.name, x.value, x.low, x.high, 1, x.floor, x.better)
        for s in summarize(runs)
        for x in s.scores
    ]
    if not rows:
        raise RunError("these runs have no scores yet: triptych evaluate RUN")
    return write_tables(rows, stem, f"Scores on {runs[0].card.data.name}")


def write_tables(rows: Sequence[Row], stem: Path, caption: str) -> list[Path]:
    """Write stem.csv (every row) and stem.tex (models across, scores down).

    Args:
        rows: Scores of all models.
        stem: Path of both files, without a suffix.
        caption: Of the LaTeX table.

    Returns:
        Both paths.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    table, tex = stem.with_suffix(".csv"), stem.with_suffix(".tex")
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    tex.write_text(latex(rows, caption), encoding="utf-8")
    return [table, tex]


def latex(rows: Sequence[Row], caption: str) -> str:
    """Format a booktabs table: the best value of each score in bold, intervals small below it.

    Args:
        rows: Scores of all models.
        caption: Of the table.

    Returns:
        LaTeX source.
    """
    models = list(dict.fromkeys(row.model for row in rows))
    scores = list(dict.fromkeys(row.score for row in rows))
    cells = {(row.score, row.model): row for row in rows}
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        rf"\caption{{{escaped(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(models)}}}",
        r"\toprule",
        " & ".join(["", *map(escaped, models)]) + r" \\",
        r"\midrule",
    ]
    for score in scores:
        own = [row for row in rows if row.score == score]
        arrow = r"$\downarrow$" if own[0].better == "lower" else r"$\uparrow$"
        best = min(own, key=lambda row: row.value if row.better == "lower" else -row.value)
        values, spans = [], []
        for model in models:
            row = cells.get((score, model))
            if row is None:
                values.append("--")
                spans.append("")
                continue
            value = escaped(short(row.value))
            values.append(rf"\textbf{{{value}}}" if row is best and len(own) > 1 else value)
            spans.append(rf"\scriptsize [{short(row.low)}, {short(row.high)}]")
        lines.append(" & ".join([f"{escaped(score)} {arrow}", *values]) + r" \\")
        lines.append(" & ".join(["", *spans]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def escaped(text: str) -> str:
    """Escape the characters that are special to TeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)
