"""Rank runs by their scores, as far as the intervals allow: `triptych compare`.

`rank` is pure: scores in, verdicts out. `read` finds the newest evaluation of a run or of a file, and `group`
joins runs that differ by their seed alone.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from triptych.comparison.verdicts import Comparison, Ranking, Standing, Verdict
from triptych.core.checksummed import checksum, has_checksum, verify_checksum
from triptych.core.errors import ChecksumError, CompareError, UsageError
from triptych.core.nearest import did_you_mean
from triptych.evaluation.records import evaluations, newest_evaluation
from triptych.metrics.score import Card, Score, comparable
from triptych.metrics.stats.paired import (
    MIN_RUNS,
    Difference,
    difference,
    difference_over_runs,
    mean_of,
    over_runs,
)
from triptych.metrics.stats.quantiles import LEVEL
from triptych.models.registry import saved_config
from triptych.runs.run import open_run

MAX_IMAGES = 10_000_000  # a larger number of images is not recommended
AGAIN = "triptych evaluate"
DESCRIPTIVE_FIELDS = ("labels", "weights", "precision")  # descriptive fields whose difference is worth a note
IRRELEVANT_OPTIONS = (
    "seed",
    "save_every",
    "on_collapse",
    "track",
)  # options that do not change what is trained
UNSEALED = "unsealed: its scores were written before they carried checksums, so edits would not be seen"


@dataclass(frozen=True)
class Entry:
    """One evaluation: of a run, or from a file."""

    path: str
    title: str
    scores: dict[str, Score]
    """By the metric's bare name."""
    alike: str = ""
    """Runs with the same text differ by their seed alone; "": not known."""
    seed: int | None = None
    budget: str = ""
    notes: tuple[str, ...] = ()
    identity: str = ""
    """Checksum of the evaluation."""


@dataclass(frozen=True)
class Contestant:
    """One run, or the runs of several seeds, ranked as one."""

    label: str
    entries: tuple[Entry, ...]

    @property
    def covers_other_seeds(self) -> bool:
        """Whether there are enough runs, with different seeds, for an interval over seeds."""
        seeds = {entry.seed for entry in self.entries}
        return len(self.entries) >= MIN_RUNS and len(seeds) == len(self.entries) and None not in seeds

    def claim(self) -> str:
        """What its interval is for, in words."""
        count = len(self.entries)
        if self.covers_other_seeds:
            return f"runs with other seeds, from {count}"
        if count == 1:
            return "this run only"
        if len({entry.seed for entry in self.entries}) < count:
            return f"these {count} runs only: some have the same seed"
        return f"these {count} runs only: {MIN_RUNS} seeds or more would cover others"


def compare(paths: Sequence[Path | str], metric: str | None = None, each: bool = False) -> Comparison:
    """Rank runs, or evaluations saved as JSON files, by their newest scores.

    What cannot be read is a RunError, what cannot be compared a CompareError, and scores that were not
    measured alike are an UnlikeCardsError.

    Args:
        paths: Two or more run directories or files.
        metric: The bare name of one score; None: all that every run has.
        each: Rank every run by itself; else runs that differ by the seed alone are one contestant.

    Returns:
        A ranking for each metric, and notes.

    Raises:
        UsageError: For too few paths, or one that is given twice.
    """
    if len(paths) < 2:
        raise UsageError("a comparison needs at least two runs: triptych compare RUN RUN ...")
    given: dict[Path, str] = {}
    for path in map(str, paths):
        if (real := Path(path).resolve()) in given:
            raise UsageError(f"{path} is given twice: name each run once")
        given[real] = path
    entries = [read(path) for path in paths]
    for one, other in itertools.combinations(entries, 2):
        if one.identity == other.identity:
            raise UsageError(f"{one.path} and {other.path} hold the same evaluation: name each once")
    contestants = group(entries, each)
    metrics, notes = _metrics(entries, metric)
    notes += [f"{entry.path}: {note}" for entry in entries for note in entry.notes]
    notes += _descriptions(contestants, metrics[0])
    return Comparison(tuple(rank(name, contestants) for name in metrics), tuple(notes))


