"""What a report says of each run, read from its directory; nothing here is sampled or trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from triptych.core.errors import RunError
from triptych.evaluation.records import Evaluation, evaluations, newest_evaluation
from triptych.metrics.score import Score
from triptych.models.registry import load_model_class, model_names
from triptych.runs.checkpoint import CheckpointMeta
from triptych.runs.run import Run
from triptych.runs.weights import Comparison
from triptych.viz.svg import short

ACCENTS = ("var(--one)", "var(--two)", "var(--three)", "var(--four)", "var(--five)", "var(--six)")
UNRANKED_WHEN_UNLIKE = ("n_real", "n_fake", "extractor", "extractor_hash", "split", "version")


@dataclass(frozen=True)
class RunSummary:
    """One run in plain numbers; None where something was not measured."""

    run: Run
    label: str
    color: str  # a CSS color
    log: list[dict[str, Any]]
    evaluation: Evaluation | None  # the newest one of the weights that are shown
    checkpoint: CheckpointMeta | None  # of the newest whole checkpoint, which images are sampled from
    passed_over: tuple[str, ...] = ()  # sentences on newer, damaged checkpoints
    weights: str = "auto"  # the weights asked for: "raw", "ema" or "auto"

    @property
    def comparison(self) -> Comparison | None:
        """How raw and EMA weights compared when the training ended or stopped."""
        return None if self.checkpoint is None else self.checkpoint.comparison

    @property
    def scores(self) -> tuple[Score, ...]:
        """The scores of the evaluation."""
        return () if self.evaluation is None else self.evaluation.scores

    def score(self, metric: str) -> Score | None:
        """A score by its metric's name; None where it was not measured or is not finite."""
        score = next((s for s in self.scores if s.card.metric == metric), None)
        return score if score is not None and math.isfinite(score.value) else None

    @property
    def seconds_per_sample(self) -> float | None:
        """Seconds per sample, in the fixed evaluation batch."""
        return None if self.evaluation is None else self.evaluation.sampling.seconds_per_sample

    @property
    def seconds(self) -> float | None:
        """Training time."""
        return None if self.checkpoint is None else self.checkpoint.seconds


def summarize(runs: Sequence[Run], weights: str = "auto") -> list[RunSummary]:
    """Summarize each run, with a color of its own and a label that tells them apart.

    Args:
        runs: One or more.
        weights: "auto", "raw" or "ema": whose evaluation is shown where there are several.

    Returns:
        One summary for each run, in their order.
    """
    titles = [run.card.title for run in runs]
    colors = _colors([run.card.model for run in runs])
    summaries = []
    for run, title, color in zip(runs, titles, colors, strict=True):
        label = title if titles.count(title) == 1 else f"{title} {run.path.name.split('-')[0]}"
        evaluation = newest_evaluation(evaluations(run), weights)
        checkpoint, passed_over = _newest_checkpoint(run)
        summaries.append(
            RunSummary(run, label, color, run.log(), evaluation, checkpoint, passed_over, weights)
        )
    return summaries


def _newest_checkpoint(run: Run) -> tuple[CheckpointMeta | None, tuple[str, ...]]:
    """The meta of the checkpoint that sampling loads, and what is said of damaged newer ones."""
    try:
        loaded = run.load_checkpoint(only=("weights", "ema"), warning=None)
    except RunError:  # the run's section says why
        return None, ()
    return loaded.meta, tuple(loaded.passed_over)


def _colors(models: Sequence[str]) -> list[str]:
    """A model's own color where it is free, else the next one."""
    taken: list[int] = []
    for model in models:
        own = load_model_class(model).accent_color if model in model_names() else None
        free = [k for k in (*([own] if own is not None else []), *range(3, 6), *range(3)) if k not in taken]
        taken.append(free[0] if free else len(taken) % len(ACCENTS))
    return [ACCENTS[k] for k in taken]


def differences(summaries: Sequence[RunSummary]) -> list[str]:
    """Why these runs must not be ranked; empty when they may be."""
    reasons = []

    def note(what: str, values: Sequence[Any]) -> None:
        if len({str(value) for value in values}) > 1:
            listed = "; ".join(f"{s.label}: {value}" for s, value in zip(summaries, values, strict=True))
            reasons.append(f"different {what} ({listed})")

    note("data", [s.run.card.data.fingerprint[:12] for s in summaries])
    note("budgets", [s.run.card.plan.budget for s in summaries])
    cards = [s.scores[0].card for s in summaries if s.scores]
    for field in UNRANKED_WHEN_UNLIKE:
        if len({str(getattr(card, field)) for card in cards}) > 1:
            reasons.append(f"scores measured with different {field}")
    return reasons


def findings(summaries: Sequence[RunSummary]) -> list[str]:
    """What stands out, in sentences made from the numbers; no ranking where runs must not be compared."""
    sentences = [
        f"{s.label}: {'; '.join(s.passed_over)}: it is shown as it was at step {s.checkpoint.step:,}."
        for s in summaries
        if s.passed_over and s.checkpoint
    ]
    if len(summaries) > 1 and not differences(summaries):
        sentences += [
            s
            for s in (_best(summaries, "FID", "image quality"), _best(summaries, "recall", "diversity"))
            if s
        ]
        timed = [(s.seconds_per_sample, s) for s in summaries if s.seconds_per_sample]
        if len(timed) > 1:
            timed.sort(key=lambda pair: pair[0])
            (quick, first), (slow, last) = timed[0], timed[-1]
            sentences.append(
                f"{first.label} samples fastest, {1 / quick:,.0f} images per second: "
                f"{short(slow / quick)} times as fast as {last.label}."
            )
    for s in summaries:
        fid = s.score("FID")
        if fid and len(summaries) == 1:
            sentences.append(
                f"{fid.name} {short(fid.value)} (95% interval {short(fid.low)} to {short(fid.high)}; real "
                f"training images: {short(math.nan if fid.floor is None else fid.floor)})."
            )
    return sentences


def _best(summaries: Sequence[RunSummary], metric: str, what: str) -> str | None:
    scored = [(score, s) for s in summaries if (score := s.score(metric))]
    if len(scored) < 2:
        return None
    lower = scored[0][0].better == "lower"
    scored.sort(key=lambda pair: pair[0].value if lower else -pair[0].value)
    (best, winner), (second, runner_up) = scored[0], scored[1]
    separable = best.high < second.low if lower else best.low > second.high
    verdict = "best" if separable else "ahead, but not separable from the next"
    return (
        f"{winner.label} is {verdict} in {what}: {best.name} {_span(best)} against {runner_up.label} "
        f"{_span(second)}."
    )


def _span(score: Score) -> str:
    return f"{short(score.value)} [{short(score.low)}, {short(score.high)}]"
