"""Where things that can be made again are kept: prepared pixels, downloads, trained judges."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """$TRIPTYCH_CACHE, else $XDG_CACHE_HOME/triptych, else ~/.cache/triptych; made when missing."""
    if own := os.environ.get("TRIPTYCH_CACHE"):
        home = Path(own)
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triptych"
    home.mkdir(parents=True, exist_ok=True)
    return home
