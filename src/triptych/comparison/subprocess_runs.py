"""Trainings as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def run_apart(arguments: list[str]) -> tuple[int, Path]:
    """Run a verb that makes a run, in a process of its own.

    On Ctrl-C the terminal interrupts the training too; it is waited for while it saves.

    Args:
        arguments: The verb and its arguments.

    Returns:
        The exit code, and the run's path where it is 0.

    Raises:
        KeyboardInterrupt: On Ctrl-C, once the training has saved.
    """
    command = [sys.executable, "-m", "triptych", *arguments, "--json"]
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