# --- reading -------------------------------------------------------------------------------


def read(path: Path | str) -> Entry:
    """The newest evaluation of a run directory, or the one in a file that `evaluate --json` wrote."""
    return _read_file(Path(path)) if Path(path).is_file() else _read_run(Path(path))


def _read_run(path: Path) -> Entry:
    run = open_run(path)
    evaluation = newest_evaluation(evaluations(run))
    if evaluation is None or not evaluation.scores:
        raise CompareError(f"{path} has no evaluation yet. Make one: {AGAIN} {path}")
    checkpoints, plan, step = run.checkpoints(), run.card.plan, evaluation.step
    scores = {score.card.metric: score for score in evaluation.scores}
    sealed = all(has_checksum(score) for line in run.metrics() for score in line["scores"])
    notes = [] if sealed else [UNSEALED]
    if step is not None and checkpoints and step < checkpoints[-1]:
        notes.append(f"evaluated at step {step}, but trained to {checkpoints[-1]} since: {AGAIN} {path}")
    elif step is not None and step < plan.steps and plan.limit_seconds is None:
        notes.append(f"evaluated at step {step} of {plan.steps}: its training is not finished")
    options = {
        k: v for k, v in run.card.options.model_dump(mode="json").items() if k not in IRRELEVANT_OPTIONS
    }
    card = next(iter(scores.values())).card
    key = {
        "model": run.card.model,
        "config": saved_config(run.card),
        "options": options,
        "data": run.card.data.fingerprint,
        "budget": plan.budget,
        "controls": card.controls,
        "weights": "auto" if card.weights_requested == "auto" else card.weights,
    }
    alike, seed = json.dumps(key, sort_keys=True), run.card.options.seed
    identity = checksum(evaluation.model_dump(mode="json"))
    return Entry(str(path), run.card.title, scores, alike, seed, plan.budget, tuple(notes), identity)


def _read_file(path: Path) -> Entry:
    try:
        text = path.read_text(encoding="utf-8").strip()
        try:
            record = json.loads(text)
        except ValueError:  # the table stands before the JSON, or it is a metrics.jsonl: the last line counts
            record = json.loads(text.splitlines()[-1] if text else "")
    except (OSError, ValueError) as error:
        raise CompareError(
            f"{path} holds no evaluation ({error}): make one with {AGAIN} RUN --json > {path}"
        ) from error
    scores, notes = _scores(record, path)
    card = next(iter(scores.values())).card
    title = f"{card.model or card.run or path.stem} ({path.name})"
    return Entry(str(path), title, scores, notes=tuple(notes), identity=checksum(record))


def _scores(record: Any, path: Path) -> tuple[dict[str, Score], list[str]]:
    """The scores of a stored evaluation, their seals checked, and what is to be said of them."""
    lines = record.get("scores") if isinstance(record, dict) else None
    if not isinstance(lines, (list, tuple)) or not lines:
        raise CompareError(f"{path} holds no scores: make some with {AGAIN}")
    try:
        scores = [Score.model_validate(line) for line in lines]
        verify_checksum(record, "the evaluation")
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, ChecksumError):
            raise CompareError(f"{path}: {cause}") from error
        where = ".".join(map(str, first["loc"]))
        raise CompareError(
            f"{path}: a score is not as this version writes it ({where}: {first['msg']}). "
            f"Make it again with `{AGAIN}`"
        ) from error
    except ChecksumError as error:
        raise CompareError(f"{path}: {error}") from error
    notes = [] if all(has_checksum(line) for line in lines) else [UNSEALED]
    return {score.card.metric: score for score in scores}, notes


# --- contestants -----------------------------------------------------------------------------


def group(entries: Sequence[Entry], each: bool = False) -> list[Contestant]:
    """Group evaluations into contestants: runs that differ by the seed alone are one.

    Args:
        entries: One or more evaluations.
        each: Make every evaluation a contestant of its own.

    Returns:
        The contestants, in the order of their first entry, with labels that tell them apart.
    """
    together: dict[str, list[Entry]] = {}
    for number, entry in enumerate(entries):
        key = entry.alike if entry.alike and not each else f"by itself {number}"
        together.setdefault(key, []).append(entry)
    groups = [tuple(members) for members in together.values()]
    return [Contestant(label, members) for label, members in zip(_labels(groups), groups, strict=True)]


