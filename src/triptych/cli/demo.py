"""`triptych demo`: a GAN, a VAE and a flow-matching model, equal budgets, one protocol, one report."""

from __future__ import annotations

import shlex
import time
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from triptych.cli._flags import JsonFlag
from triptych.cli._registry import Result, say

# One of each kind. Of the two denoising models flow matching gives better images in a minute:
# benchmarks/results/demo_denoiser.md.
MODELS = ("dcgan", "vae", "flow_matching")


@dataclass(kw_only=True)
class DemoFlags(JsonFlag):
    """Train a GAN, a VAE and a flow-matching model on the same images for the same time; report them."""

    data: str = "digits"
    """Source of the images: digits (needs no download), mnist, folder:PATH, ..."""
    minutes: float = 1.0
    """Training time of each model."""
    seed: int = 0
    """Seed of every random stream."""
    samples: int = 1000
    """Samples drawn from each model for its scores."""
    runs: Path = Path("runs")
    """Directory in which the runs are made."""
    out: Path = Path("report.html")
    """The report."""
    open: bool = False
    """Open the report in the browser when it is done."""


def demo(flags: DemoFlags) -> Result:
    """Train, evaluate and report. A training that fails ends the demo with its own exit code.

    Args:
        flags: As typed.

    Returns:
        What --json prints.

    Raises:
        UsageError: For a budget of no time or fewer than 20 samples.
    """
    from triptych.cli.progress import throttled
    from triptych.cli.tables import print_classes, print_scores
    from triptych.comparison.subprocess_runs import run_apart
    from triptych.core.errors import UsageError
    from triptych.core.time_left import duration
    from triptych.data.load import load as load_data

    if flags.minutes <= 0:
        raise UsageError(f"--minutes must be more than 0, got {flags.minutes:g}")
    if flags.samples < 20:
        raise UsageError(f"--samples must be at least 20, got {flags.samples}")
    began = time.monotonic()
    say(
        f"{len(MODELS)} models, {flags.minutes:g} minute{'s' * (flags.minutes != 1)} of training each on "
        f"{flags.data} ({duration(60 * flags.minutes * len(MODELS))} in all), then scores and a report"
    )
    load_data(flags.data)  # bad data are found before anything costs time
    runs: list[Path] = []
    commands = [
        f"triptych demo --data {shlex.quote(flags.data)} --minutes {flags.minutes:g}",
        "",
        "# the same as",
    ]
    for model in MODELS:
        words = ["train", model, "--data", flags.data, "--minutes", f"{flags.minutes:g}"]
        words += ["--seed", str(flags.seed), "--runs", str(flags.runs)]
        commands.append(shlex.join(["triptych", *words]))
        say(f"$ {commands[-1]}")
        code, run = run_apart(words)
        if code:
            return {"exit": code, "runs": [str(path) for path in runs]}
        runs.append(run)
    from triptych.evaluation.evaluate import evaluate_run
    from triptych.report.html import write_report

    for run in runs:
        commands.append(f"triptych evaluate {run} --samples {flags.samples}")
        say(f"$ {commands[-1]}")
        scored = evaluate_run(run, flags.samples, progress=throttled())
        print_scores(scored.scores, run.name)
        print_classes(scored)
    commands.append(shlex.join(["triptych", "report", *map(str, runs), "--out", str(flags.out)]))
    out = write_report(runs, flags.out, commands=commands)
    say(f"done in {(time.monotonic() - began) / 60:.1f} minutes; open {out} in a browser")
    print(out)
    if flags.open:
        webbrowser.open(out.resolve().as_uri())
    return {"runs": [str(path) for path in runs], "report": str(out)}
