"""Writes a post-mortem: a run and its diagnosis as one self-contained HTML page."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.data.datasets.memory import IN_MEMORY
from triptych.models.registry import saved_config
from triptych.monitor.records import observations
from triptych.monitor.remedies import remedies_for
from triptych.monitor.verdicts import Diagnosis
from triptych.runs.card import RunCard
from triptych.runs.options import BUDGETS
from triptych.runs.run import Run
from triptych.viz import charts
from triptych.viz.html_page import render

if TYPE_CHECKING:
    from triptych.core.objectives import AdversarialSpec

COLORS = ("var(--one)", "var(--two)", "var(--three)")
OBSERVED = {  # key of an observation: title, how to read it
    "modes": ("Modes covered", "Effective number of modes among the samples, relative to the data."),
    "nearest_sample_ratio": (
        "Nearest other sample",
        "Distance to it over the mean pairwise distance, relative to the data: near 0 are near-duplicates.",
    ),
    "pairwise_distance": (
        "Pairwise distance",
        "Mean distance between two samples, relative to that between two real images.",
    ),
    "data_distance": (
        "Distance to the data",
        "From a sample to the nearest training image, relative to that of other real images: 1 is perfect.",
    ),
}


def write_post_mortem(run: Run, diagnosis: Diagnosis, spec: AdversarialSpec, kept: Sequence[int]) -> Path:
    """Write RUN/post-mortem.html, or post-mortem-2.html after a first rollback.

    Args:
        run: The run.
        diagnosis: What is wrong with it.
        spec: The names of the model's two networks, and what the critic's output means.
        kept: The steps of the checkpoints that a rollback may restore, best first.

    Returns:
        The page's path.
    """
    past = run.card.rollbacks
    out = run.path / _page_name(len(past))
    # the precision that "auto" chose
    options = {**run.card.options.model_dump(mode="json"), "precision": run.card.plan.precision}
    options["images"] = run.card.data.train
    log, records = run.log(), [record for record in observations(run) if "modes" in record]
    page = render(
        "monitor",
        "page.html",
        title=f"Post-mortem: {diagnosis.verdict}, {run.path.name}",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        run=run,
        diagnosis=diagnosis,
        past=past,
        images=_images(run, records, diagnosis.since),
        curves=[*_log_curves(log, spec), *_observation_curves(records)],
        remedies=[
            (remedy.sentence, command_with(run.card, remedy.flags))
            for remedy in remedies_for(diagnosis.verdict, saved_config(run.card), options)
        ],
        restorable=next(iter(kept), None),
    )
    out.write_text(page, encoding="utf-8")
    return out


def newest_post_mortem(run: Run) -> Path | None:
    """The post-mortem written last, after the most rollbacks; None if there is none."""
    names = (_page_name(count) for count in range(len(run.card.rollbacks), -1, -1))
    return next((run.path / name for name in names if (run.path / name).is_file()), None)


def _page_name(rollbacks: int) -> str:
    return f"post-mortem-{rollbacks + 1}.html" if rollbacks else "post-mortem.html"


def command_with(card: RunCard, flags: dict[str, str]) -> str:
    """Give the command that makes a run again with other settings.

    Args:
        card: The run's run.json.
        flags: Flag to value, as "--batch" to "128"; "" for a switch.

    Returns:
        A shell command; for images given from Python, a call of `triptych.train`.
    """
    if card.options.data == IN_MEMORY:  # no command can bring these images back
        return f"triptych.train(..., {', '.join(_argument(*flag) for flag in flags.items())})"
    words = shlex.split(card.command) or _words(card)
    for flag, value in flags.items():
        words = _without(words, flag)
        words += [flag, value] if value else [flag]
    return shlex.join(words)


def _argument(flag: str, value: str) -> str:
    """A flag as `triptych.train` takes it."""
    name = flag.removeprefix("--").replace("-", "_")
    if not value:
        return f"{name.removeprefix('no_')}={not name.startswith('no_')}"
    try:
        return f"{name}={json.loads(value)}"
    except ValueError:
        return f"{name}={value!r}"


def _words(card: RunCard) -> list[str]:
    """The command of a run made from Python, with every setting, as it is not known which were given."""
    words = ["triptych", "train", card.model, "--data", card.data.source]
    words += ["--steps", str(card.plan.steps)]
    options = {k: v for k, v in card.options.model_dump(mode="json").items() if k not in ("data", *BUDGETS)}
    for name, value in {**options, **saved_config(card)}.items():
        words += _flag("--" + name.replace("_", "-"), value)
    return words


def _flag(flag: str, value: Any) -> list[str]:
    """A setting as a flag and its value; a tagged union as its kind and the fields of that kind."""
    if value is None or value == []:
        return []
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    if isinstance(value, dict):
        parts = [_flag(f"{flag}.{k.replace('_', '-')}", v) for k, v in value.items() if k != "kind"]
        return [flag, str(value["kind"]), *(word for part in parts for word in part)]
    return [flag, *map(str, value)] if isinstance(value, list) else [flag, str(value)]


def _without(words: Sequence[str], flag: str) -> list[str]:
    kept: list[str] = []
    spellings = {flag, flag.replace("-", "_").replace("__", "--", 1), flag.replace("--", "--no-", 1)}
    skip = False
    for word in words:
        if skip and not word.startswith("--"):
            skip = False
            continue
        skip = word in spellings
        if not skip and word.split("=")[0] not in spellings:
            kept.append(word)
    return kept


def _images(run: Run, records: Sequence[dict[str, Any]], since: int | None) -> list[tuple[str, int, str]]:
    """(caption, step, data URI) of samples before and after, as far as they were kept."""
    steps = [record["step"] for record in records if (run.monitor_folder / _name(record["step"])).exists()]
    if not steps:
        return []
    before = [step for step in steps if since is None or step < since]
    middle = [step for step in steps if since is not None and since <= step < steps[-1]]
    chosen = {"last observation before": before[-1:], "when it began": middle[:1], "now": steps[-1:]}
    chosen = {
        caption: own for caption, own in chosen.items() if own and (caption == "now" or own != steps[-1:])
    }
    return [
        (caption, step, _uri(run.monitor_folder / _name(step)))
        for caption, own in chosen.items()
        for step in own
    ]


def _name(step: int) -> str:
    return f"step-{step:08d}.png"


def _uri(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def _log_curves(log: Sequence[dict[str, Any]], spec: AdversarialSpec) -> list[tuple[str, str, str]]:
    """(title, SVG, how to read it) of what was logged of the two networks."""
    critic, generator = spec.critic, spec.generator
    scale = "probability of being real" if spec.critic_output == "probabilities" else "score without a scale"
    wanted = [
        ("Losses", [f"{critic}/loss", f"{generator}/loss"], "What each network minimizes."),
        (
            "Critic output",
            [f"{critic}/real", f"{critic}/fake"],
            f"Mean output of the {critic} on real images and on fakes: {scale}.",
        ),
        (
            "Gradients",
            [f"{critic}/gradient", f"{generator}/gradient"],
            "Gradient norm of each network: one whose gradient is near 0 learns nothing.",
        ),
    ]
    drawn = []
    for title, names, reading in wanted:
        series = []
        for name, color in zip(names, COLORS, strict=False):
            pairs = [(line["step"], line[name]) for line in log if name in line]
            if pairs:
                xs, ys = zip(*pairs, strict=True)
                series.append((name, color, xs, ys))
        if series:
            legend = ", ".join(
                f"{name} ({'orange' if k == 0 else 'blue'})" for k, (name, *_) in enumerate(series)
            )
            drawn.append((title, charts.curve(title, series), f"{reading} {legend}."))
    return drawn


def _observation_curves(records: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    xs = [record["step"] for record in records]
    return [
        (title, charts.curve(title, [(title, COLORS[2], xs, [record[name] for record in records])]), reading)
        for name, (title, reading) in OBSERVED.items()
        if records
    ]
