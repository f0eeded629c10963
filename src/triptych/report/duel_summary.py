"""The results of a duel: each contestant's scores along the budget and at its selected snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.comparison.duel import Contestant, Duel
from triptych.comparison.ranking import Contestant as Side
from triptych.comparison.ranking import Entry, rank
from triptych.evaluation.detailed import DetailedEvaluation
from triptych.evaluation.records import Evaluation, evaluations
from triptych.metrics.score import Score
from triptych.metrics.stats.paired import MIN_RUNS, mean_of, over_runs
from triptych.metrics.suite import names_of
from triptych.report.run_summary import ACCENTS
from triptych.report.tables import Summary
from triptych.runs.run import Run
from triptych.viz.budget_charts import Course, Place, Point, pareto_front

CHOOSE_BY = "FID"


@dataclass(frozen=True)
class Standing:
    """The results of one contestant."""

    contestant: Contestant
    color: str
    runs: tuple[Run, ...]
    courses: dict[str, list[Point]]  # metric -> snapshots, scored on the report half
    chosen: dict[str, int]  # run -> step with the best score on the selection half
    final: dict[
        str, Summary
    ]  # metric -> on the report half, at the selected snapshots; optional ones at the last
    entries: tuple[Entry, ...]  # the same, run by run, for `compare.rank`
    detailed: tuple[DetailedEvaluation, ...]  # at the ends of the runs
    selection_bias: float  # how much better the selected snapshots scored on the half that selected them
    speed: float  # images per second, median over the runs' last evaluations
    costs: dict[str, float]  # of the trainings, median over the runs

    @property
    def label(self) -> str:
        """Its name in charts and tables."""
        return self.contestant.label


def duel_standings(duel: Duel) -> list[Standing]:
    """Every contestant with at least one finished run that was evaluated, in the order of the rules."""
    standings = []
    for number, contestant in enumerate(duel.rules.contestants):
        runs = [run for run in duel.runs(contestant) if evaluations(run)]
        if runs:
            standings.append(_standing(duel, contestant, ACCENTS[number % len(ACCENTS)], runs))
    return standings


def _standing(duel: Duel, contestant: Contestant, color: str, runs: Sequence[Run]) -> Standing:
    halves = [_by_half(run) for run in runs]
    reports = [report for _, report in halves]
    chosen, gaps, entries = {}, [], []
    for run, (selection, report) in zip(runs, halves, strict=True):
        step = min(selection, key=lambda k: _score(selection[k], CHOOSE_BY).value)
        chosen[run.path.name] = step
        there, here = (_score(half[step], CHOOSE_BY) for half in (selection, report))
        gaps.append((here.value - (here.floor or 0.0)) - (there.value - (there.floor or 0.0)))
        last = report[max(report)]
        scores = {s.card.metric: s for evaluation in (last, report[step]) for s in evaluation.scores}
        seed = run.card.options.seed
        entries.append(Entry(str(run.path), contestant.label, scores, seed=seed))
    metrics = list(entries[0].scores)
    ends = [report[max(report)] for report in reports]
    return Standing(
        contestant=contestant,
        color=color,
        runs=tuple(runs),
        courses={m: _course(duel, runs, reports, m) for m in names_of("always")},
        chosen=chosen,
        final={
            m: over_seeds([e.scores[m] for e in entries])
            for m in metrics
            if all(m in e.scores for e in entries)
        },
        entries=tuple(entries),
        detailed=tuple(end.detailed for end in ends if end.detailed is not None),
        selection_bias=float(np.mean(gaps)),
        speed=float(np.median([1 / end.sampling.seconds_per_sample for end in ends])),
        costs=_costs(runs),
    )


def over_seeds(scores: Sequence[Score]) -> Summary:
    """Summarize one score over runs that differ by the seed alone; from three on it holds for other seeds."""
    mean, first = mean_of(scores), scores[0]
    low, high = over_runs(scores)[:2] if len(scores) >= MIN_RUNS else (mean.low, mean.high)
    if first.card.metric != "KID" and first.card.metric != "FD-infinity":
        low = max(low, 0.0)
    return Summary(first.name, mean.value, low, high, len(scores), first.floor, first.better)


def verdicts(standings: Sequence[Standing]) -> list[str]:
    """A sentence on each two contestants, for quality and for diversity."""
    sides = [Side(s.label, s.entries) for s in standings]
    if len(sides) < 2:
        return []
    return [v.sentence for metric in ("FID", "recall") for v in rank(metric, sides).verdicts]


def _by_half(run: Run) -> tuple[dict[int, Evaluation], dict[int, Evaluation]]:
    halves: dict[str, dict[int, Evaluation]] = {"selection": {}, "report": {}}
    for evaluation in evaluations(run):
        half = evaluation.scores[0].card.split.split(" ")[0]
        if half in halves and evaluation.step is not None:
            halves[half][evaluation.step] = evaluation
    return halves["selection"], halves["report"]


def _score(evaluation: Evaluation, metric: str) -> Score:
    return next(score for score in evaluation.scores if score.card.metric == metric)


def _course(
    duel: Duel, runs: Sequence[Run], reports: Sequence[dict[int, Evaluation]], metric: str
) -> list[Point]:
    points = []
    for number in range(min(len(report) for report in reports)):
        steps = [sorted(report)[number] for report in reports]
        summary = over_seeds([_score(r[step], metric) for r, step in zip(reports, steps, strict=True)])
        spent = [_spent(duel, run, step) for run, step in zip(runs, steps, strict=True)]
        points.append(Point(float(np.mean(spent)), summary.value, summary.low, summary.high))
    return points


def _spent(duel: Duel, run: Run, step: int) -> float:
    if duel.rules.budget == "images":
        return float(step * run.card.options.batch)
    if duel.rules.budget == "flops":
        return float(step * run.card.cost.flops_per_step)
    return run.snapshot_meta(step).seconds / 60


def _costs(runs: Sequence[Run]) -> dict[str, float]:
    def median(pick: Any) -> float:
        return float(np.median([pick(run) for run in runs]))

    return {
        "parameters": median(lambda run: run.card.cost.parameters),
        "steps": median(lambda run: run.checkpoint_meta().step),
        "images": median(lambda run: run.checkpoint_meta().images),
        "seconds": median(lambda run: run.checkpoint_meta().seconds),
        "flops": median(lambda run: run.checkpoint_meta().step * run.card.cost.flops_per_step),
        "peak_bytes": median(lambda run: run.checkpoint_meta().peak_memory_bytes),
    }


# --- for the charts -------------------------------------------------------------------------


def courses(standings: Sequence[Standing], metric: str) -> list[Course]:
    """Collect each contestant's scores along the budget, for `viz.budget_charts.against_budget`.

    Args:
        standings: All contestants.
        metric: A metric's name.

    Returns:
        One course for each contestant that has the score.
    """
    return [Course(s.label, s.color, s.courses[metric]) for s in standings if metric in s.courses]


def places(standings: Sequence[Standing], across: str, up: str) -> list[Place]:
    """Place each contestant between two scores, for `viz.budget_charts.trade_off`.

    Args:
        standings: All contestants.
        across: A metric's name, or "speed" for images per second: the horizontal axis.
        up: Likewise, the vertical axis.

    Returns:
        One place for each contestant.
    """

    def span(s: Standing, metric: str) -> tuple[float, float, float]:
        if metric == "speed":
            return s.speed, s.speed, s.speed
        return s.final[metric].value, s.final[metric].low, s.final[metric].high

    return [Place(s.label, s.color, span(s, across), span(s, up)) for s in standings]


def front(standings: Sequence[Standing]) -> list[str]:
    """The Pareto front of quality (FID), diversity (recall) and speed."""
    return pareto_front(
        {s.label: (-s.final["FID"].value, s.final["recall"].value, s.speed) for s in standings}
    )
