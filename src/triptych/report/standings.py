"""What a duel came to: each contestant's course through the budget, and where it ended, over its runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from triptych.duel import Contestant, Duel, looks
from triptych.evaluate import Evaluation
from triptych.figures.contest import Course, Place, Point, pareto_front
from triptych.metrics.card import Score
from triptych.report.facts import ACCENTS
from triptych.run import Run

ENOUGH_RUNS = 3  # from here on runs speak for their family
CHOOSE_BY = "FID"


@dataclass(frozen=True)
class Summary:
    """One score over a contestant's runs, with a 95 % interval; see `over_runs`."""

    name: str
    value: float
    low: float
    high: float
    runs: int
    floor: float | None
    better: str


@dataclass(frozen=True)
class Standing:
    """One contestant."""

    contestant: Contestant
    colour: str
    runs: tuple[Run, ...]
    courses: dict[str, list[Point]]  # metric -> looks, scored on the report half
    chosen: dict[str, int]  # run -> step whose score on the selection half was best
    final: dict[str, Summary]  # metric -> at the chosen looks, on the report half
    flattered: float | None  # how much better the chosen looks' scores were where they were chosen
    speed: float  # pictures a second, median over the runs' last looks
    costs: dict[str, float]  # what the trainings took, median over the runs

    @property
    def label(self) -> str:
        """Its name in charts and tables."""
        return self.contestant.label


def standings(duel: Duel) -> list[Standing]:
    """Every contestant with at least one finished run that was looked at, in the order of the rules."""
    made = []
    for number, contestant in enumerate(duel.rules.contestants):
        runs = [run for run in duel.runs(contestant) if run.metrics()]
        if runs:
            made.append(_standing(duel, contestant, ACCENTS[number % len(ACCENTS)], runs))
    return made


def _standing(duel: Duel, contestant: Contestant, colour: str, runs: Sequence[Run]) -> Standing:
    by_run = {run.path.name: _by_half(run) for run in runs}
    chosen, gaps, picked = {}, [], []
    for name, (selection, report) in by_run.items():
        step = min(selection, key=lambda k: _score(selection[k], CHOOSE_BY).value)
        chosen[name] = step
        picked.append(report[step])
        floors = [_score(half[step], CHOOSE_BY).floor or 0.0 for half in (selection, report)]
        values = [_score(half[step], CHOOSE_BY).value for half in (selection, report)]
        gaps.append((values[1] - floors[1]) - (values[0] - floors[0]))  # halves differ in their floors too
    metrics = [score.card.metric for score in picked[0].scores]
    last = [max(report.items())[1] for _, report in by_run.values()]
    return Standing(
        contestant=contestant,
        colour=colour,
        runs=tuple(runs),
        courses={m: _course(duel, runs, [report for _, report in by_run.values()], m) for m in metrics},
        chosen=chosen,
        final={m: over_runs([_score(look, m) for look in picked]) for m in metrics},
        flattered=float(np.mean(gaps)),
        speed=float(np.median([1 / look.sampling.seconds_per_sample for look in last])),
        costs=_costs(runs),
    )


def over_runs(scores: Sequence[Score]) -> Summary:
    """One score over runs that differ in nothing but the seed.

    From three runs on the interval is a t interval of the runs' mean: the spread between runs holds the
    spread within them, so nothing is counted twice. With fewer the runs' own intervals are combined, and
    the claim is about these runs alone.
    """
    values = np.array([s.value for s in scores])
    if len(values) >= ENOUGH_RUNS:
        error = float(values.std(ddof=1)) / len(values) ** 0.5
        reach = error * float(stdtrit(len(values) - 1, 0.975))
        low, high = values.mean() - reach, values.mean() + reach
    else:
        below = np.array([s.value - s.low for s in scores])
        above = np.array([s.high - s.value for s in scores])
        low = values.mean() - math.sqrt(float((below**2).sum())) / len(values)
        high = values.mean() + math.sqrt(float((above**2).sum())) / len(values)
    first, metric = scores[0], scores[0].card.metric
    if metric != "KID":
        low = max(low, 0.0)
    if metric in ("precision", "recall", "coverage"):
        high = min(high, 1.0)
    return Summary(
        first.name, float(values.mean()), float(low), float(high), len(values), first.floor, first.better
    )


def _by_half(run: Run) -> tuple[dict[int, Evaluation], dict[int, Evaluation]]:
    halves: dict[str, dict[int, Evaluation]] = {"selection": {}, "report": {}}
    for look in looks(run):
        half = look.scores[0].card.split.split(" ")[0]
        if half in halves and look.step is not None:
            halves[half][look.step] = look
    return halves["selection"], halves["report"]


def _score(look: Evaluation, metric: str) -> Score:
    return next(score for score in look.scores if score.card.metric == metric)


def _course(
    duel: Duel, runs: Sequence[Run], reports: Sequence[dict[int, Evaluation]], metric: str
) -> list[Point]:
    points = []
    for number in range(min(len(report) for report in reports)):
        steps = [sorted(report)[number] for report in reports]
        summary = over_runs([_score(r[step], metric) for r, step in zip(reports, steps, strict=True)])
        spent = [_spent(duel, run, step) for run, step in zip(runs, steps, strict=True)]
        points.append(Point(float(np.mean(spent)), summary.value, summary.low, summary.high))
    return points


def _spent(duel: Duel, run: Run, step: int) -> float:
    if duel.rules.budget == "images":
        return float(step * run.card["options"]["batch"])
    if duel.rules.budget == "flops":
        return float(step * run.card["cost"]["flops_per_step"])
    return float(run.average_meta(step)["seconds"]) / 60


def _costs(runs: Sequence[Run]) -> dict[str, float]:
    def median(pick: Any) -> float:
        return float(np.median([pick(run) for run in runs]))

    return {
        "parameters": median(lambda run: run.card["cost"]["parameters"]),
        "steps": median(lambda run: run.state_meta()["step"]),
        "images": median(lambda run: run.state_meta()["images"]),
        "seconds": median(lambda run: run.state_meta()["seconds"]),
        "flops": median(lambda run: run.state_meta()["step"] * run.card["cost"]["flops_per_step"]),
        "peak_bytes": median(lambda run: run.state_meta()["peak_memory_bytes"]),
    }


# --- for the charts -------------------------------------------------------------------------


def courses(found: Sequence[Standing], metric: str) -> list[Course]:
    """Each contestant's way, for `figures.contest.against_budget`."""
    return [Course(s.label, s.colour, s.courses[metric]) for s in found if metric in s.courses]


def places(found: Sequence[Standing], across: str, up: str) -> list[Place]:
    """Each contestant between two scores; "speed" for pictures a second."""

    def span(s: Standing, metric: str) -> tuple[float, float, float]:
        if metric == "speed":
            return s.speed, s.speed, s.speed
        return s.final[metric].value, s.final[metric].low, s.final[metric].high

    return [Place(s.label, s.colour, span(s, across), span(s, up)) for s in found]


def front(found: Sequence[Standing]) -> list[str]:
    """Who is beaten by nobody in quality (FID), diversity (recall) and speed at once."""
    return pareto_front({s.label: (-s.final["FID"].value, s.final["recall"].value, s.speed) for s in found})
