"""Files and folders that are written whole or not at all; checkpoint folders with SHA-256 checksums."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name; it gets its own name if nothing is raised, and else is deleted.

    Args:
        path: The file; one that is there is replaced.

    Yields:
        The temporary name, in the same folder.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name; it gets its own name if nothing is raised, and else is deleted.

    Args:
        path: The folder. One that is there is moved out of the way by a rename, and moved back if the second
            rename fails.

    Yields:
        The temporary name, in the same folder; it does not exist yet.
    """
    home = path.parent
    partial, former = home / f".partial-{path.name}-{os.getpid()}", home / f".former-{path.name}"
    home.mkdir(exist_ok=True)
    try:
        yield partial
        shutil.rmtree(former, ignore_errors=True)
        if path.exists():
            path.rename(former)
        partial.rename(path)
        sync_directory(home)
    finally:
        put_back(former, path)
        shutil.rmtree(partial, ignore_errors=True)


def put_back(former: Path, path: Path) -> None:
    """Finish a replacement that stopped between its two renames, and delete what was replaced.

    Args:
        former: Where the replaced folder was moved to.
        path: Its own name: if nothing is there, the folder is moved back.
    """
    if former.exists() and not path.exists():
        former.rename(path)
    shutil.rmtree(former, ignore_errors=True)


def write_checksummed_dir(folder: Path, files: Mapping[str, Tensors], meta: Mapping[str, Any]) -> None:
    """Write tensors and meta into a new folder, with a manifest of SHA-256 checksums, all synced to disk.

    Args:
        folder: The folder; it must not exist.
        files: File name without suffix -> tensors by name, as safetensors.
        meta: What meta.json says.
    """
    from safetensors.torch import save_file

    folder.mkdir()
    meta_file = folder / "meta.json"
    meta_file.write_text(json.dumps(dict(meta), indent=2) + "\n", encoding="utf-8")
    for name, tensors in files.items():
        stored = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        save_file(stored, folder / f"{name}.safetensors")
        with suppress(OSError):  # safetensors lets the owner alone read: others may as far as the umask says
            (folder / f"{name}.safetensors").chmod(meta_file.stat().st_mode & 0o777)
    sums = {file.name: sha256(file) for file in sorted(folder.iterdir())}
    (folder / "manifest.json").write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
    for file in folder.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def write_checkpoint_dir(path: Path, files: Mapping[str, Tensors], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint folder atomically; see `write_checksummed_dir` and `atomic_dir`.

    Args:
        path: The folder; one that is there is replaced.
        files: File name without suffix -> tensors by name.
        meta: What meta.json says.
    """
    with atomic_dir(path) as partial:
        write_checksummed_dir(partial, files, meta)


def read_checkpoint_dir(
    folder: Path, only: tuple[str, ...] | None
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read a checkpoint folder and verify its checksums.

    Args:
        folder: The folder.
        only: The files to read, by name without suffix; None: all.

    Returns:
        File name without suffix -> tensors by name, and meta.json.

    Raises:
        ValueError: If a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    sums = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    tensors = {}
    for name, expected in sums.items():
        stem, suffix = Path(name).stem, Path(name).suffix
        if suffix == ".safetensors" and only is not None and stem not in only:
            continue
        if not (folder / name).is_file():
            raise ValueError(f"{name} is missing")
        if sha256(folder / name) != expected:
            raise ValueError(f"{name} does not match its checksum")
        if suffix == ".safetensors":
            try:
                tensors[stem] = load_file(folder / name)
            except SafetensorError as error:
                raise ValueError(f"{name} is not a safetensors file ({error})") from error
    return tensors, json.loads((folder / "meta.json").read_text(encoding="utf-8"))


def steps_in(home: Path) -> list[int]:
    """The N of every folder step-N in `home`, ascending."""
    names = (folder.name for folder in home.glob("step-*"))
    return sorted(int(m[1]) for name in names if (m := re.fullmatch(r"step-(\d+)", name)))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_directory(path: Path) -> None:
    """Make a rename in `path` survive a power cut, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
