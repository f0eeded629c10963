"""Rank runs by their scores, as far as the intervals allow: `triptych compare`.

The core is pure, scores in and verdicts out: `rank`. Around it, `read` finds the newest evaluation of
a run or of a file, and `group` puts runs together that differ by their seed alone.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

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

MOST_PICTURES = 10_000_000  # a larger number wanted is called none
AGAIN = "triptych evaluate"
SAID = ("labels", "weights", "precision")  # descriptive fields whose difference is worth a note
NO_MATTER = ("seed", "save_every", "on_collapse", "track")  # options that make no other kind of run
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
    """What is ranked: one run, or the runs of several seeds."""

    label: str
    entries: tuple[Entry, ...]

    @property
    def speaks_of_family(self) -> bool:
        """Whether there are seeds enough, all different, to speak of runs with other seeds."""
        seeds = {entry.seed for entry in self.entries}
        return len(self.entries) >= MIN_RUNS and len(seeds) == len(self.entries) and None not in seeds

    def claim(self) -> str:
        """What its interval speaks of, in words."""
        count = len(self.entries)
        if self.speaks_of_family:
            return f"runs with other seeds, from {count}"
        if count == 1:
            return "this run only"
        if len({entry.seed for entry in self.entries}) < count:
            return f"these {count} runs only: some have the same seed"
        return f"these {count} runs only: from {MIN_RUNS} seeds on it would speak of others"


@dataclass(frozen=True)
class Standing:
    """A contestant's score with its own 95 % interval, and the ranks it may have."""

    label: str
    runs: tuple[str, ...]
    value: float
    low: float
    high: float
    method: str
    claim: str
    best: int
    worst: int


@dataclass(frozen=True)
class Verdict:
    """Of two contestants; the difference is the first's score less the second's."""

    first: str
    second: str
    winner: str | None
    difference: float
    low: float
    high: float
    method: str
    sentence: str


