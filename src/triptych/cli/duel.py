"""`triptych duel`: equal budgets, several seeds, one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from triptych.cli._flags import JsonFlag, Positional
from triptych.cli._registry import Result, say

if TYPE_CHECKING:
    from triptych.comparison.duel import Duel


@dataclass(kw_only=True)
class DuelFlags(JsonFlag):
    """Train models on the same images with equal budgets, score them alike, and report which is better."""

    models: Annotated[tuple[str, ...], Positional("MODEL [MODEL ...]")]
    """Names of models; one with flags of train is quoted: "dcgan --preset paper"."""
    data: str = "digits"
    """Source of the images: digits (needs no download), mnist, folder:PATH, ..."""
    size: int | None = None
    """Side of the images in pixels; left out: what suits the source."""
    minutes: float | None = None
    """Budget of each training: minutes of training time (5 if no budget is given), ..."""
    images: int | None = None
    """... or training images seen, ..."""
    flops: float | None = None
    """... or floating-point operations."""
    repeats: int = 1
    """Trainings of each model, each from another seed; at least 3 to decide which model is better."""
    seed: int = 0
    """The first of these seeds."""
    samples: int = 1000
    """Samples drawn at each evaluation."""
    features: str = "auto"
    """Feature extractor of the scores: see triptych evaluate --help."""
    runs: Path = Path("runs")
    """Directory in which the duel is made."""
    name: str | None = None
    """Name of the duel after its number."""
    out: Path | None = None
    """The report; left out: report.html in the duel's directory."""


def duel(flags: DuelFlags) -> Result:
    """Run a duel and write its report.

    Args:
        flags: As typed.

    Returns:
        What --json prints.

    Raises:
        UsageError: For two budgets or fewer than one repeat.
    """
    from triptych.comparison import duel as duels
    from triptych.core.errors import UsageError

    budgets = {unit: getattr(flags, unit) for unit in duels.BUDGETS if getattr(flags, unit) is not None}
    if len(budgets) > 1:
        raise UsageError(f"give one budget, not {' and '.join('--' + unit for unit in budgets)}")
    if flags.repeats < 1:
        raise UsageError(f"--repeats must be at least 1, got {flags.repeats}")
    budget, amount = next(iter(budgets.items()), ("minutes", 5.0))
    created = duels.create_duel(
        flags.models, flags.data, budget=budget, amount=amount, size=flags.size,
        seeds=range(flags.seed, flags.seed + flags.repeats), samples=flags.samples,
        features=flags.features, home=flags.runs, name=flags.name,
    )  # fmt: skip
    return run_and_report(created, flags.out, created.model_files())


def run_and_report(created: Duel, out: Path | None, files: Sequence[str]) -> Result:
    """Do what a duel has not done yet, and write its report.

    Args:
        created: The duel, new or stopped.
        out: The report; None: report.html in the duel's directory.
        files: The .py files that the user named: only these are executed.

    Returns:
        The duel's results and the report's path.
    """
    from triptych.comparison import duel as duels
    from triptych.report.duel_html import write_duel

    if code := duels.run_duel(created, say, files):
        return {"exit": code, **duels.as_dict(created)}
    report = write_duel(created, out or created.path / "report.html")
    say(f"open {report} in a browser")
    print(created.path)
    return {**duels.as_dict(created), "report": str(report)}
