"""Runs -> one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from triptych.core.errors import DataError, RunError
from triptych.core.files import fit_to_write
from triptych.data.load import load as load_data
from triptych.inference.pipeline import load
from triptych.models.registry import load_model_class
from triptych.monitor.gan_monitor import diagnose_run
from triptych.monitor.records import observations
from triptych.report.duel_page import DuelPage
from triptych.report.panels import (
    Album,
    draw_album,
    image_grid,
    image_uri,
    nearest_training_images,
    seeds_for,
)
from triptych.report.run_summary import RunSummary, differences, findings, summarize
from triptych.report.run_table import environment, option_rows, protocols, score_rows
from triptych.runs.run import Run, open_run
from triptych.runs.weights import checked as known_weights
from triptych.viz import charts
from triptych.viz.html_page import render

PROGRESS_GRIDS = 6


def write_report(
    runs: Sequence[Run | Path | str],
    out: Path,
    *,
    title: str | None = None,
    commands: Sequence[str] = (),
    duel: DuelPage | None = None,
    weights: str = "auto",
) -> Path:
    """Write one HTML file about one run or several, side by side.

    What a run lacks (scores, log, a checkpoint) is named as missing in the report. A file that
    cannot be written is a UsageError.

    Args:
        runs: Run directories, or runs that are open already.
        out: The file to write.
        title: The heading; None: the models and the data.
        commands: What reproduces the runs; empty: the commands they were made with.
        duel: A duel's results, shown first (`report.duel_page`); None: no duel.
        weights: The weights to sample with, "raw", "ema" or "auto", as `inference.pipeline.load` takes them.

    Returns:
        `out`.

    Raises:
        RunError: If there is no run.
    """
    if not runs:
        raise RunError("a report needs at least one run")
    fit_to_write(out, "--out")
    opened = [run if isinstance(run, Run) else open_run(run) for run in runs]
    summaries = summarize(opened, known_weights(weights))
    sections, real = _sections(summaries)
    page = render(
        "report",
        "run.html",
        title=title or f"{', '.join(s.label for s in summaries)} on {summaries[0].run.card.data.name}",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summaries=summaries,
        warnings=differences(summaries) if len(summaries) > 1 else [],
        findings=findings(summaries) if duel is None else [],
        duel=duel,
        trilemma=_trilemma(summaries),
        table=score_rows(summaries),
        options=option_rows(summaries),
        environment=environment(summaries),
        commands=list(commands) or [s.run.card.command for s in summaries if s.run.card.command],
        protocols=protocols(summaries),
        sections=sections,
        real=real,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    return out


def _trilemma(summaries: Sequence[RunSummary]) -> str:
    def measured(s: RunSummary, metric: str) -> charts.Measured:
        score = s.score(metric)
        if score is None:
            return charts.Measured(s.label, s.color, None)
        return charts.Measured(s.label, s.color, score.value, score.low, score.high)

    def floor(metric: str) -> tuple[str, float] | None:
        floors = [x.floor for s in summaries if (x := s.score(metric)) and x.floor is not None]
        return ("real images", floors[0]) if floors else None

    names = {m: next((x.name for s in summaries if (x := s.score(m))), m) for m in ("FID", "recall")}
    speeds = [
        charts.Measured(s.label, s.color, 1 / s.seconds_per_sample if s.seconds_per_sample else None)
        for s in summaries
    ]
    return charts.trilemma(
        [
            charts.Panel(
                "Quality", names["FID"], "left", [measured(s, "FID") for s in summaries],
                reference=floor("FID"),
            ),
            charts.Panel(
                "Diversity", names["recall"], "right", [measured(s, "recall") for s in summaries],
                reference=floor("recall"),
            ),
            charts.Panel("Speed", "images per second", "right", speeds, log=True),
        ]
    )  # fmt: skip


# --- one section for each run -----------------------------------------------------------------


@dataclass(frozen=True)
class RunSection:
    """Everything drawn of one run."""

    summary: RunSummary
    album: Album | None
    nearest: str | None  # samples beside their nearest training images
    gap: str  # why there is no album
    progress: list[tuple[int, str]]  # step and sample grid
    curves: list[tuple[str, str, str]]  # name, SVG, how to read it
    classes: str | None  # SVG
    diagnosis: str  # the GAN monitor's; empty for other models


def _sections(summaries: Sequence[RunSummary]) -> tuple[list[RunSection], str | None]:
    """Each run's section, where what cannot be drawn says why, and real test images."""
    sections: list[RunSection] = []
    real: str | None = None
    for s in summaries:
        album, nearest, gap = None, None, ""
        try:
            card = s.run.card.data
            data = load_data(card.source, size=card.size, color=card.color)
            images = np.asarray(data.test.pixels[: len(seeds_for(data.test.pixels))])
            real = real or image_grid(images, 8)
            model = load(s.run.path, weights=s.weights)
            album = draw_album(model, images, data.test.labels)
            nearest = nearest_training_images(model, s.evaluation, data.train.pixels)
        except (RunError, DataError, ValueError) as error:
            gap = str(error)
        sections.append(
            RunSection(s, album, nearest, gap, _progress(s.run), _curves(s), _classes(s), _diagnosis(s))
        )
    return sections, real


def _curves(s: RunSummary) -> list[tuple[str, str, str]]:
    """(name, SVG, how to read it) of each logged curve."""
    try:
        log_help = load_model_class(s.run.card.model).log_help
    except ValueError:  # a model of the user's own, in a file that is not executed for reading
        log_help = {}
    names = dict.fromkeys([*log_help, *(name for line in s.log for name in line if name.endswith("/loss"))])
    curves = []
    for name in names:
        points = [(line["step"], line[name]) for line in s.log if name in line]
        if points:
            steps, values = zip(*points, strict=True)
            svg = charts.curve(name, [(s.label, s.color, steps, values)])
            curves.append((name, svg, log_help.get(name, "")))
    return curves


def _diagnosis(s: RunSummary) -> str:
    try:
        adversarial = load_model_class(s.run.card.model).adversarial
    except ValueError:  # a model of the user's own: what was said of it at the time
        verdicts = [record["verdict"] for record in observations(s.run)]
        return str(verdicts[-1]) if verdicts else ""
    return "" if adversarial is None else diagnose_run(s.run, adversarial).summary()


def _classes(s: RunSummary) -> str | None:
    view = s.evaluation.classes if s.evaluation else None
    if view is None:
        return None
    title = f"{s.label}: share of samples in each class"
    return charts.bars(title, view.names, view.shares, view.shares_real, s.color)


def _progress(run: Run) -> list[tuple[int, str]]:
    """(step, a corner of the sample grid of that step, of 2-D points all) for up to six steps."""
    images, part = [], 1 if run.card.image_spec.size == 1 else 2
    for file in sorted(run.samples_folder.glob("step-*.png"))[-PROGRESS_GRIDS:]:
        with Image.open(file) as grid:
            corner = grid.crop((0, 0, grid.width // part, grid.height // part))
            array = np.asarray(corner.convert("RGB" if corner.mode != "L" else "L"))
        images.append(
            (int(file.stem.split("-")[1]), image_uri(array if array.ndim == 3 else array[..., None]))
        )
    return images
