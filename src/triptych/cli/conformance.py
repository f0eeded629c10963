"""`triptych conformance`: the metrics against known answers."""

from __future__ import annotations

from dataclasses import dataclass

from triptych.cli._flags import JsonFlag
from triptych.cli._registry import Result


@dataclass(kw_only=True)
class ConformanceFlags(JsonFlag):
    """Check this installation's metrics against closed-form answers and other libraries' results."""


def conformance(flags: ConformanceFlags) -> Result:
    """Run all conformance cases. Exit code 1 if one fails."""
    from triptych.metrics.conformance.printing import print_conformance
    from triptych.metrics.conformance.running import conformance as run_cases

    results = run_cases()
    print_conformance(results)
    return {**results.model_dump(mode="json"), "exit": 0 if results.passed else 1}
