"""Runs -> one self-contained HTML file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from triptych.core.errors import DataError, RunError
from triptych.core.files import fit_to_write
from triptych.data.dataset import Dataset
from triptych.data.load import load as load_data
from triptych.inference.pipeline import load
from triptych.metrics.suite import names_of
from triptych.models.registry import load_model_class, saved_config
from triptych.monitor.gan_monitor import diagnose_run
from triptych.monitor.records import observations
from triptych.report.panels import Album, album, neighbours, sheet, shown_of, uri
from triptych.report.run_summary import Facts, differences, findings, gather
from triptych.runs.run import Run, open_run
from triptych.runs.weights import checked as known_weights
from triptych.runs.weights import scored
from triptych.viz import charts
from triptych.viz.svg import short

WEIGHTS = {"raw": "raw", "ema": "EMA", "": "not noted"}


def write_report(
    runs: Sequence[Run | Path | str],
    out: Path,
    *,
    title: str | None = None,
    commands: Sequence[str] = (),
    contest: Any = None,
    weights: str = "auto",
) -> Path:
    """Write one HTML file about one run or several, side by side, and return its path.

    commands: what reproduces them; left out: the commands the runs were made with. What a run lacks
    (scores, log, a state) is named as missing in the report. contest: a duel's standings, shown first
    (`report.duel_html`). weights: which are drawn with, "raw", "ema" or "auto", as `model.load` takes them.
    Raises RunError for what is no run, UsageError where `out` cannot be written.
    """
    if not runs:
        raise RunError("a report needs at least one run")
    fit_to_write(out, "--out")
    opened = [run if isinstance(run, Run) else open_run(run) for run in runs]
    facts = gather(opened, known_weights(weights))
    page = _template().render(
        title=title or f"{', '.join(f.label for f in facts)} on {facts[0].run.card.data.name}",
        css=(resources.files("triptych.viz") / "style.css").read_text(encoding="utf-8"),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        facts=facts,
        warnings=differences(facts) if len(facts) > 1 else [],
        findings=findings(facts) if contest is None else [],
        contest=contest,
        trilemma=_trilemma(facts),
        table=_table(facts),
        options=_options(facts),
        environment=_environment(facts),
        commands=list(commands) or [f.run.card.command for f in facts if f.run.card.command],
        cards=_cards(facts),
        **_chapters(facts),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    return out


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("triptych", "report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["short"] = lambda value: "not measured" if value is None else short(float(value))
    return environment.get_template("template.html")


def _trilemma(facts: Sequence[Facts]) -> str:
    def measured(f: Facts, metric: str) -> charts.Measured:
        score = f.score(metric)
        if score is None:
            return charts.Measured(f.label, f.color, None)
        return charts.Measured(f.label, f.color, score["value"], score["low"], score["high"])

    def real(metric: str) -> tuple[str, float] | None:
        floors = [s["floor"] for f in facts if (s := f.score(metric)) and s["floor"] is not None]
        return ("real pictures", floors[0]) if floors else None

    names = {m: next((s["name"] for f in facts if (s := f.score(m))), m) for m in ("FID", "recall")}
    speeds = [
        charts.Measured(f.label, f.color, 1 / f.seconds_per_sample if f.seconds_per_sample else None)
        for f in facts
    ]
    return charts.trilemma(
        [
            charts.Panel(
                "Quality", names["FID"], "left", [measured(f, "FID") for f in facts], reference=real("FID")
            ),
            charts.Panel(
                "Diversity", names["recall"], "right", [measured(f, "recall") for f in facts],
                reference=real("recall"),
            ),
            charts.Panel("Speed", "pictures a second", "right", speeds, log=True),
        ]
    )  # fmt: skip


def _table(facts: Sequence[Facts]) -> list[tuple[str, list[str]]]:
    """Rows of the table: a name and one cell a run."""

    def cells(pick: Any) -> list[str]:
        found = []
        for f in facts:
            try:
                value = pick(f)
            except (AttributeError, KeyError, TypeError, ZeroDivisionError):
                value = None
            found.append("not measured" if value is None else str(value))
        return found

    told = {True: "yes", False: "no"}
    rows = [
        ("Told the class", cells(lambda f: told[f.run.card.conditional])),
        ("Parameters", cells(lambda f: f"{f.run.card.cost.parameters:,}")),
        ("of these, drawing", cells(lambda f: f"{f.run.card.cost.sampling_parameters:,}")),
        ("FLOPs a training step", cells(lambda f: f"{f.run.card.cost.flops_per_step / 1e9:,.2f} G")),
        ("Training steps", cells(lambda f: f"{f.state.step:,}")),
        ("Pictures seen", cells(lambda f: f"{f.state.images:,}")),
        ("Training time", cells(lambda f: f"{f.seconds:,.1f} s")),
        ("Pictures a second, training", cells(lambda f: f"{f.state.images / f.seconds:,.0f}")),
        ("Peak memory of the process", cells(lambda f: f"{f.state.peak_memory_bytes / 2**20:,.0f} MiB")),
        ("Weights shown", [_weights_cell(f) for f in facts]),
        ("Weights scored", cells(lambda f: WEIGHTS[scored(f.evaluation)] if f.evaluation else None)),
        ("Time a drawn picture", cells(lambda f: f"{1000 * f.seconds_per_sample:,.2f} ms")),
    ]
    measured = [s["card"]["metric"] for f in facts for s in (f.evaluation or {}).get("scores", ())]
    for metric in dict.fromkeys([*names_of("always"), *measured]):
        known = [s for f in facts if (s := f.score(metric))]
        arrow = "" if not known else (" \u2193" if known[0]["better"] == "lower" else " \u2191")
        name = known[0]["name"] if known else metric
        unlike = len({s["name"] for s in known}) > 1  # two kinds of bound: each cell says which
        own = [_score_cell(f.score(metric)) for f in facts]
        if unlike:
            name = f"{metric} (unlike bounds)"
            own = [
                f"{c}, {s['name']}" if (s := f.score(metric)) else c for c, f in zip(own, facts, strict=True)
            ]
        rows.append((name + arrow, own))
    rows.append(("Sure of its class", cells(lambda f: f"{f.evaluation['classes']['confident']:.1%}")))
    for name in ("precision", "recall"):
        truth = cells(lambda f, name=name: f"{f.evaluation['detailed']['ground_truth'][name]:.1%}")
        if set(truth) != {"not measured"}:
            rows.append((f"True {name}, by known causes \u2191", truth))
    rows.append(("Rarest class", cells(lambda f: f"{min(f.evaluation['classes']['shares']):.1%}")))
    return rows


def _weights_cell(f: Facts) -> str:
    """Which weights the pictures are drawn with, and how the two compared."""
    found = f.comparison
    if f.weights != "auto":
        return f"{WEIGHTS[f.weights]} (asked for)"
    if found is None:
        return f"{WEIGHTS['raw']} (no comparison)"
    scores = f"{found.metric}: raw {short(found.raw)}, EMA {short(found.ema)}"
    return f"{WEIGHTS[found.selected]} ({scores})"


def _score_cell(score: dict[str, Any] | None) -> str:
    if score is None:
        return "not measured"
    floor = "" if score["floor"] is None else f", floor {short(score['floor'])}"
    return f"{short(score['value'])} [{short(score['low'])}, {short(score['high'])}]{floor}"


def _curves(f: Facts) -> list[tuple[str, str, str]]:
    """(name, SVG, how to read it) of each logged curve."""
    try:
        explained = load_model_class(f.run.card.model).log_help
    except ValueError:  # a family of the user's own, in a file that is not opened for reading
        explained = {}
    steps = [line["step"] for line in f.log]
    names = dict.fromkeys([*explained, *(k for line in f.log for k in line if k.endswith("/loss"))])
    drawn = []
    for name in names:
        pairs = [(s, line[name]) for s, line in zip(steps, f.log, strict=True) if name in line]
        if pairs:
            xs, ys = zip(*pairs, strict=True)
            drawn.append((name, charts.curve(name, [(f.label, f.color, xs, ys)]), explained.get(name, "")))
    return drawn


def _watch(f: Facts) -> str:
    try:
        game = load_model_class(f.run.card.model).adversarial
    except ValueError:  # a family of the user's own: what was said of it at the time
        seen = [record["verdict"] for record in observations(f.run)]
        return seen[-1] if seen else ""
    return "" if game is None else diagnose_run(f.run, game).summary()


def _classes(f: Facts) -> str | None:
    view = (f.evaluation or {}).get("classes")
    if not view:
        return None
    return charts.bars(
        f"{f.label}: share of samples in each class",
        view["names"],
        view["shares"],
        view["shares_real"],
        f.color,
    )


def _options(facts: Sequence[Facts]) -> list[tuple[str, list[str], bool]]:
    """(option, one value a run, whether they differ) of all options, plans and configs."""
    merged = [
        {
            **f.run.card.options.model_dump(mode="json"),
            **f.run.card.plan.model_dump(mode="json"),
            **saved_config(f.run.card),
        }
        for f in facts
    ]
    rows = []
    for name in dict.fromkeys(key for values in merged for key in values):
        cells = [json.dumps(values[name]) if name in values else "\u2013" for values in merged]
        rows.append((name, cells, len(set(cells)) > 1))
    return rows


def _environment(facts: Sequence[Facts]) -> dict[str, str]:
    known: dict[str, str] = {}
    for f in facts:
        for name, value in f.run.card.versions.items():
            known[name] = value if known.get(name, value) == value else f"{known[name]}; {value}"
    return known


def _cards(facts: Sequence[Facts]) -> list[tuple[str, list[str]]]:
    """How the scores were measured: protocol in words, one entry a run."""
    entries = []
    for f in facts:
        if f.evaluation is None or not f.evaluation["scores"]:
            entries.append((f.label, ["no evaluation yet: triptych evaluate " + str(f.run.path)]))
            continue
        first, judge = f.evaluation["scores"][0], f.evaluation["extractor"]
        card = first["card"]
        accuracy = (
            "" if judge["accuracy"] is None else f", right about {judge['accuracy']:.1%} of the test pictures"
        )
        lines = [
            f"{card['n_fake']:,} samples (seeds {card['seeds']}, {card['weights']} weights) against "
            f"{card['n_real']:,} {card['split']} pictures, data {card['data'][:12]}",
            f"judge {judge['name']} ({judge['hash'][:12]}, {judge['width']} features{accuracy})",
            f"intervals: 95 %, {first['method']}; floor: real training pictures in the samples' place",
            f"controls {json.dumps(card['controls'])}",
            f"quantization {card.get('quantization', card.get('quantisation'))}, resize {card['resize']}",
        ]
        notes = dict.fromkeys(note for s in f.evaluation["scores"] for note in s["notes"])
        entries.append((f.label, [*lines, *(f"note: {note}" for note in notes)]))
    return entries


@dataclass(frozen=True)
class Chapter:
    """Everything drawn of one run."""

    facts: Facts
    album: Album | None
    neighbours: str | None  # samples beside their nearest training pictures
    gap: str  # why there is no album
    progress: list[tuple[int, str]]
    curves: list[tuple[str, str, str]]
    classes: str | None
    watch: str  # what the watch says of a game of two; empty for other families


def _chapters(facts: Sequence[Facts]) -> dict[str, Any]:
    """Real pictures and each run's chapter; what cannot be drawn says why."""
    chapters: list[Chapter] = []
    real: str | None = None
    for f in facts:
        drawn, beside, gap = None, None, ""
        try:
            data = _data(f.run)
            test = data.test
            shown = np.asarray(test.pixels[: len(shown_of(test.pixels))])
            real = real or sheet(shown, 8)
            model = load(f.run.path, weights=f.weights)
            drawn = album(model, shown, test.labels)
            beside = neighbours(model, f.evaluation or {}, data.train.pixels)
        except (RunError, DataError, ValueError) as error:
            gap = str(error)
        chapters.append(Chapter(f, drawn, beside, gap, _progress(f.run), _curves(f), _classes(f), _watch(f)))
    return {"chapters": chapters, "real": real}


def _data(run: Run) -> Dataset:
    asked = run.card.data
    return load_data(asked.source, size=asked.size, color=asked.color)


def _progress(run: Run) -> list[tuple[int, str]]:
    """(step, a corner of the grid drawn then, of points all) for up to six moments."""
    shown, part = [], 1 if run.card.image_spec.size == 1 else 2
    for file in sorted((run.path / "samples").glob("step-*.png"))[-6:]:
        with Image.open(file) as grid:
            third = grid.crop((0, 0, grid.width // part, grid.height // part))
            array = np.asarray(third.convert("RGB" if third.mode != "L" else "L"))
        shown.append((int(file.stem.split("-")[1]), uri(array if array.ndim == 3 else array[..., None])))
    return shown
