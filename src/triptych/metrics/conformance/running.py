"""Run the conformance kit."""

from __future__ import annotations

import platform

import numpy as np
import scipy
import torch

from triptych._version import __version__
from triptych.core.threads import one_thread
from triptych.metrics.conformance.peers import agreements
from triptych.metrics.conformance.records import Conformance
from triptych.metrics.conformance.vectors import checks


@one_thread()
def conformance() -> Conformance:
    """Compare this installation with known answers, and with other libraries where they are installed.

    Takes seconds; nothing is downloaded. `Conformance.passed` is the verdict.
    """
    versions = {
        "triptych": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "torch": torch.__version__,
    }
    return Conformance(versions=versions, checks=tuple(checks()), agreements=tuple(agreements()))