def _labels(groups: Sequence[tuple[Entry, ...]]) -> list[str]:
    """The shortest names that tell the contestants apart."""
    titles = [members[0].title for members in groups]
    numbers = ["+".join(Path(entry.path).name.split("-")[0] for entry in members) for members in groups]
    numbered = [f"{title} {number}" for title, number in zip(titles, numbers, strict=True)]
    for labels in (titles, numbered):
        if len(set(labels)) == len(labels):
            return labels
    return [" + ".join(entry.path for entry in members) for members in groups]


def _metrics(entries: Sequence[Entry], metric: str | None) -> tuple[list[str], list[str]]:
    """Which scores to rank by, and a note on those that not all have."""
    names = list(dict.fromkeys(name for entry in entries for name in entry.scores))
    if metric is not None:
        match = [name for name in names if name.lower() == metric.lower()]
        if not match:
            hint = did_you_mean(metric, names)
            raise UsageError(f"there is no score {metric!r} here.{hint} There are: {', '.join(names)}")
        for entry in entries:
            if match[0] not in entry.scores:
                raise CompareError(f"{entry.path} has no {match[0]}. Measure it: {AGAIN} {entry.path}")
        return match, []
    common = [name for name in names if all(name in entry.scores for entry in entries)]
    if not common:
        raise CompareError(f"these evaluations have no score in common. Make them alike with {AGAIN}")
    left = [name for name in names if name not in common]
    return common, [f"not compared, as not all have it: {', '.join(left)}"] if left else []


def _descriptions(contestants: Sequence[Contestant], metric: str) -> list[str]:
    """What differs between contestants beside the protocol, and may be the cause of a difference."""
    values_of = {"budgets": [c.entries[0].budget or "not known" for c in contestants]}
    for field in DESCRIPTIVE_FIELDS:
        values_of[field] = [str(getattr(c.entries[0].scores[metric].card, field) or "-") for c in contestants]
    return [
        f"different {what}: " + "; ".join(f"{c.label}: {v}" for c, v in zip(contestants, values, strict=True))
        for what, values in values_of.items()
        if len(set(values)) > 1
    ]


# --- ranking -------------------------------------------------------------------------------


def rank(metric: str, contestants: Sequence[Contestant]) -> Ranking:
    """Rank contestants by one score: their intervals, a verdict on each two, and the ranks these allow.

    Each two get an interval of their difference, over the runs where both have enough seeds, else of these
    very runs with paired errors. With m pairs each interval has level 1 - 0.05/m, so that all hold together
    with 95% (Bonferroni) and one interval is one verdict: Holm's steps would find a little more, but leave
    verdicts that the shown intervals do not support. A value that is not finite is a CompareError, and scores
    that were not measured alike are an UnlikeCardsError.

    Args:
        metric: The bare name of the score.
        contestants: One or more; all have the score.

    Returns:
        The ranking, best first.
    """
    scored = {c.label: [entry.scores[metric] for entry in c.entries] for c in contestants}
    _check(metric, contestants)
    sample = scored[contestants[0].label][0]
    order = sorted(
        contestants, key=lambda c: mean_of(scored[c.label]).value, reverse=sample.better == "higher"
    )
    pairs = list(itertools.combinations(order, 2))
    level = 1 - (1 - LEVEL) / max(len(pairs), 1)
    verdicts = [_verdict(a, b, scored, level) for a, b in pairs]
    standings = []
    for c in order:
        better = sum(v.winner not in (None, c.label) and c.label in (v.first, v.second) for v in verdicts)
        worse = sum(v.winner == c.label for v in verdicts)
        standings.append(_standing(c, scored[c.label], 1 + better, len(order) - worse))
    notes = []
    if sample.target == "expectation" and any(v.winner is None for v in verdicts):
        notes.append(
            f"{metric}'s expectation itself depends on the number of images: a number said to suffice "
            "assumes that the difference stays as it is"
        )
    if any(score.resampling is None for scores in scored.values() for score in scores):
        notes.append(
            f"what both have in common counts twice in these differences, for a score does not say what its "
            f"interval was made of: {AGAIN} again gives paired ones"
        )
    if len(order) == 1:
        notes.append("these runs differ by their seed alone: one contestant, no ranking (see --each-run)")
    return Ranking(metric, sample.name, sample.better, tuple(standings), tuple(verdicts), level, tuple(notes))


