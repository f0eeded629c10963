"""`triptych data inspect`: what a source holds."""

from __future__ import annotations

from typing import Any, Literal

from triptych.cli._flags import flags_of, parse, positional
from triptych.cli._registry import verb
from triptych.cli.sample import USAGE_OF_DATA


@verb("data", "data inspect SOURCE: what is in it, what is broken, what will be done")
def data(words: list[str]) -> dict[str, Any]:
    """Look at a source."""
    from triptych.core.errors import UsageError
    from triptych.core.nearest import did_you_mean

    if not words or words[0] != "inspect":
        hint = did_you_mean(words[0], ("inspect",)) if words else ""
        raise UsageError(f"expected: triptych data inspect SOURCE.{hint}" if hint else USAGE_OF_DATA)
    flags = parse(
        words[1:],
        flags_of(
            source=(positional(str), ..., "digits, mnist, folder:PATH, ..."),
            size=(int | None, None, "Side of the images in pixels; left out: what suits the source."),
            color=(Literal["auto", "gray", "rgb"], "auto", "Color mode, as triptych train takes it."),
        ),
        "data inspect",
        "Say what a source holds, what is broken in it and what will be done with it.",
    )
    from triptych.data.inspect import inspect

    found = inspect(flags.source, size=flags.size, color=flags.color)
    print("\n".join(found.rows()))
    return {**found.content(), "exit": 1 if found.plan[0].startswith("refused") else 0}
