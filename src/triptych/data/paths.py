"""Where published data sets are searched."""

from __future__ import annotations

import os
from pathlib import Path

from triptych.core.cache import cache_home


def search_paths() -> list[Path]:
    """Directories in which published data sets are searched, in order."""
    own = os.environ.get("TRIPTYCH_DATA")
    return ([Path(own)] if own else []) + [cache_home() / "sets"]
