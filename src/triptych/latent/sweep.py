"""Sweeps of one sampling control: images of the same seeds, and scores, at several values."""

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

REPORTED = ("FID", "precision", "recall")  # of each point's scores, beside its images and in the chart
VALUES = (0.25, 0.5, 0.7, 0.85, 1.0)
SAMPLES = 1000
Progress = Callable[[str, int, int], None]


class SweepPoint(Record):
    """One value of the control."""

    value: float
    scores: tuple[Score, ...]
    """FID, KID, precision, recall, density, coverage: quality and diversity against the test images."""
    vendi: float
    """Vendi score, the effective number of distinct images (Friedman and Dieng 2023): diversity by itself."""

    def score(self, metric: str) -> Score:
        """The score of one metric."""
        return next(s for s in self.scores if s.card.metric == metric)


class SweepScores(Record):
    """The scores of a sweep."""

    control: str
    samples: int
    points: tuple[SweepPoint, ...]
    vendi_real: float
    """The same of as many training images."""


@dataclass(frozen=True)
class Sweep:
    """A sweep: scores and images."""

    scores: SweepScores
    images: np.ndarray  # (values, seeds, H, W, C) uint8: the same seeds at each value


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
    """Draw and score samples at each value of one control: the same seeds, feature extractor and test images.

    The run's metrics.jsonl is not changed. Seeds and labels that are out of range raise a ValueError.

    Args:
        model: The model.
        values: Of the control.
        control: Its name.
        seeds: Of the images that are kept.
        samples: Scored at each value, at least 20.
        features: The feature extractor, as `evaluate` takes it.
        data: The data set, where it was given from Python.
        labels: Of the kept images, one for all or one per seed; the scored samples are of all classes, by the
            class distribution, as the test images are.
        progress: Called with (what, done, total).
        **controls: The other sampling controls.

    Returns:
        Scores and images.

    Raises:
        UsageError: The model does not have this control, or a value is out of range.
    """
    controls_class = model.model.Controls
    if control not in controls_class.model_fields:
        there_are = ", ".join(controls_class.model_fields) or "none"
        hint = did_you_mean(control, controls_class.model_fields)
        raise UsageError(f"{model.model.title} has no control {control!r}.{hint} There are: {there_are}")
    if len(values) == 0:
        raise UsageError("a sweep needs a value, as in --values 0.5,0.7,1")
    settings = [{**controls, control: int(v) if float(v).is_integer() else float(v)} for v in values]
    for one in settings:
        read_settings(controls_class, one, f"{model.model.title}'s controls")
    check_sample_count(samples)
    chosen_seeds = list(seeds)
    kept = [model.sample(chosen_seeds, labels, **one) for one in settings]  # first: checks the arguments
    dataset = data_of(model, data)
    extractor = (
        extractor_for(dataset, features, progress, model.device) if isinstance(features, str) else features
    )
    real, train = np.asarray(dataset.test.pixels), subset(dataset.train.pixels, samples)
    points = []
    for one, value in zip(settings, values, strict=True):
        drawn = draw(model, samples, FIRST_SEED, one, progress)
        scores = score_pixels(
            real, drawn.pixels, extractor, data=dataset.fingerprint, split="test", about=drawn.about
        )
        points.append(
            SweepPoint(value=float(value), scores=tuple(scores), vendi=_vendi(extractor, drawn.pixels))
        )
    swept = SweepScores(
        control=control, samples=samples, points=tuple(points), vendi_real=_vendi(extractor, train)
    )
    return Sweep(swept, np.stack(kept))


def _vendi(extractor: Extractor, pixels: np.ndarray) -> float:
    with one_thread():
        return float(vendi.vendi_score(extractor(pixels)))


def row_labels(scores: SweepScores) -> list[str]:
    """The label of each row of images: the control's value, and its scores with their intervals."""
    return ["\n".join([f"{scores.control} {p.value:g}, {_vendi_of(p)}", *_facts(p)]) for p in scores.points]


def summary_lines(scores: SweepScores) -> list[str]:
    """The sweep for the terminal: scores with intervals, a paragraph per value."""
    lines = []
    for p in scores.points:
        lines += [f"{scores.control} {p.value:g}", *(f"  {fact}" for fact in [*_facts(p), _vendi_of(p)])]
    first = scores.points[0].scores[0]
    by = "; ".join(dict.fromkeys(p.score(metric).method for p in scores.points for metric in REPORTED))
    return [
        *lines,
        f"{first.card.n_fake} samples against {first.card.n_real} real images at each value; in parentheses "
        f"95% intervals by {by}; Vendi has none (as many training images: {scores.vendi_real:.1f})",
    ]


def _facts(point: SweepPoint) -> list[str]:
    """One score per line, as "FID[digits-cnn] 33.9 (31.2 to 36.8)"."""
    lines = []
    for score in map(point.score, REPORTED):
        form = ".3g" if score.card.metric == "FID" else ".2f"
        lines.append(f"{score.name} {score.value:{form}} ({score.low:{form}} to {score.high:{form}})")
    return lines


def _vendi_of(point: SweepPoint) -> str:
    return f"Vendi[{point.scores[0].card.extractor}] {point.vendi:.1f}"


STYLE = (
    "text{font:11px sans-serif;fill:#444}.gridline{stroke:#e4e4e4}.tick{font-size:10px}svg{background:#fff}"
)


def chart(scores: SweepScores) -> str:
    """Quality and diversity over the control's values: an SVG of two charts side by side."""
    xs = [p.value for p in scores.points]

    def line(metric: str, color: str) -> tuple[str, str, list[float], list[float]]:
        return (metric, color, xs, [p.score(metric).value for p in scores.points])

    pair = [line("precision", "#2f6fb0"), line("recall", "#c2571a")]
    drawn = [
        charts.curve("FID", [line("FID", "#444")], scores.control),
        charts.curve("precision (blue) and recall (orange)", pair, scores.control),
    ]
    placed = "".join(
        part.replace("<svg ", f'<svg x="{360 * k}" y="24" width="340" height="170" ', 1)
        for k, part in enumerate(drawn)
    )
    fid, precision, recall = (escape(scores.points[0].score(metric).name) for metric in REPORTED)
    heads = (
        f'<text x="46" y="16">{fid}</text><text x="406" y="16" style="fill:#2f6fb0">{precision}'
        f'<tspan dx="10" style="fill:#c2571a">{recall}</tspan></text>'
    )
    return (
        '<svg viewBox="0 0 700 200" width="700" height="200" xmlns="http://www.w3.org/2000/svg">'
        f'<style>{STYLE}</style><rect width="700" height="200" fill="#fff"/>{heads}{placed}</svg>'
    )
