"""The verbs: a name, what it does, and the function that does it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

Verb = Callable[[list[str]], dict[str, Any]]  # takes the words after its name, returns what --json prints

VERBS: dict[str, tuple[Verb, str]] = {}


def verb(name: str, summary: str) -> Callable[[Verb], Verb]:
    """Make a function a verb."""

    def register(function: Verb) -> Verb:
        VERBS[name] = (function, summary)
        return function

    return register


def say(message: str) -> None:
    """Tell the person at the terminal; standard output is kept for results."""
    print(message, file=sys.stderr, flush=True)
