"""What a training ends with at the terminal: where its samples are, and which commands come next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.cli._registry import Result, say

if TYPE_CHECKING:
    from triptych.runs.run import Run


def newest_samples(run: Run) -> Path | None:
    """The newest sample grid of a run; None where none was drawn yet."""
    return max((run.path / "samples").glob("step-*.png"), default=None)


def next_commands(path: Path, model_file: str | None = None, encodes: str | None = None) -> list[str]:
    """The three commands that most people want next, quoted for a shell.

    Args:
        path: The run's directory.
        model_file: The user's own .py file with the model's class, if there is one: it must be named again.
        encodes: Of an autoencoder, whose samples are noise, the data that a second stage is trained on.

    Returns:
        Commands that sample, evaluate and report; of an autoencoder, that evaluate, build on it, and report.
    """
    own = ["--model-file", model_file] if model_file else []
    run = str(path)
    if encodes is not None:
        second_stage = ["train", "latent_diffusion", "--first-stage", run, "--data", encodes]
        commands = [["evaluate", run, *own], second_stage, ["report", run, "--out", "report.html"]]
        return [shlex.join(["triptych", *words]) for words in commands]
    commands = [
        ["sample", run, "--seeds", "0-63", "--out", "grid.png", *own],
        ["evaluate", run, *own],
        ["report", run, "--out", "report.html"],
    ]
    return [shlex.join(["triptych", *words]) for words in commands]


def print_next_commands(run: Run, model_file: str | None = None) -> Result:
    """Print where the newest samples are and which commands come next.

    Args:
        run: The run.
        model_file: As in `next_commands`.

    Returns:
        The same for `--json`: "samples" (a path or None) and "next" (the commands).
    """
    from triptych.models.registry import load_model_class

    autoencoder = model_file is None and load_model_class(run.card.model).reconstructs
    encodes = run.card.data.source if autoencoder else None
    samples, commands = newest_samples(run), next_commands(run.path, model_file, encodes)
    if samples is not None:
        say(f"samples: {samples}")
    say("next:\n" + "\n".join(f"  {command}" for command in commands))
    return {"samples": None if samples is None else str(samples), "next": commands}
