"""What a person wants to know once a training has ended: where its images are, and what next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from triptych.cli._registry import say


def newest_samples(run: Any) -> Path | None:
    """The newest sample grid of a run; None where none was drawn yet."""
    return max((run.path / "samples").glob("step-*.png"), default=None)


def next_commands(path: Path, family: str | None = None) -> list[str]:
    """The three commands that most people want next, fit to be pasted into a shell.

    Args:
        path: The run's directory.
        family: Path to the family's .py file, where it is one of the user's own: it must be named again.
    """
    own = ["--family", family] if family else []
    run = str(path)
    commands = [
        ["sample", run, "--seeds", "0-63", "--out", "grid.png", *own],
        ["evaluate", run, *own],
        ["report", run, "--out", "report.html"],
    ]
    return [shlex.join(["triptych", *words]) for words in commands]


def say_what_next(run: Any, family: str | None = None) -> dict[str, Any]:
    """Say where the newest samples are and which commands come next.

    Returns:
        The same for `--json`: "samples" (a path or None) and "next" (the commands).
    """
    samples, commands = newest_samples(run), next_commands(run.path, family)
    if samples is not None:
        say(f"samples: {samples}")
    say("next:\n" + "\n".join(f"  {command}" for command in commands))
    return {"samples": None if samples is None else str(samples), "next": commands}
