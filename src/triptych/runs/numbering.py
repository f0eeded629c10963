"""Numbered directories: the next one of runs and duels."""

from __future__ import annotations

import re
from pathlib import Path

from triptych.core.errors import RunError
from triptych.core.filenames import readable_name
from triptych.core.files import locked


def numbered(home: Path, name: str) -> Path:
    """Make the next numbered directory: home/0007-name.

    Args:
        home: The folder it is made in, made too where it is missing.
        name: What it is called after its number; characters that no file system takes are replaced.

    Returns:
        Its path.

    Raises:
        RunError: If it cannot be made.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / ".lock", wait=True):  # two processes at once get two numbers
            numbers = [int(m[1]) for p in home.iterdir() if (m := re.match(r"(\d+)-", p.name))]
            path = home / f"{max(numbers, default=0) + 1:04d}-{readable_name(name)}"
            path.mkdir()
    except OSError as error:
        raise RunError(
            f"cannot make a run under {home}: {error.strerror or error}. Choose another --runs."
        ) from error
    return path
