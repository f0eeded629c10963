"""What the report says of each run, read from its directory; nothing here is drawn or trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from triptych.core.errors import RunError
from triptych.evaluation.records import evaluations
from triptych.models.registry import load_model_class, model_names
from triptych.runs.checkpoint import CheckpointMeta
from triptych.runs.run import Run
from triptych.runs.weights import Comparison, evaluation_of
from triptych.viz.svg import short

ACCENTS = ("var(--one)", "var(--two)", "var(--three)", "var(--four)", "var(--five)", "var(--six)")


@dataclass(frozen=True)
class Facts:
    """One run in plain numbers; None where something was not measured."""

    run: Run
    label: str
    color: str
    log: list[dict[str, Any]]
    evaluation: dict[str, Any] | None  # the newest one
    state: CheckpointMeta | None  # the newest whole one, which pictures are drawn from
    passed_over: tuple[str, ...] = ()  # what is said of newer, damaged ones
    weights: str = "auto"  # which are drawn with, as asked for

    @property
    def comparison(self) -> Comparison | None:
        """How raw and EMA weights compared when the training ended or stopped."""
        return None if self.state is None else self.state.comparison

    def score(self, metric: str) -> dict[str, Any] | None:
        """A score by its metric's name, from the newest evaluation."""
        found = [s for s in (self.evaluation or {}).get("scores", ()) if s["card"]["metric"] == metric]
        return found[0] if found and math.isfinite(found[0]["value"]) else None

    @property
    def seconds_per_sample(self) -> float | None:
        """How long one picture took, in the fixed evaluation batch."""
        return None if self.evaluation is None else self.evaluation["sampling"]["seconds_per_sample"]

    @property
    def seconds(self) -> float | None:
        """Training time."""
        return None if self.state is None else self.state.seconds


def gather(runs: Sequence[Run], weights: str = "auto") -> list[Facts]:
    """Facts of each run, with a color of its own and a label that tells them apart.

    weights: "auto", "raw" or "ema": whose evaluation is shown where there are several.
    """
    titles = [run.card.title for run in runs]
    colors = _colors([run.card.model for run in runs])
    facts = []
    for run, title, color in zip(runs, titles, colors, strict=True):
        label = title if titles.count(title) == 1 else f"{title} {run.path.name.split('-')[0]}"
        metrics = [made.model_dump(mode="json") for made in evaluations(run)]
        state, passed_over = _state(run)
        made = evaluation_of(metrics, weights)
        facts.append(Facts(run, label, color, run.log(), made, state, passed_over, weights))
    return facts


def _state(run: Run) -> tuple[CheckpointMeta | None, tuple[str, ...]]:
    """The meta of the state that drawing takes, and what is said of damaged newer ones: drawing warns."""
    try:
        _, meta, complaints = run.load_checkpoint(only=("weights", "ema"), warning=None)
    except RunError:  # the run's chapter says why
        return None, ()
    return meta, tuple(complaints)


def _colors(families: Sequence[str]) -> list[str]:
    """A family's own color where it is free, else the next one."""
    taken: list[int] = []
    for family in families:
        wish = load_model_class(family).accent_color if family in model_names() else None
        free = [k for k in (*([wish] if wish is not None else []), *range(3, 6), *range(3)) if k not in taken]
        taken.append(free[0] if free else len(taken) % len(ACCENTS))
    return [ACCENTS[k] for k in taken]


def differences(facts: Sequence[Facts]) -> list[str]:
    """Why these runs must not be ranked; empty when they may be."""
    found = []

    def say(what: str, values: Sequence[Any]) -> None:
        if len({str(value) for value in values}) > 1:
            shown = "; ".join(f"{f.label}: {value}" for f, value in zip(facts, values, strict=True))
            found.append(f"unlike {what} ({shown})")

    say("data", [f.run.card.data.fingerprint[:12] for f in facts])
    say("budgets", [f.run.card.plan.budget for f in facts])
    cards = [f.evaluation["scores"][0]["card"] for f in facts if f.evaluation and f.evaluation["scores"]]
    for field in ("n_real", "n_fake", "extractor", "extractor_hash", "split", "version"):
        if len({str(card[field]) for card in cards}) > 1:
            found.append(f"scores measured with unlike {field}")
    return found


def findings(facts: Sequence[Facts]) -> list[str]:
    """What stands out, in sentences made from the numbers; no ranking where runs differ."""
    said = [
        f"{f.label}: {'; '.join(f.passed_over)}: it is shown as it was at step {f.state.step:,}."
        for f in facts
        if f.passed_over and f.state
    ]
    if len(facts) > 1 and not differences(facts):
        said += [
            s for s in (_best(facts, "FID", "picture quality"), _best(facts, "recall", "diversity")) if s
        ]
        timed = [(f.seconds_per_sample, f) for f in facts if f.seconds_per_sample]
        if len(timed) > 1:
            timed.sort(key=lambda pair: pair[0])
            (quick, first), (slow, last) = timed[0], timed[-1]
            said.append(
                f"{first.label} draws fastest, {1 / quick:,.0f} pictures a second: "
                f"{short(slow / quick)} times as fast as {last.label}."
            )
    for f in facts:
        score = f.score("FID")
        if score and len(facts) == 1:
            said.append(
                f"{score['name']} {short(score['value'])} (95 % interval {short(score['low'])} to "
                f"{short(score['high'])}; real training pictures: {short(score['floor'] or math.nan)})."
            )
    return said


def _best(facts: Sequence[Facts], metric: str, what: str) -> str | None:
    scored = [(s, f) for f in facts if (s := f.score(metric))]
    if len(scored) < 2:
        return None
    lower = scored[0][0]["better"] == "lower"
    scored.sort(key=lambda pair: pair[0]["value"] if lower else -pair[0]["value"])
    (best, winner), (second, runner_up) = scored[0], scored[1]
    apart = best["high"] < second["low"] if lower else best["low"] > second["high"]
    spans = f"{short(best['value'])} [{short(best['low'])}, {short(best['high'])}]"
    others = f"{runner_up.label} {short(second['value'])} [{short(second['low'])}, {short(second['high'])}]"
    verdict = "best" if apart else "ahead, but not separable from the next"
    return f"{winner.label} is {verdict} in {what}: {best['name']} {spans} against {others}."
