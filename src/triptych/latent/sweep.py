"""Sweeps of one control: pictures of the same seeds at several values, with what each does to the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.core.config import Record, read_settings
from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean
from triptych.core.threads import one_thread
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.evaluate import FIRST_SEED, check_sample_count, data_of, draw
from triptych.evaluation.scoring import score_pixels, subset
from triptych.inference.pipeline import Pipeline
from triptych.latent.codes import Labels
from triptych.metrics import vendi
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.score import Score
from triptych.viz import charts

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

TOLD = ("FID", "precision", "recall")  # of each point's scores, beside its pictures and in the chart
VALUES = (0.25, 0.5, 0.7, 0.85, 1.0)
SAMPLES = 1000
Progress = Callable[[str, int, int], None]


class Point(Record):
    """One value of the control."""

    value: float
    scores: tuple[Score, ...]
    """FID, KID, precision, recall, density, coverage: quality and diversity against the test pictures."""
    vendi: float
    """How many different pictures the samples amount to (Friedman and Dieng 2023): diversity by itself."""

    def score(self, metric: str) -> Score:
        """The score of one metric."""
        return next(s for s in self.scores if s.card.metric == metric)


class Measured(Record):
    """A sweep in numbers."""

    control: str
    samples: int
    points: tuple[Point, ...]
    vendi_real: float
    """The same of as many training pictures."""


@dataclass(frozen=True)
class Sweep:
    """A sweep in numbers and pictures."""

    measured: Measured
    pictures: np.ndarray  # (values, shown, H, W, C) uint8: the same seeds at each value


def sweep(
    model: Pipeline,
    values: Sequence[float] = VALUES,
    control: str = "truncation",
    seeds: Iterable[int] = range(8),
    samples: int = SAMPLES,
    features: str | Extractor = "auto",
    data: Dataset | None = None,
    labels: Labels = None,
    progress: Progress | None = None,
    **controls: Any,
) -> Sweep:
    """Draw and score at each value of one control, all else alike: the same seeds, judge and test pictures.

    seeds: whose pictures are shown. samples: scored at each value, at least 20. features: who judges, as
    `evaluate` takes it. labels: of the pictures shown, one for all or one a seed; those scored are of all
    classes, by the class law, as the test pictures are. controls: the others. The run's metrics.jsonl is
    left alone. Raises UsageError for a control that the family has not and for values outside what it takes,
    ValueError for unfit seeds or labels.
    """
    kind = model.model.Controls
    if control not in kind.model_fields:
        there_are = ", ".join(kind.model_fields) or "none"
        hint = did_you_mean(control, kind.model_fields)
        raise UsageError(f"{model.model.title} has no control {control!r}.{hint} There are: {there_are}")
    if len(values) == 0:
        raise UsageError("a sweep needs a value, as in --values 0.5,0.7,1")
    asked = [{**controls, control: int(v) if float(v).is_integer() else float(v)} for v in values]
    for one in asked:
        read_settings(kind, one, f"{model.model.title}'s controls")
    check_sample_count(samples)
    chosen_seeds = list(seeds)
    shown = [model.sample(chosen_seeds, labels, **one) for one in asked]  # refuses what is unfit, first
    dataset = data_of(model, data)
    judge = (
        extractor_for(dataset, features, progress, model.device) if isinstance(features, str) else features
    )
    real, train = np.asarray(dataset.test.pixels), subset(dataset.train.pixels, samples)
    points = []
    for one, value in zip(asked, values, strict=True):
        drawn = draw(model, samples, FIRST_SEED, one, progress)
        scores = score_pixels(
            real, drawn.pixels, judge, data=dataset.fingerprint, split="test", about=drawn.about
        )
        points.append(Point(value=float(value), scores=tuple(scores), vendi=_vendi(judge, drawn.pixels)))
    measured = Measured(
        control=control, samples=samples, points=tuple(points), vendi_real=_vendi(judge, train)
    )
    return Sweep(measured, np.stack(shown))


def _vendi(judge: Extractor, pixels: np.ndarray) -> float:
    with one_thread():
        return float(vendi.vendi_score(judge(pixels)))


def row_names(measured: Measured) -> list[str]:
    """What stands beside each row of pictures: the control's value, and its scores with their intervals."""
    return [
        "\n".join([f"{measured.control} {p.value:g}, {_vendi_of(p)}", *_facts(p)]) for p in measured.points
    ]


def lines(measured: Measured) -> list[str]:
    """The sweep for the terminal: scores named after their judge, with intervals, a paragraph a value."""
    told = []
    for p in measured.points:
        told += [f"{measured.control} {p.value:g}", *(f"  {fact}" for fact in [*_facts(p), _vendi_of(p)])]
    first = measured.points[0].scores[0]
    by = "; ".join(dict.fromkeys(p.score(metric).method for p in measured.points for metric in TOLD))
    return [
        *told,
        f"{first.card.n_fake} samples against {first.card.n_real} real pictures at each value; in brackets "
        f"intervals of 95 % by {by}; Vendi has none (as many training pictures: {measured.vendi_real:.1f})",
    ]


def _facts(point: Point) -> list[str]:
    """A score a line, as "FID[digits-cnn] 33.9 (31.2 to 36.8)"."""
    told = []
    for score in map(point.score, TOLD):
        form = ".3g" if score.card.metric == "FID" else ".2f"
        told.append(f"{score.name} {score.value:{form}} ({score.low:{form}} to {score.high:{form}})")
    return told


def _vendi_of(point: Point) -> str:
    return f"Vendi[{point.scores[0].card.extractor}] {point.vendi:.1f}"


STYLE = (
    "text{font:11px sans-serif;fill:#444}.gridline{stroke:#e4e4e4}.tick{font-size:10px}svg{background:#fff}"
)


def chart(measured: Measured) -> str:
    """Quality and diversity over the control's values: an SVG of two charts side by side."""
    xs = [p.value for p in measured.points]

    def line(metric: str, color: str) -> tuple[str, str, list[float], list[float]]:
        return (metric, color, xs, [p.score(metric).value for p in measured.points])

    pair = [line("precision", "#2f6fb0"), line("recall", "#c2571a")]
    drawn = [
        charts.curve("FID", [line("FID", "#444")], measured.control),
        charts.curve("precision (blue) and recall (orange)", pair, measured.control),
    ]
    placed = "".join(
        part.replace("<svg ", f'<svg x="{360 * k}" y="24" width="340" height="170" ', 1)
        for k, part in enumerate(drawn)
    )
    fid, precision, recall = (escape(measured.points[0].score(metric).name) for metric in TOLD)
    heads = (
        f'<text x="46" y="16">{fid}</text><text x="406" y="16" style="fill:#2f6fb0">{precision}'
        f'<tspan dx="10" style="fill:#c2571a">{recall}</tspan></text>'
    )
    return (
        '<svg viewBox="0 0 700 200" width="700" height="200" xmlns="http://www.w3.org/2000/svg">'
        f'<style>{STYLE}</style><rect width="700" height="200" fill="#fff"/>{heads}{placed}</svg>'
    )
