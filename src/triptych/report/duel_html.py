"""A duel -> its report: the standings first, then everything that a report says of single runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from triptych.comparison.duel import Duel, budget_mismatches
from triptych.core.errors import RunError
from triptych.core.files import fit_to_write
from triptych.metrics.stats.paired import MIN_RUNS
from triptych.report import duel_summary as ranks
from triptych.report.duel_page import DuelPage
from triptych.report.duel_summary import Standing
from triptych.report.html import write_report
from triptych.report.properties_table import Cell, Rows, property_rows
from triptych.report.tables import Row, Summary, write_tables
from triptych.viz import budget_charts as charts
from triptych.viz.svg import short

CURVES = (("FID", True), ("recall", False), ("precision", False))  # metric, log axis
BOUND = "bits/dim"
UNITS = {"minutes": "minutes of training", "images": "training images seen", "flops": "FLOPs of training"}


def write_duel(duel: Duel, out: Path) -> Path:
    """Write a duel's report, with scores.csv and scores.tex beside it.

    The standings are over all runs; images, curves and options are those of each contestant's first seed.

    Args:
        duel: The duel.
        out: The HTML file to write.

    Returns:
        `out`.

    Raises:
        RunError: If no contestant has a finished run that was evaluated.
    """
    fit_to_write(out, "--out")
    standings = ranks.duel_standings(duel)
    if not standings:
        raise RunError(f"{duel.path} has no finished run yet: triptych resume {duel.path}")
    rules = duel.rules
    names = " against ".join(s.label for s in standings)
    page = DuelPage(
        budget=f"{rules.amount:g} {rules.budget}",
        seeds=len(rules.seeds),
        samples=rules.samples,
        level=_level(standings),
        warnings=[*budget_mismatches(duel), *_absent(duel, standings)],
        verdicts=ranks.verdicts(standings),
        heads=[(s.label, s.color) for s in standings],
        scores=_scores(standings),
        choices=_choices(standings),
        costs=_costs(standings),
        curves=_curves(duel, standings),
        trades=_trades(standings),
        front=ranks.front(standings),
        properties=property_rows(standings),
    )
    title = f"{names} on {standings[0].runs[0].card.data.name}"
    write_tables(rows_of(standings), duel.path / "scores", f"{title}, {page.budget} each")
    return write_report([s.runs[0] for s in standings], out, title=title, commands=_commands(duel), duel=page)


def rows_of(standings: Sequence[Standing]) -> list[Row]:
    """The standings as rows of the score tables."""
    return [Row(s.label, summary) for s in standings for summary in s.final.values()]


def _absent(duel: Duel, standings: Sequence[Standing]) -> list[str]:
    wanted = len(duel.rules.seeds)
    here = {s.label: len(s.runs) for s in standings}
    return [
        f"{c.label} has {here.get(c.label, 0)} of {wanted} runs: the others were not run"
        for c in duel.rules.contestants
        if here.get(c.label, 0) < wanted
    ]


def _curves(duel: Duel, standings: Sequence[Standing]) -> list[str]:
    curves = []
    for metric, log in CURVES:
        first = standings[0].final.get(metric)
        if first is not None:
            arrow = "lower is better" if first.better == "lower" else "higher is better"
            unit = UNITS[duel.rules.budget]
            title = f"{first.score}, {arrow}"
            curves.append(
                charts.against_budget(title, unit, ranks.courses(standings, metric), log, first.floor)
            )
    return curves


def _trades(standings: Sequence[Standing]) -> list[str]:
    quality, diversity = standings[0].final["FID"].score, standings[0].final["recall"].score
    front = ranks.front(standings)
    return [
        charts.trade_off(
            "Quality and diversity", f"{quality} (left is better)", f"{diversity} (up is better)",
            ranks.places(standings, "FID", "recall"), front, log_x=True, log_y=False,
        ),
        charts.trade_off(
            "Quality and speed", f"{quality} (left is better)", "images per second (up is better)",
            ranks.places(standings, "FID", "speed"), front, log_x=True, log_y=True,
        ),
    ]  # fmt: skip


def _scores(standings: Sequence[Standing]) -> Rows:
    rows = []
    for metric in dict.fromkeys(metric for s in standings for metric in s.final):
        if metric == BOUND:  # unlike bounds are no row to rank: they stand with the traits, each by its name
            continue
        measured = [s.final[metric] for s in standings if metric in s.final]
        arrow = "\u2193" if measured[0].better == "lower" else "\u2191"
        cells = [_cell(s.final.get(metric)) for s in standings]
        rows.append((f"{measured[0].score} {arrow}", cells))
    return rows


def _cell(summary: Summary | None) -> Cell:
    if summary is None:
        return "not measured", ""
    floor = "" if summary.floor is None else f" floor {short(summary.floor)}"
    return short(summary.value), f"[{short(summary.low)}, {short(summary.high)}]{floor}"


def _choices(standings: Sequence[Standing]) -> Rows:
    steps = [(", ".join(f"{step:,}" for step in s.chosen.values()), "") for s in standings]
    bias = [(short(s.selection_bias), "") for s in standings]
    return [
        ("Step with the best FID on the selection half", steps),
        ("Selection bias: FID on the report half less FID on the selection half", bias),
    ]


def _costs(standings: Sequence[Standing]) -> Rows:
    def row(name: str, text: Callable[[Standing], str]) -> tuple[str, list[Cell]]:
        return name, [(text(s), "") for s in standings]

    return [
        row("Parameters", lambda s: f"{s.costs['parameters']:,.0f}"),
        row("Training steps", lambda s: f"{s.costs['steps']:,.0f}"),
        row("Training images seen", lambda s: f"{s.costs['images']:,.0f}"),
        row("Training time", lambda s: f"{s.costs['seconds']:,.1f} s"),
        row("FLOPs of the training", lambda s: f"{s.costs['flops']:.3g}"),
        row("Peak memory", lambda s: f"{s.costs['peak_bytes'] / 2**20:,.0f} MiB"),
        row("Images per second, sampling", lambda s: f"{s.speed:,.0f}"),
        row("Conditional on the class", lambda s: "yes" if s.runs[0].card.conditional else "no"),
    ]


def _level(standings: Sequence[Standing]) -> str:
    fewest = min(len(s.runs) for s in standings)
    if fewest >= MIN_RUNS:
        return (
            f"Each model was trained {fewest} times with different seeds; intervals are for its expected "
            "score (t interval over the runs)."
        )
    return (
        f"Only {fewest} run{'s' * (fewest != 1)} of each model: intervals come from these runs' samples, "
        "and conclusions hold for these runs only. With three or more (--repeats 3) they hold for the models."
    )


def _commands(duel: Duel) -> list[str]:
    runs = [run for contestant in duel.rules.contestants for run in duel.runs(contestant)]
    return [
        *(run.card.command for run in runs),
        "",
        "# evaluations and report",
        f"triptych resume {duel.path}",
    ]
