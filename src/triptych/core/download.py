"""Fetching a published file, with a progress bar."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path


def fetch(url: str, target: Path, opener: Callable[..., object] = urllib.request.urlopen) -> None:
    """Write what lies at `url` to `target`, `.NAME.partial` by custom: the caller checks it and renames it.

    Raises OSError (URLError is one) or http.client.HTTPException when that fails.
    """
    from rich.progress import wrap_file

    shown = target.name.removeprefix(".").removesuffix(".partial")
    with opener(url, timeout=20) as answer:  # type: ignore[attr-defined]
        total = int(answer.headers.get("Content-Length") or 0)
        with target.open("wb") as file, wrap_file(answer, total, description=shown) as stream:
            while chunk := stream.read(1 << 20):
                file.write(chunk)
