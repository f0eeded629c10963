"""`triptych conformance`: the metrics against known answers."""

from __future__ import annotations

from typing import Any

from triptych.cli._flags import flags_of, parse
from triptych.cli._registry import verb


@verb("conformance", "check the metrics against known answers and other libraries")
def conformance(words: list[str]) -> dict[str, Any]:
    """Run the conformance kit."""
    parse(words, flags_of(), "conformance", "Check this installation's metrics against known answers.")
    from triptych.metrics.conformance.printing import print_conformance
    from triptych.metrics.conformance.running import conformance

    found = conformance()
    print_conformance(found)
    return {**found.model_dump(mode="json"), "exit": 0 if found.passed else 1}
