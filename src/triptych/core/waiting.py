"""How the idle threads of OpenMP wait: told to the library before torch is imported, as it asks only once."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

USERS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # whoever sets one of these has chosen
POLICY = "passive"


def wait_passively(environ: MutableMapping[str, str] = os.environ) -> bool:
    """Let idle threads sleep instead of spin, in this process and those it starts; returns whether it did.

    Between two parallel stretches of a step a thread has nothing to do. By default it spins for some
    milliseconds, and where another process needs the core, it takes it from the thread that still works:
    one busy neighbor then costs not its share but most of the pace (`benchmarks/contention.py`). Nothing is
    done where the user has chosen (`OMP_WAIT_POLICY`, `GOMP_SPINCOUNT`, `KMP_BLOCKTIME`), nor where torch is
    imported already: a program of the user's own sets OMP_WAIT_POLICY=passive before its first import.
    """
    if "torch" in sys.modules or any(name in environ for name in USERS):
        return False
    environ["OMP_WAIT_POLICY"] = POLICY
    return True
