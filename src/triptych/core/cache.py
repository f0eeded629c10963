"""The cache directory, and downloads into it."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from pathlib import Path


def cache_home() -> Path:
    """$TRIPTYCH_CACHE, else $XDG_CACHE_HOME/triptych, else ~/.cache/triptych; it may not exist yet."""
    if own := os.environ.get("TRIPTYCH_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triptych"


def fetch(url: str, target: Path, opener: Callable[..., object] = urllib.request.urlopen) -> None:
    """Download a file with a progress bar.

    A failure raises OSError (URLError is one) or http.client.HTTPException.

    Args:
        url: What to download.
        target: Where to write it; by convention `.NAME.partial`, which the caller checks and renames.
        opener: Opens a URL, as `urllib.request.urlopen` does.
    """
    from rich.progress import wrap_file

    name = target.name.removeprefix(".").removesuffix(".partial")
    with opener(url, timeout=20) as response:  # type: ignore[attr-defined]
        total = int(response.headers.get("Content-Length") or 0)
        with target.open("wb") as file, wrap_file(response, total, description=name) as stream:
            while chunk := stream.read(1 << 20):
                file.write(chunk)
