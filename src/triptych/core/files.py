"""Text files: writable targets, JSON lines, locks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from triptych.core.atomic import atomic_write
from triptych.core.errors import RunError, UsageError


def fit_to_write(path: Path, flag: str) -> None:
    """Check by a trial that a file can be written; nothing is left behind.

    Args:
        path: The file. Missing folders are no obstacle: they will be made.
        flag: The flag that the path was given by: "--out".

    Raises:
        UsageError: If it cannot be written.
    """
    above = path.absolute().parents
    home = next(folder for folder in above if os.access(folder, os.F_OK))  # the root at the latest
    if not home.is_dir():
        raise UsageError(f"{flag} {path} cannot be written: {home} is a file, and a folder is needed there")
    trial = home / f".triptych-{os.getpid()}.partial"
    try:
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise UsageError(
            f"{flag} {path} cannot be written: the folder {home} takes no file ({error.strerror}), name one "
            "in another folder"
        ) from error
    if path.is_dir():
        raise UsageError(f"{flag} {path} is a folder: name a file in it")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a JSONL file; a half-written last line is left out.

    Args:
        path: The file; a missing one has no lines.

    Returns:
        One dictionary per line.

    Raises:
        RunError: If another line is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    records = []
    for number, line in enumerate(lines):
        try:
            if line:
                records.append(json.loads(line))
        except ValueError as error:
            if number < len(lines) - 1:  # it was ended, so it was written whole
                raise RunError(
                    f"{path} line {number + 1} is damaged ({error}): delete that line, the others are intact"
                ) from error
    return records


def drop_half_line(file: BinaryIO) -> None:
    """Truncate a file, opened "a+b", after its last complete line, so that the next one starts a line."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - 1, 0))
    if file.read(1) in (b"", b"\n"):
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Args:
        path: The file; one that is there is replaced.
        text: Its new content.
    """
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def locked(path: Path, wait: bool) -> Iterator[bool]:
    """Hold an advisory lock on a file; it is released even by SIGKILL.

    Args:
        path: The file; it is made if it is missing.
        wait: Whether to wait until the lock is free.

    Yields:
        Whether the lock is held.
    """
    with path.open("ab") as file:
        yield _lock(file, wait)


def _lock(file: BinaryIO, wait: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: an exclusive open has to do
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
