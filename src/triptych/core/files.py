"""Files: writable targets, atomic text, JSON lines, locks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from triptych.core.errors import RunError, UsageError


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


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSONL file; none if it is missing; a half-written last line is left out."""
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
                    f"{path} line {number + 1} is damaged ({error}): take that line out, the others are whole"
                ) from error
    return records


def drop_half_line(file: BinaryIO) -> None:
    """Cut a file, opened "a+b", back to its last whole line, so that nothing is glued to a rest."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - 1, 0))
    if file.read(1) in (b"", b"\n"):
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


@contextmanager
def locked(path: Path, wait: bool) -> Iterator[bool]:
    """Hold an advisory lock on a file; yields whether it is held. It is freed even by SIGKILL."""
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
