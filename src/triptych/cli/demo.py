"""`triptych demo`: a GAN, a VAE and a diffusion model, equal budgets, one protocol, one report."""

from __future__ import annotations

import shlex
import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.cli._flags import parse
from triptych.cli._registry import say, verb
from triptych.core.errors import UsageError
from triptych.core.time_left import duration

SAMPLES = 1000
PANELS = ("dcgan", "vae", "diffusion")  # one of each kind
ABOUT = "Train a GAN, a VAE and a diffusion model on the same pictures for the same time; write one report."


@dataclass(kw_only=True)
class DemoFlags:
    """What `triptych demo` can be asked for."""

    data: str = "digits"
    """Where the pictures come from: digits (needs no download), mnist, folder:PATH, ..."""
    minutes: float = 1.0
    """Training time of each family."""
    seed: int = 0
    """Start of every random stream."""
    samples: int = SAMPLES
    """Pictures drawn from each family for its scores."""
    runs: Path = Path("runs")
    """Directory the runs are made in."""
    out: Path = Path("report.html")
    """The report."""
    open: bool = False
    """Show the report in the browser when it is done."""


def run_demo(flags: DemoFlags, say: Callable[[str], None]) -> dict[str, Any]:
    """Train, evaluate and report. Returns the runs' paths and the report's.

    Raises UsageError for budgets or sample counts that cannot be, RuntimeError-free: a training that
    fails ends the demo with its own exit code.
    """
    from triptych.comparison.subprocess_runs import run_apart
    from triptych.core.time_left import told_slowly
    from triptych.data.load import load as load_data

    if flags.minutes <= 0:
        raise UsageError(f"--minutes must be more than 0, got {flags.minutes:g}")
    if flags.samples < 20:
        raise UsageError(f"--samples must be at least 20, got {flags.samples}")
    began = time.monotonic()
    say(
        f"{len(PANELS)} families, {flags.minutes:g} minute(s) of training each on {flags.data}, "
        f"{duration(60 * flags.minutes * len(PANELS))} in all, then scores and a report"
    )
    load_data(flags.data)  # bad data are found before anything costs time
    runs: list[Path] = []
    commands = [
        f"triptych demo --data {shlex.quote(flags.data)} --minutes {flags.minutes:g}",
        "",
        "# that is",
    ]
    for family in PANELS:
        words = ["train", family, "--data", flags.data, "--minutes", f"{flags.minutes:g}"]
        words += ["--seed", str(flags.seed), "--runs", str(flags.runs)]
        commands.append(shlex.join(["triptych", *words]))
        say(f"$ {commands[-1]}")
        code, run = run_apart(words)
        if code:
            return {"exit": code, "runs": [str(path) for path in runs]}
        runs.append(run)
    from triptych.cli.tables import print_classes, print_scores
    from triptych.evaluation.evaluate import evaluate_run
    from triptych.report.html import write_report

    for run in runs:
        commands.append(f"triptych evaluate {run} --samples {flags.samples}")
        say(f"$ {commands[-1]}")
        made = evaluate_run(run, flags.samples, progress=told_slowly(say))
        print_scores(made.scores, run.name)
        print_classes(made)
    commands.append(shlex.join(["triptych", "report", *map(str, runs), "--out", str(flags.out)]))
    out = write_report(runs, flags.out, commands=commands)
    say(f"done in {(time.monotonic() - began) / 60:.1f} minutes. Open {out} in a browser")
    print(out)
    if flags.open:
        webbrowser.open(out.resolve().as_uri())
    return {"runs": [str(path) for path in runs], "report": str(out)}


@verb("demo", "train a GAN, a VAE and a diffusion model side by side and write one report")
def demo(words: list[str]) -> dict[str, Any]:
    """The main job."""

    flags = parse(words, DemoFlags, "demo", ABOUT)
    return run_demo(flags, say)
