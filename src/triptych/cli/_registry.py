"""What a verb is, and where it prints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from triptych.cli._flags import FlagsT, parse

Result = dict[str, Any]  # what --json prints; "exit": an exit code other than 0


@dataclass(frozen=True)
class Verb:
    """A command of `triptych`."""

    flags: type[Any]
    """Dataclass of its flags; its docstring is the description in --help."""
    run: Callable[[list[str]], Result]
    """Takes the words after the verb."""
    summary: str
    """One line for `triptych --help`."""


def verb(name: str, flags: type[FlagsT], function: Callable[[FlagsT], Result], summary: str) -> Verb:
    """A verb whose flags are always the same.

    Args:
        name: As typed; may be of two words.
        flags: Dataclass of its flags.
        function: What it does, given its flags.
        summary: One line for `triptych --help`.

    Returns:
        The verb, which reads its flags by itself.
    """
    return Verb(flags, lambda words: function(parse(words, flags, name)), summary)


def say(message: str) -> None:
    """Print a message for the person at the terminal; standard output is kept for results."""
    print(message, file=sys.stderr, flush=True)
