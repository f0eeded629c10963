"""Settings for minutes rather than hours, and trainings as processes of their own.

A family's own defaults are the textbook's where there is one; with a budget of minutes many small steps
do better. Every training is started with the very command that reports print, in its own process, so
that its memory is measured alone and the result can be had again by typing it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RECIPES = {
    "dcgan": ["--batch", "64", "--rate", "1e-3", "--instance-noise", "0.3"],
    "wgan": ["--batch", "64", "--rate", "1e-3", "--generator-every", "2"],
    "stylegan": ["--mixing", "0"],
    "vae": [],
    "diffusion": ["--batch", "64"],
}
TOLD = {family: ["--conditional"] for family in ("dcgan", "wgan", "stylegan")}  # where pictures have labels


def recipe(family: str, labelled: bool) -> list[str]:
    """The flags for a few minutes of training; none for a family without a recipe."""
    return [*RECIPES.get(family, []), *(TOLD.get(family, []) if labelled else [])]


def run_apart(words: list[str]) -> tuple[int, Path]:
    """Run a verb that makes a run in a process of its own: its exit code and the run's path.

    On Ctrl-C the terminal tells the training too; it is waited for while it saves.
    """
    command = [sys.executable, "-m", "triptych", *words, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = process.stdout.read().strip().splitlines()
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
    if code:
        return code, Path()
    return 0, Path(json.loads(lines[-1])["run"])
