"""Folders of tensors and JSON, each file with its SHA-256: there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]


def write_sealed(folder: Path, files: Mapping[str, Tensors], meta: Mapping[str, Any]) -> None:
    """Write tensors and meta into a new folder, with a manifest of SHA-256 sums, all synced."""
    from safetensors.torch import save_file

    folder.mkdir()
    plain = folder / "meta.json"
    plain.write_text(json.dumps(dict(meta), indent=2) + "\n", encoding="utf-8")
    for name, tensors in files.items():
        whole = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        save_file(whole, folder / f"{name}.safetensors")
        with suppress(OSError):  # safetensors lets the owner alone read: others may as far as the umask says
            (folder / f"{name}.safetensors").chmod(plain.stat().st_mode & 0o777)
    sums = {file.name: sha256(file) for file in sorted(folder.iterdir())}
    (folder / "manifest.json").write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
    for file in folder.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def write_checkpoint_dir(final: Path, files: Mapping[str, Tensors], meta: Mapping[str, Any]) -> None:
    """`write_sealed` under a temporary name, then rename: `final` is there whole or not at all.

    One that was there before is moved out of the way by a rename too, and back where the second fails.
    """
    home = final.parent
    partial = home / f".partial-{final.name}-{os.getpid()}"
    former = home / f".former-{final.name}"
    home.mkdir(exist_ok=True)
    try:
        write_sealed(partial, files, meta)
        shutil.rmtree(former, ignore_errors=True)
        if final.exists():
            final.rename(former)
        partial.rename(final)
        sync_directory(home)
    finally:
        put_back(former, final)
        shutil.rmtree(partial, ignore_errors=True)


def put_back(former: Path, final: Path) -> None:
    """Undo a replacement that broke off between its two renames; forget what was replaced for good."""
    if former.exists() and not final.exists():
        former.rename(final)
    shutil.rmtree(former, ignore_errors=True)


def steps_in(home: Path) -> list[int]:
    """N of every folder step-N in `home`, in order."""
    names = (folder.name for folder in home.glob("step-*"))
    return sorted(int(m[1]) for name in names if (m := re.fullmatch(r"step-(\d+)", name)))


def read_checkpoint_dir(
    folder: Path, only: tuple[str, ...] | None
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read what `write_sealed` wrote, checking every sum. Raises ValueError on the first that differs."""
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
