"""Files that are to be written at the end of long work: whether they can be is asked before it."""

from __future__ import annotations

import os
from pathlib import Path

from triptych.core.errors import UsageError


def fit_to_write(path: Path, flag: str) -> None:
    """Raises UsageError where a file could not be written, found out by trying; leaves nothing behind.

    flag: what the path was given by, "--out". Folders that are missing are no hindrance: they get made.
    """
    above = path.absolute().parents
    home = next(folder for folder in above if os.access(folder, os.F_OK))  # the root at the latest
    if not home.is_dir():
        raise UsageError(f"{flag} {path} cannot be written: {home} is a file, and a folder is needed there")
    tried = home / f".triptych-{os.getpid()}.partial"
    try:
        tried.touch()
        tried.unlink()
    except OSError as error:
        raise UsageError(
            f"{flag} {path} cannot be written: the folder {home} takes no file ({error.strerror}), name one "
            "in another folder"
        ) from error
    if path.is_dir():
        raise UsageError(f"{flag} {path} is a folder: name a file in it")
