"""A run and its diagnosis -> one self-contained HTML page."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.data.datasets.memory import IN_MEMORY
from triptych.models.registry import saved_config
from triptych.monitor.diagnosis import Diagnosis
from triptych.monitor.remedies import remedies_for
from triptych.runs.card import RunCard
from triptych.runs.options import BUDGETS
from triptych.runs.run import Run
from triptych.viz import charts

if TYPE_CHECKING:
    from triptych.core.objectives import AdversarialSpec

COLORS = ("var(--one)", "var(--two)", "var(--three)")
SEEN = {  # looks: name -> title, how to read it
    "modes": ("Modes covered", "Effective number of modes among the samples, as a share of the data's."),
    "sparse": (
        "Distance to the nearest sample",
        "In units of the samples' spread, beside the data's own: near 0, samples repeat each other.",
    ),
    "spread": ("Spread", "Mean distance between two samples, as a share of that between two real pictures."),
    "distance": (
        "Distance to the data",
        "From a sample to the nearest real picture, beside that between real pictures: 1 is perfect.",
    ),
}


def write_post_mortem(run: Run, found: Diagnosis, game: AdversarialSpec, kept: Sequence[int]) -> Path:
    """Write RUN/post-mortem.html, or post-mortem-2.html after a first way back, and return its path.

    kept: the steps of the states that a rollback may take, best first.
    """
    past = run.card.rollbacks
    out = run.path / _page_name(len(past))
    options = {
        **run.card.options.model_dump(mode="json"),
        "precision": run.card.plan.precision,
    }  # what auto came to
    options["pictures"] = run.card.data.train
    log, looks = run.log(), [look for look in run.looks() if "modes" in look]
    page = _template().render(
        css=(resources.files("triptych.viz") / "style.css").read_text(encoding="utf-8"),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        run=run,
        found=found,
        past=past,
        pictures=_pictures(run, looks, found.since),
        curves=[*_game_curves(log, game), *_look_curves(looks)],
        remedies=[
            (remedy.words, command_with(run.card, remedy.flags))
            for remedy in remedies_for(found.verdict, saved_config(run.card), options)
        ],
        good=next(iter(kept), None),
        line=found.line(),
    )
    out.write_text(page, encoding="utf-8")
    return out


def newest_post_mortem(run: Run) -> Path | None:
    """The page written last, after the most ways back; None if there is none."""
    names = (_page_name(ways) for ways in range(len(run.card.rollbacks), -1, -1))
    return next((run.path / name for name in names if (run.path / name).is_file()), None)


def _page_name(ways_back: int) -> str:
    return f"post-mortem-{ways_back + 1}.html" if ways_back else "post-mortem.html"


def command_with(card: RunCard, flags: dict[str, str]) -> str:
    """The command of a run with other settings. flags: "--lr" -> "1e-4", "" for a switch."""
    if card.options.data == IN_MEMORY:  # no command can bring these pictures back
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
    """A run made from Python, as a command: what it was told beside the defaults is not known, so all."""
    words = ["triptych", "train", card.model, "--data", card.data.source]
    words += ["--steps", str(card.plan.steps)]
    options = {k: v for k, v in card.options.model_dump(mode="json").items() if k not in ("data", *BUDGETS)}
    for name, value in {**options, **saved_config(card)}.items():
        words += _flag("--" + name.replace("_", "-"), value)
    return words


def _flag(flag: str, value: Any) -> list[str]:
    """A setting as a flag and its value; a setting that comes in kinds as one and those of its kind."""
    if value is None:
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


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("triptych", "monitor"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html")


def _pictures(run: Run, looks: Sequence[dict[str, Any]], since: int | None) -> list[tuple[str, int, str]]:
    """(what it shows, step, data URI) of samples before and after, as far as they were kept."""
    steps = [look["step"] for look in looks if (run.path / "watch" / _name(look["step"])).exists()]
    if not steps:
        return []
    before = [step for step in steps if since is None or step < since]
    middle = [step for step in steps if since is not None and since <= step < steps[-1]]
    chosen = {"last looks before": before[-1:], "first of the disease": middle[:1], "now": steps[-1:]}
    chosen = {
        what: found for what, found in chosen.items() if found and (what == "now" or found != steps[-1:])
    }
    return [
        (what, step, _uri(run.path / "watch" / _name(step)))
        for what, found in chosen.items()
        for step in found
    ]


def _name(step: int) -> str:
    return f"step-{step:08d}.png"


def _uri(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def _game_curves(log: Sequence[dict[str, Any]], game: AdversarialSpec) -> list[tuple[str, str, str]]:
    """(title, SVG, how to read it) of what the two players logged."""
    critic, generator = game.critic, game.generator
    scale = "probability of being real" if game.critic_output == "probabilities" else "score without a scale"
    wanted = [
        ("Losses", [f"{critic}/loss", f"{generator}/loss"], "What each player minimises."),
        (
            "Verdicts",
            [f"{critic}/real", f"{critic}/fake"],
            f"The {critic} on real pictures and on fakes: {scale}.",
        ),
        (
            "Gradients",
            [f"{critic}/gradient", f"{generator}/gradient"],
            "Norm of each player's gradient: a player whose gradient is near 0 learns nothing.",
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
            told = ", ".join(
                f"{name} ({'orange' if k == 0 else 'blue'})" for k, (name, *_) in enumerate(series)
            )
            drawn.append((title, charts.curve(title, series), f"{reading} {told}."))
    return drawn


def _look_curves(looks: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    xs = [look["step"] for look in looks]
    return [
        (title, charts.curve(title, [(title, COLORS[2], xs, [look[name] for look in looks])]), reading)
        for name, (title, reading) in SEEN.items()
        if looks
    ]
