"""A duel -> its report: the standings first, then everything a report says of single runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from triptych.comparison.duel import Duel, unfair
from triptych.core.errors import RunError
from triptych.core.files import fit_to_write
from triptych.metrics.stats.paired import MIN_RUNS
from triptych.report import duel_summary as ranks
from triptych.report.duel_summary import Standing, Summary
from triptych.report.html import write_report
from triptych.report.tables import Row, write_tables
from triptych.report.traits_table import Cell, Rows, rows_of_traits
from triptych.viz import budget_charts as charts
from triptych.viz.svg import short

CURVES = (("FID", True), ("recall", False), ("precision", False))  # metric, log axis
BOUND = "bits/dim"
UNITS = {"minutes": "minutes of training", "images": "pictures seen", "flops": "FLOPs of training"}


@dataclass(frozen=True)
class Contest:
    """What contest.html shows."""

    budget: str
    seeds: int
    samples: int
    level: str  # what the intervals speak of
    warnings: Sequence[str]
    verdicts: Sequence[str]
    heads: Sequence[tuple[str, str]]  # label and color of each contestant
    scores: Rows
    choices: Rows
    costs: Rows
    curves: Sequence[str]  # SVG
    trades: Sequence[str]  # SVG
    front: Sequence[str]
    traits: Rows = field(default_factory=list)


def write_duel(duel: Duel, out: Path) -> Path:
    """Write a duel's report, with scores.csv and scores.tex beside it; returns the report's path.

    The standings are over all runs; pictures, curves and options are those of each contestant's first
    seed. Raises RunError when no contestant has a finished run that was looked at, UsageError where `out`
    cannot be written.
    """
    fit_to_write(out, "--out")
    found = ranks.standings(duel)
    if not found:
        raise RunError(f"{duel.path} has no finished run yet: triptych resume {duel.path}")
    rules = duel.rules
    names = " against ".join(s.label for s in found)
    contest = Contest(
        budget=f"{rules.amount:g} {rules.budget}",
        seeds=len(rules.seeds),
        samples=rules.samples,
        level=_level(found),
        warnings=[*unfair(duel), *_absent(duel, found)],
        verdicts=ranks.verdicts(found),
        heads=[(s.label, s.color) for s in found],
        scores=_scores(found),
        choices=_choices(found),
        costs=_costs(found),
        curves=_curves(duel, found),
        trades=_trades(found),
        front=ranks.front(found),
        traits=rows_of_traits(found),
    )
    title = f"{names} on {found[0].runs[0].card.data.name}"
    write_tables(rows_of(found), duel.path / "scores", f"{title}, {contest.budget} each")
    return write_report(
        [s.runs[0] for s in found], out, title=title, commands=_commands(duel), contest=contest
    )


def rows_of(found: Sequence[Standing]) -> list[Row]:
    """The standings as table rows."""
    return [
        Row(s.label, x.name, x.value, x.low, x.high, x.runs, x.floor, x.better)
        for s in found
        for x in s.final.values()
    ]


def _absent(duel: Duel, found: Sequence[Standing]) -> list[str]:
    wanted = len(duel.rules.seeds)
    here = {s.label: len(s.runs) for s in found}
    return [
        f"{c.label} has {here.get(c.label, 0)} of {wanted} runs: not run are the others"
        for c in duel.rules.contestants
        if here.get(c.label, 0) < wanted
    ]


def _curves(duel: Duel, found: Sequence[Standing]) -> list[str]:
    drawn = []
    for metric, log in CURVES:
        first = found[0].final.get(metric)
        if first is not None:
            arrow = "lower is better" if first.better == "lower" else "higher is better"
            unit = UNITS[duel.rules.budget]
            title = f"{first.name}, {arrow}"
            drawn.append(charts.against_budget(title, unit, ranks.courses(found, metric), log, first.floor))
    return drawn


def _trades(found: Sequence[Standing]) -> list[str]:
    quality, diversity = found[0].final["FID"].name, found[0].final["recall"].name
    front = ranks.front(found)
    return [
        charts.trade_off(
            "Quality and diversity", f"{quality} (left is better)", f"{diversity} (up is better)",
            ranks.places(found, "FID", "recall"), front, log_x=True, log_y=False,
        ),
        charts.trade_off(
            "Quality and speed", f"{quality} (left is better)", "pictures a second (up is better)",
            ranks.places(found, "FID", "speed"), front, log_x=True, log_y=True,
        ),
    ]  # fmt: skip


def _scores(found: Sequence[Standing]) -> Rows:
    rows = []
    for metric in dict.fromkeys(metric for s in found for metric in s.final):
        if metric == BOUND:  # unlike bounds are no row to rank: they stand with the traits, each by its name
            continue
        known = [s.final[metric] for s in found if metric in s.final]
        arrow = "\u2193" if known[0].better == "lower" else "\u2191"
        cells = [_cell(s.final.get(metric)) for s in found]
        rows.append((f"{known[0].name} {arrow}", cells))
    return rows


def _cell(summary: Summary | None) -> Cell:
    if summary is None:
        return "not measured", ""
    floor = "" if summary.floor is None else f" floor {short(summary.floor)}"
    return short(summary.value), f"[{short(summary.low)}, {short(summary.high)}]{floor}"


def _choices(found: Sequence[Standing]) -> Rows:
    chosen = [(", ".join(f"{step:,}" for step in s.chosen.values()), "") for s in found]
    flattered = [(short(s.flattered), "") for s in found]
    return [
        ("Step with the best FID on the selection half", chosen),
        ("FID there less FID here, by which the choice flattered itself", flattered),
    ]


def _costs(found: Sequence[Standing]) -> Rows:
    def row(name: str, text: Callable[[Standing], str]) -> tuple[str, list[Cell]]:
        return name, [(text(s), "") for s in found]

    return [
        row("Parameters", lambda s: f"{s.costs['parameters']:,.0f}"),
        row("Training steps", lambda s: f"{s.costs['steps']:,.0f}"),
        row("Pictures seen", lambda s: f"{s.costs['images']:,.0f}"),
        row("Training time", lambda s: f"{s.costs['seconds']:,.1f} s"),
        row("FLOPs of the training", lambda s: f"{s.costs['flops']:.3g}"),
        row("Peak memory", lambda s: f"{s.costs['peak_bytes'] / 2**20:,.0f} MiB"),
        row("Pictures a second, drawing", lambda s: f"{s.speed:,.0f}"),
        row("Told the class", lambda s: "yes" if s.runs[0].card.conditional else "no"),
    ]


def _level(found: Sequence[Standing]) -> str:
    fewest = min(len(s.runs) for s in found)
    if fewest >= MIN_RUNS:
        return (
            f"Each family was trained {fewest} times from seeds of its own; intervals are for its expected "
            "score (t, over the runs)."
        )
    return (
        f"Only {fewest} run{'s' * (fewest != 1)} a family: intervals are those of these runs' samples, and "
        "what is said holds for these runs only. From three on (--repeats 3) it would hold for the families."
    )


def _commands(duel: Duel) -> list[str]:
    runs = [run for contestant in duel.rules.contestants for run in duel.runs(contestant)]
    return [*(run.card.command for run in runs), "", "# looks and report", f"triptych resume {duel.path}"]
