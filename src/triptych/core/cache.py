"""Where things that can be made again are kept: prepared pixels, downloads, trained judges."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """$TRIPTYCH_CACHE, else $XDG_CACHE_HOME/triptych, else ~/.cache/triptych; it may not exist yet."""
    if own := os.environ.get("TRIPTYCH_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triptych"
