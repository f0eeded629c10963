"""The rows of a report's tables: scores and costs, options, protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from triptych.metrics.score import Score
from triptych.metrics.suite import names_of
from triptych.models.registry import saved_config
from triptych.report.run_summary import RunSummary
from triptych.viz.svg import short

WEIGHTS = {"raw": "raw", "ema": "EMA", "": "not recorded"}
NOT_MEASURED = "not measured"
TableRows = list[tuple[str, list[str]]]  # a name and one cell for each run


def score_rows(summaries: Sequence[RunSummary]) -> TableRows:
    """Costs, scores and class shares."""

    def cells(text: Callable[[RunSummary], str | None]) -> list[str]:
        return [text(s) or NOT_MEASURED for s in summaries]

    rows = [
        ("Conditional on the class", cells(lambda s: "yes" if s.run.card.conditional else "no")),
        ("Parameters", cells(lambda s: _count(s.run.card.cost.parameters))),
        ("of these, used for sampling", cells(lambda s: _count(s.run.card.cost.sampling_parameters))),
        ("FLOPs per training step", cells(_flops)),
        ("Training steps", cells(lambda s: _count(s.checkpoint.step if s.checkpoint else None))),
        ("Training images seen", cells(lambda s: _count(s.checkpoint.images if s.checkpoint else None))),
        ("Training time", cells(lambda s: None if s.seconds is None else f"{s.seconds:,.1f} s")),
        ("Images per second, training", cells(_training_speed)),
        ("Peak memory of the process", cells(_memory)),
        ("Weights used for sampling", cells(_weights)),
        ("Weights scored", cells(lambda s: WEIGHTS[s.evaluation.weights] if s.evaluation else None)),
        ("Time per sample", cells(_sample_time)),
    ]
    measured = [score.card.metric for s in summaries for score in s.scores]
    for metric in dict.fromkeys([*names_of("always"), *measured]):
        rows.append(_metric_row(metric, [s.score(metric) for s in summaries]))
    rows.append(("Confident class predictions (over 0.9)", cells(_confident)))
    for name in ("precision", "recall"):
        truth = cells(lambda s, name=name: _ground_truth(s, name))  # type: ignore[misc]
        if set(truth) != {NOT_MEASURED}:
            rows.append((f"Ground-truth {name} \u2191", truth))
    rows.append(("Rarest class", cells(_rarest)))
    return rows


def _metric_row(metric: str, scores: Sequence[Score | None]) -> tuple[str, list[str]]:
    measured = [score for score in scores if score is not None]
    arrow = "" if not measured else (" \u2193" if measured[0].better == "lower" else " \u2191")
    name = measured[0].name if measured else metric
    cells = [_score_cell(score) for score in scores]
    if len({score.name for score in measured}) > 1:  # two kinds of bound: each cell says which
        name = f"{metric} (different bounds)"
        cells = [
            f"{cell}, {score.name}" if score else cell for cell, score in zip(cells, scores, strict=True)
        ]
    return name + arrow, cells


def _score_cell(score: Score | None) -> str:
    if score is None:
        return NOT_MEASURED
    floor = "" if score.floor is None else f", floor {short(score.floor)}"
    return f"{short(score.value)} [{short(score.low)}, {short(score.high)}]{floor}"


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _flops(s: RunSummary) -> str | None:
    flops = s.run.card.cost.flops_per_step
    return f"{flops / 1e9:,.2f} G" if flops else None


def _training_speed(s: RunSummary) -> str | None:
    return f"{s.checkpoint.images / s.seconds:,.0f}" if s.checkpoint and s.seconds else None


def _memory(s: RunSummary) -> str | None:
    return f"{s.checkpoint.peak_memory_bytes / 2**20:,.0f} MiB" if s.checkpoint else None


def _sample_time(s: RunSummary) -> str | None:
    return None if s.seconds_per_sample is None else f"{1000 * s.seconds_per_sample:,.2f} ms"


def _confident(s: RunSummary) -> str | None:
    view = s.evaluation and s.evaluation.classes
    return f"{view.confident:.1%}" if view else None


def _rarest(s: RunSummary) -> str | None:
    view = s.evaluation and s.evaluation.classes
    return f"{min(view.shares):.1%}" if view else None


def _ground_truth(s: RunSummary, name: str) -> str | None:
    truth = s.evaluation and s.evaluation.detailed and s.evaluation.detailed.ground_truth
    value = getattr(truth, name) if truth else None
    return None if value is None else f"{value:.1%}"


def _weights(s: RunSummary) -> str:
    """Which weights the images are sampled with, and how the two compared."""
    if s.weights != "auto":
        return f"{WEIGHTS[s.weights]} (requested)"
    if s.comparison is None:
        return f"{WEIGHTS['raw']} (not compared)"
    scores = f"{s.comparison.metric}: raw {short(s.comparison.raw)}, EMA {short(s.comparison.ema)}"
    return f"{WEIGHTS[s.comparison.selected]} ({scores})"


def option_rows(summaries: Sequence[RunSummary]) -> list[tuple[str, list[str], bool]]:
    """(option, one value for each run, whether they differ) of all options, plans and configs."""
    merged = [
        {
            **s.run.card.options.model_dump(mode="json"),
            **s.run.card.plan.model_dump(mode="json"),
            **saved_config(s.run.card),
        }
        for s in summaries
    ]
    rows = []
    for name in dict.fromkeys(key for values in merged for key in values):
        cells = [json.dumps(values[name]) if name in values else "\u2013" for values in merged]
        rows.append((name, cells, len(set(cells)) > 1))
    return rows


def environment(summaries: Sequence[RunSummary]) -> dict[str, str]:
    """Software and machine of the trainings; values that differ stand side by side."""
    known: dict[str, str] = {}
    for s in summaries:
        for name, value in s.run.card.versions.items():
            known[name] = value if known.get(name, value) == value else f"{known[name]}; {value}"
    return known


def protocols(summaries: Sequence[RunSummary]) -> TableRows:
    """How the scores were measured: a label and sentences for each run."""
    entries = []
    for s in summaries:
        if s.evaluation is None or not s.scores:
            entries.append((s.label, [f"no evaluation yet: triptych evaluate {s.run.path}"]))
            continue
        first, extractor = s.scores[0], s.evaluation.extractor
        card = first.card
        accuracy = (
            "" if extractor.accuracy is None else f", accuracy {extractor.accuracy:.1%} on the test images"
        )
        lines = [
            f"{card.n_fake:,} samples (seeds {card.seeds}, {card.weights} weights) against "
            f"{card.n_real:,} {card.split} images, data {card.data[:12]}",
            f"feature extractor {extractor.name} ({extractor.hash[:12]}, {extractor.width} features"
            f"{accuracy})",
            f"intervals: 95%, {first.method}; floor: real training images in the samples' place",
            f"controls {json.dumps(card.controls)}",
            f"quantization {card.quantization}, resize {card.resize}",
        ]
        notes = dict.fromkeys(note for score in s.scores for note in score.notes)
        entries.append((s.label, [*lines, *(f"note: {note}" for note in notes)]))
    return entries
