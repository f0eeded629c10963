"""Scores as CSV and LaTeX."""

from __future__ import annotations

import csv
from pathlib import Path

from triptych.report.tables import Row, Summary, escaped, latex, write_tables

ROWS = [
    Row("DCGAN", Summary("FID[digits-cnn]", 2.0, 1.5, 2.5, 3, 0.3, "lower")),
    Row("VAE & flow", Summary("FID[digits-cnn]", 1.0, 0.9, 1.1, 3, 0.3, "lower")),
    Row("DCGAN", Summary("recall[digits-cnn]", 0.8, 0.7, 0.9, 3, None, "higher")),
]


def test_every_row_is_in_the_csv(tmp_path: Path) -> None:
    table, tex = write_tables(ROWS, tmp_path / "deep" / "scores", "50 % off")
    with table.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [float(r["value"]) for r in read] == [2.0, 1.0, 0.8]
    assert read[1]["model"] == "VAE & flow" and read[2]["floor"] == ""
    assert tex.read_text() == latex(ROWS, "50 % off")


def test_the_best_of_several_is_bold_and_gaps_are_dashes() -> None:
    text = latex(ROWS, "50 % off")
    assert r"FID[digits-cnn] $\downarrow$ & 2 & \textbf{1} \\" in text
    assert r"recall[digits-cnn] $\uparrow$ & 0.8 & -- \\" in text
    assert r"& DCGAN & VAE \& flow \\" in text and r"\caption{50 \% off}" in text
    assert text.count("{") == text.count("}")


def test_nothing_special_reaches_tex() -> None:
    assert escaped("a_b%c#d{e}~^\\") == r"a\_b\%c\#d\{e\}\textasciitilde{}\textasciicircum{}\textbackslash{}"
