"""Where published data sets are looked for."""

from __future__ import annotations

import os
from pathlib import Path

from triptych.core.cache import cache_home


def places() -> list[Path]:
    """Folders in which named sets are looked for, in order."""
    own = os.environ.get("TRIPTYCH_DATA")
    return ([Path(own)] if own else []) + [cache_home() / "sets"]
