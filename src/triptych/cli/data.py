"""`triptych data inspect`: what a source contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from triptych.cli._flags import JsonFlag, Positional, parse
from triptych.cli._registry import Result

USAGE = "triptych data inspect SOURCE"


@dataclass(kw_only=True)
class DataInspectFlags(JsonFlag):
    """Say what a source contains, which of its files are broken, and how it would be prepared."""

    source: Annotated[str, Positional("SOURCE")]
    """digits, mnist, folder:PATH, ..."""
    size: int | None = None
    """Side of the prepared images in pixels; left out: what suits the source."""
    color: Literal["auto", "gray", "rgb"] = "auto"
    """Color mode; auto: what most of the images are."""


def data(words: list[str]) -> Result:
    """Inspect a source. Exit code 1 if a training would refuse the source.

    Args:
        words: What was typed after the verb.

    Returns:
        What --json prints.

    Raises:
        UsageError: If the first word is not "inspect".
    """
    from triptych.core.errors import UsageError
    from triptych.core.nearest import did_you_mean

    if not words or words[0] != "inspect":
        if words and words[0] in ("-h", "--help"):
            print(f"usage: {USAGE}\n{USAGE} --help lists the flags")
            return {}
        hint = did_you_mean(words[0], ("inspect",)) if words else ""
        raise UsageError(f"expected: {USAGE}.{hint}")
    flags = parse(words[1:], DataInspectFlags, "data inspect")
    from triptych.data.inspect import inspect

    inspection = inspect(flags.source, size=flags.size, color=flags.color)
    print("\n".join(inspection.rows()))
    return {**inspection.content(), "exit": 1 if inspection.plan[0].startswith("refused") else 0}
