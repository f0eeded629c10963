"""`triptych compare`: rank runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from triptych.cli._flags import JsonFlag, Positional
from triptych.cli._registry import Result


@dataclass(kw_only=True)
class CompareFlags(JsonFlag):
    """Rank runs by their newest scores. Runs that differ only in their seed are ranked as one contestant."""

    paths: Annotated[tuple[Path, ...], Positional("RUN [RUN ...]")]
    """Runs that have been evaluated, or files with the output of evaluate --json."""
    metric: str | None = None
    """Rank by this score only: FID, recall, ...; left out: by every score that all runs have."""
    each_run: bool = False
    """Rank every run by itself, including runs that differ only in their seed."""


def compare(flags: CompareFlags) -> Result:
    """Rank runs."""
    from triptych.cli import tables
    from triptych.comparison.ranking import compare as compare_paths

    comparison = compare_paths(flags.paths, flags.metric, flags.each_run)
    tables.print_comparison(comparison)
    return comparison.as_dict()
