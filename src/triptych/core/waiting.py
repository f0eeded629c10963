"""How the idle threads of OpenMP wait: told to the library before torch is imported, as it asks only once."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

USERS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # whoever sets one of these has chosen
BRIEF = {"GOMP_SPINCOUNT": "10000"}  # turns: a tenth of a millisecond or a few, where the default is 300,000


def wait_briefly(environ: MutableMapping[str, str] = os.environ) -> bool:
    """Let idle threads spin briefly, then sleep, in this process and those it starts; returns whether it did.

    Between two parallel stretches of a step a thread has nothing to do. By default GNU's OpenMP, which
    PyTorch's wheels for Linux bring along, lets it spin for milliseconds, and where another process needs
    the core, the spinning thread keeps it from the one that still works: a busy neighbor then costs not
    its share but most of the pace. Threads that sleep at once (OMP_WAIT_POLICY=passive) are slower to wake
    on a quiet machine (`benchmarks/contention.py`). Other OpenMP libraries do not read the variable. Nothing
    is done where the user has chosen (`OMP_WAIT_POLICY`, `GOMP_SPINCOUNT`, `KMP_BLOCKTIME`), nor where torch
    is imported already: a program of the user's own sets the variable before its first import.
    """
    if "torch" in sys.modules or any(name in environ for name in USERS):
        return False
    environ.update(BRIEF)
    return True
