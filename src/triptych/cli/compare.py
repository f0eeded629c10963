"""`triptych compare`: rank runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.cli._flags import flags_of, parse, positional
from triptych.cli._registry import verb


@verb("compare", "rank runs by their scores, as far as the intervals allow")
def compare(words: list[str]) -> dict[str, Any]:
    """Rank runs."""
    flags = parse(
        words,
        flags_of(
            paths=(positional(tuple[Path, ...]), ..., "Runs, or files that evaluate --json wrote."),
            metric=(str | None, None, "One score: FID, recall, ...; left out: all that every run has."),
            each=(bool, False, "Rank each run by itself, also those that differ by the seed alone."),
        ),
        "compare",
        "Rank runs by their newest scores. Runs that differ by the seed alone stand together.",
    )
    from triptych.cli import tables
    from triptych.comparison.ranking import compare as compare_paths

    found = compare_paths(flags.paths, flags.metric, flags.each)
    tables.print_comparison(found)
    return found.as_dict()