@dataclass(frozen=True)
class Ranking:
    """The contestants by one score, best first."""

    metric: str
    name: str
    better: str
    standings: tuple[Standing, ...]
    verdicts: tuple[Verdict, ...]
    level: float
    """Of each difference's interval, so that all of them hold together with 95 %."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What `triptych compare` found."""

    rankings: tuple[Ranking, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(paths: Sequence[Path | str], metric: str | None = None, each: bool = False) -> Comparison:
    """Rank runs, or evaluations kept as JSON files, by their newest scores.

    paths: two or more. metric: the bare name of one score; None takes all that every run has. each:
    rank every run by itself; else runs that differ by the seed alone stand together. Raises
    ValueError: UsageError for too few paths or an unknown metric, UnlikeCardsError for scores that
    were not measured alike, CompareError or RunError for what cannot be read.
    """
    if len(paths) < 2:
        raise UsageError("a comparison needs at least two runs: triptych compare RUN RUN ...")
    seen: dict[Path, str] = {}
    for path in map(str, paths):
        if (real := Path(path).resolve()) in seen:
            raise UsageError(f"{path} is given twice: name each run once")
        seen[real] = path
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
    made = newest_evaluation(evaluations(run))
    if made is None or not made.scores:
        raise CompareError(f"{path} has no evaluation yet. Make one: {AGAIN} {path}")
    checkpoints, plan, step = run.checkpoints(), run.card.plan, made.step
    scores = {score.card.metric: score for score in made.scores}
    sealed = all(has_checksum(score) for line in run.metrics() for score in line["scores"])
    notes = [] if sealed else [UNSEALED]
    if step is not None and checkpoints and step < checkpoints[-1]:
        notes.append(f"evaluated at step {step}, but trained to {checkpoints[-1]} since: {AGAIN} {path}")
    elif step is not None and step < plan.steps and plan.limit_seconds is None:
        notes.append(f"evaluated at step {step} of {plan.steps}: its training is not finished")
    options = {k: v for k, v in run.card.options.model_dump(mode="json").items() if k not in NO_MATTER}
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
    identity = checksum(made.model_dump(mode="json"))
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


# --- who stands with whom --------------------------------------------------------------------


def group(entries: Sequence[Entry], each: bool = False) -> list[Contestant]:
    """Contestants in the order of their first entry: runs that differ by the seed alone stand together."""
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


def _metrics(entries: Sequence[Entry], asked: str | None) -> tuple[list[str], list[str]]:
    """Which scores to rank by, and a note on those that not all have."""
    names = list(dict.fromkeys(name for entry in entries for name in entry.scores))
    if asked is not None:
        match = [name for name in names if name.lower() == asked.lower()]
        if not match:
            hint = did_you_mean(asked, names)
            raise UsageError(f"there is no score {asked!r} here.{hint} There are: {', '.join(names)}")
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
    """What differs between contestants beside the protocol, and may be why they differ."""
    said = {"budgets": [c.entries[0].budget or "not known" for c in contestants]}
    for field in SAID:
        said[field] = [str(getattr(c.entries[0].scores[metric].card, field) or "-") for c in contestants]
    return [
        f"unlike {what}: " + "; ".join(f"{c.label}: {v}" for c, v in zip(contestants, values, strict=True))
        for what, values in said.items()
        if len(set(values)) > 1
    ]


# --- ranking -------------------------------------------------------------------------------


def rank(metric: str, contestants: Sequence[Contestant]) -> Ranking:
    """Contestants by one score: their intervals, a verdict on each two, and the ranks these allow.

    Each two get an interval of their difference, over the runs where both have seeds enough, else of
    these very runs with paired errors. With m of them each has level 1 - 0.05/m, so that all hold
    together with 95 % (Bonferroni) and one interval is one verdict: Holm's steps would find a little more
    but leave verdicts that the intervals shown do not bear out. Raises UnlikeCardsError, or
    CompareError for a value that is not finite.
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
            f"{metric}'s expectation itself moves with the number of pictures: a number said to do assumes "
            "that the difference stays as it is"
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
    if c.speaks_of_family:
        low, high, method = over_runs(scores)
    runs = tuple(entry.path for entry in c.entries)
    return Standing(c.label, runs, mean.value, low, high, method, c.claim(), best, worst)


def _verdict(a: Contestant, b: Contestant, scored: dict[str, list[Score]], level: float) -> Verdict:
    """a stands before b."""
    first, second = scored[a.label], scored[b.label]
    families = a.speaks_of_family and b.speaks_of_family
    found = (
        difference_over_runs(first, second, level)
        if families
        else difference(mean_of(first), mean_of(second), level)
    )
    name = first[0].name
    values = f"{mean_of(first).value:.4g} against {mean_of(second).value:.4g}"
    span = f"difference {found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"
    whose = ""
    if families:
        whose = f" over seeds ({len(first)} and {len(second)} runs)"
    elif len(first) + len(second) > 2:
        whose = " (these runs only)"
    if found.significant:
        sentence = f"{a.label} is better than {b.label} in {name}{whose}: {values}, {span}"
    else:
        sentence = (
            f"{a.label} and {b.label} are not separable in {name}{whose} with {_pictures(first[0].card)}: "
            f"{values}, {span}; {_wanted(found, first, second, families)}"
        )
    winner = a.label if found.significant else None
    return Verdict(a.label, b.label, winner, found.value, found.low, found.high, found.method, sentence)


def _pictures(card: Card) -> str:
    if card.n_fake == card.n_real:
        return f"n = {card.n_fake:,}"
    return f"n = {card.n_fake:,} samples and {card.n_real:,} real pictures"


def _wanted(found: Difference, first: Sequence[Score], second: Sequence[Score], families: bool) -> str:
    """How many would do: an estimate, from the width's going as 1/sqrt(n)."""
    if families:
        if math.isinf(found.factor):
            return "more runs alone would hardly do"
        wanted = math.ceil(min(len(first), len(second)) * found.factor)
        return f"about {wanted} runs of each would do"
    card = first[0].card
    if found.factor * max(card.n_fake, card.n_real) > MOST_PICTURES:
        return "no number of pictures is likely to do"
    fake, real = (_rounded(n * found.factor) for n in (card.n_fake, card.n_real))
    return f"about {fake} would do" if fake == real else f"about {fake} and {real} would do"


def _rounded(number: float) -> str:
    """To two digits: it is an estimate."""
    digits = max(len(str(int(number))) - 2, 0)
    return f"{round(number, -digits):,.0f}"
