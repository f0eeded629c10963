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
class Summary:
    """One score over the runs of a model, with a 95% interval."""

    score: str
    value: float
    low: float
    high: float
    runs: int
    floor: float | None
    better: str


@dataclass(frozen=True)
class Row:
    """One score of one model."""

    model: str
    summary: Summary


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
        Row(s.label, Summary(x.name, x.value, x.low, x.high, 1, x.floor, x.better))
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
        writer = csv.DictWriter(file, ["model", *(f.name for f in fields(Summary))])
        writer.writeheader()
        writer.writerows({"model": row.model, **asdict(row.summary)} for row in rows)
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
    scores = list(dict.fromkeys(row.summary.score for row in rows))
    cells = {(row.summary.score, row.model): row.summary for row in rows}
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
        own = [row.summary for row in rows if row.summary.score == score]
        arrow = r"$\downarrow$" if own[0].better == "lower" else r"$\uparrow$"
        best = min(own, key=lambda summary: summary.value if summary.better == "lower" else -summary.value)
        values, spans = [], []
        for model in models:
            summary = cells.get((score, model))
            if summary is None:
                values.append("--")
                spans.append("")
                continue
            value = escaped(short(summary.value))
            values.append(rf"\textbf{{{value}}}" if summary is best and len(own) > 1 else value)
            spans.append(rf"\scriptsize [{short(summary.low)}, {short(summary.high)}]")
        lines.append(" & ".join([f"{escaped(score)} {arrow}", *values]) + r" \\")
        lines.append(" & ".join(["", *spans]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def escaped(text: str) -> str:
    """Escape the characters that are special to TeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)
