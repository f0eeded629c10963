"""A sensitivity study as text and image: tables of what each metric noticed, a sheet of corrupted images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.evaluation.sensitivity.corruptions import CorruptionSource, corruptions
from triptych.evaluation.sensitivity.records import SensitivityStudy
from triptych.evaluation.sensitivity.running import corruption_source
from triptych.metrics.extractors.base import Extractor
from triptych.viz import grids

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "noticed": "green",
    "missed": "dim",
    "fooled": "bold red",
    "refused": "yellow",
    "worsens": "green",
    "wavers": "magenta",
    "improves": "bold red",
    "unmoved": "dim",
}
MARKS = {"noticed": "noticed", "missed": "-", "fooled": "**fooled**"}
ACROSS = 10  # images of each corrupted set on the sheet
CELL_PX = 48


def print_study(study: SensitivityStudy) -> None:
    """Print which metric noticed what, and how each responds to growing strength."""
    from rich.console import Console

    console = Console()
    verdicts = {
        f"{row.corruption}, {row.strength}": [(reading.metric, reading.verdict) for reading in row.readings]
        for row in study.rows
    }
    _print(console, "corrupted by", verdicts, ("noticed", "missed", "fooled", "refused"))
    console.print(
        f"{study.n} images of {study.source} against {study.n} others ({study.partition}); "
        f"extractor {study.extractor}, {study.features} features. noticed: worse than as many honest images, "
        "each value outside the other's 95% interval; fooled: better, in the same sense; missed: neither; "
        "refused: no value. Values: --json\n"
    )
    if study.graded:
        kinds = dict.fromkeys(graded.corruption for graded in study.graded)
        trends = {k: [(g.metric, g.trend) for g in study.graded if g.corruption == k] for k in kinds}
        _print(console, "stronger", trends, ("worsens", "wavers", "improves", "unmoved", "refused"))
        console.print(
            "from weak to strong. worsens: some step is noticed, none fools; improves: the reverse; wavers: "
            "both occur; unmoved: neither\n"
        )
    explained: set[tuple[str, str]] = set()
    for row in study.rows:
        for reading in row.readings:
            if reading.reason and (row.corruption, reading.metric) not in explained:
                explained.add((row.corruption, reading.metric))
                console.print(f"{reading.metric}, {row.corruption}: {reading.reason}", markup=False)


def _print(
    console: Console, what: str, rows: Mapping[str, Sequence[tuple[str, str]]], words: Sequence[str]
) -> None:
    """A table with a column for each word that occurs, the metrics it was occurring of in the cells."""
    from rich.table import Table

    occurring = {word for cells in rows.values() for _, word in cells}
    words = [word for word in words if word in occurring]
    table = Table(what, show_lines=True)
    for word in words:
        table.add_column(word, header_style=STYLES[word], style=STYLES[word])
    for name, cells in rows.items():
        by_word = {word: [metric for metric, said_word in cells if said_word == word] for word in words}
        most = max(by_word.values(), key=len)
        texts = [
            ("the others" if len(most) < len(cells) else "all") if metrics is most else ", ".join(metrics)
            for metrics in by_word.values()
        ]
        table.add_row(name, *texts)
    console.print(table)


def markdown(study: SensitivityStudy) -> str:
    """Every value with its verdict, metrics across, as a markdown table."""
    lines = [("corrupted by", "strength", "images", *study.better)]
    lines += [("---",) * len(lines[0])]
    honest = [
        ("-" if r.value is None else f"{r.value:.3g} [{r.low:.3g}, {r.high:.3g}]") for r in study.honest
    ]
    lines += [("nothing", "", f"{study.n}", *honest)]
    for row in study.rows:
        cells = [
            r.verdict if r.value is None else f"{r.value:.3g} {MARKS.get(r.verdict, r.verdict)}"
            for r in row.readings
        ]
        lines.append((row.corruption, row.strength, f"{row.n}", *cells))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write_sheet(
    path: Path,
    source: Any,
    samples: int = 2000,
    features: str | Extractor = "auto",
    seed: int = 0,
    *,
    size: int | None = None,
) -> None:
    """Write a PNG of the images that `study_sensitivity` with the same arguments measures.

    Args:
        path: of the file; missing directories are made.
        source: as for `data.load`, or a Dataset.
        samples: images in the honest set, at most.
        features: name of an extractor, or an extractor.
        seed: of the partition and of the noise.
        size: side in pixels; None the source's own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    grids.write_png(path, sheet(corruption_source(source, samples, features, seed, size=size)))


def sheet(source_images: CorruptionSource) -> np.ndarray:
    """The first images of the honest set and of every corrupted one: (height, width, C) uint8."""
    sets = {"honest": source_images.honest} | {
        f"{s.kind}, {s.strength}": s.make(source_images) for s in corruptions(source_images)
    }
    pixels, captions = [], []
    for name, labeled in sets.items():
        pixels.append(labeled.pixels[np.arange(ACROSS) % len(labeled)])
        captions += [name] + [""] * (ACROSS - 1)
    images = np.concatenate(pixels)
    return grids.grid(images, ACROSS, captions, scale=max(CELL_PX // images.shape[1], 1))