def _check(metric: str, contestants: Sequence[Contestant]) -> None:
    entries = [entry for c in contestants for entry in c.entries]
    first = entries[0].scores[metric]
    for entry in entries:
        score = entry.scores[metric]
        comparable(first, score, f"{metric} of {entries[0].path} and of {entry.path}")
        if not all(map(math.isfinite, (score.value, score.low, score.high))):
            raise CompareError(
                f"{score.name} of {entry.path} is {score.value} [{score.low}, {score.high}], which has "
                f"no rank: {AGAIN} {entry.path} again, or name another score with --metric"
            )


def _standing(c: Contestant, scores: Sequence[Score], best: int, worst: int) -> Standing:
    mean = mean_of(scores)
    low, high, method = mean.low, mean.high, mean.method
    if c.covers_other_seeds:
        low, high, method = over_runs(scores)
    runs = tuple(entry.path for entry in c.entries)
    return Standing(c.label, runs, mean.value, low, high, method, c.claim(), best, worst)


def _verdict(a: Contestant, b: Contestant, scored: dict[str, list[Score]], level: float) -> Verdict:
    """a stands before b."""
    first, second = scored[a.label], scored[b.label]
    over_seeds = a.covers_other_seeds and b.covers_other_seeds
    estimate = (
        difference_over_runs(first, second, level)
        if over_seeds
        else difference(mean_of(first), mean_of(second), level)
    )
    name = first[0].name
    values = f"{mean_of(first).value:.4g} against {mean_of(second).value:.4g}"
    span = f"difference {estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"
    whose = ""
    if over_seeds:
        whose = f" over seeds ({len(first)} and {len(second)} runs)"
    elif len(first) + len(second) > 2:
        whose = " (these runs only)"
    if estimate.significant:
        sentence = f"{a.label} is better than {b.label} in {name}{whose}: {values}, {span}"
    else:
        sentence = (
            f"{a.label} and {b.label} are not separable in {name}{whose} with {_counts(first[0].card)}: "
            f"{values}, {span}; {_sufficient(estimate, first, second, over_seeds)}"
        )
    winner = a.label if estimate.significant else None
    return Verdict(
        a.label, b.label, winner, estimate.value, estimate.low, estimate.high, estimate.method, sentence
    )


def _counts(card: Card) -> str:
    if card.n_fake == card.n_real:
        return f"n = {card.n_fake:,}"
    return f"n = {card.n_fake:,} samples and {card.n_real:,} real images"


def _sufficient(
    estimate: Difference, first: Sequence[Score], second: Sequence[Score], over_seeds: bool
) -> str:
    """How many would suffice: an estimate, as the width goes as 1/sqrt(n)."""
    if over_seeds:
        if math.isinf(estimate.factor):
            return "more runs alone would hardly suffice"
        sufficient = math.ceil(min(len(first), len(second)) * estimate.factor)
        return f"about {sufficient} runs of each would suffice"
    card = first[0].card
    if estimate.factor * max(card.n_fake, card.n_real) > MAX_IMAGES:
        return "no number of images is likely to suffice"
    fake, real = (_rounded(n * estimate.factor) for n in (card.n_fake, card.n_real))
    return f"about {fake} would suffice" if fake == real else f"about {fake} and {real} would suffice"


def _rounded(number: float) -> str:
    """To two digits: it is an estimate."""
    digits = max(len(str(int(number))) - 2, 0)
    return f"{round(number, -digits):,.0f}"
