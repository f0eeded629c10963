"""The command line. Sees everything, is seen by nothing.

Torch is imported by the verbs that need it, so that `triptych --help` answers at once.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence

from triptych._version import __version__
from triptych.cli import (
    check,
    compare,
    conformance,
    data,
    demo,
    duel,
    evaluate,
    report,
    resume,
    sample,
    steer,
    steer_directions,
    train,
)
from triptych.cli._registry import VERBS
from triptych.core.nearest import VERBS_ELSEWHERE, did_you_mean

__all__ = [
    "check",
    "compare",
    "conformance",
    "data",
    "demo",
    "duel",
    "evaluate",
    "main",
    "report",
    "resume",
    "sample",
    "steer",
    "steer_directions",
    "train",
]

ORDER = (
    "demo",
    "train",
    "resume",
    "duel",
    "sample",
    "steer",
    "evaluate",
    "check",
    "compare",
    "conformance",
    "report",
    "data",
)  # as --help names them


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path that the terminal cannot show must not end a verb
        sys.stdout.reconfigure(errors="backslashreplace")
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] == "--version":
        print(f"triptych {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name not in VERBS:
        hint = did_you_mean(name, ORDER, VERBS_ELSEWHERE)
        return complain(f"unknown verb {name!r}.{hint} There are: {', '.join(ORDER)}", 2)
    try:
        return run_verb(name, rest)
    except KeyboardInterrupt as stop:
        return complain(str(stop) or "stopped; nothing had been saved yet", 130)
    except BrokenPipeError:  # the reader of our output has gone: | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def run_verb(name: str, rest: list[str]) -> int:
    """Run a known verb and turn its errors into one sentence and an exit code."""
    from triptych.core.errors import UsageError

    as_json = "--json" in rest
    try:
        result = VERBS[name][0]([word for word in rest if word != "--json"])
    except UsageError as error:
        return complain(str(error), 2)
    except BrokenPipeError:  # an OSError, but nothing went wrong here
        raise
    except (ValueError, OSError) as error:
        if os.environ.get("TRIPTYCH_DEBUG"):
            raise
        return complain(in_words(error), 1)
    if as_json:
        print(json.dumps(result))
    return int(result.get("exit", 0))


def in_words(error: Exception) -> str:
    """An error's own sentence; one for the system's errors, which come with a number and a file."""
    if isinstance(error, FileExistsError) and error.filename:
        return f"cannot make the folder {error.filename}: there is a file of that name"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"cannot read or write {error.filename}: {error.strerror}"
    return str(error)


def complain(message: str, code: int) -> int:
    """Say what is wrong on standard error."""
    print(f"triptych: {message}", file=sys.stderr)
    return code


def overview() -> str:
    """What `triptych --help` prints."""
    lines = [f"  {name:<11} {VERBS[name][1]}" for name in ORDER]
    return "\n".join(
        [
            "triptych: GANs, VAEs and diffusion models under one protocol",
            "",
            "usage: triptych VERB ...       (triptych VERB --help says more)",
            "",
            *lines,
            "",
            "start with:  triptych demo",
            "exit codes:  0 done, 1 failed, 2 wrong usage, 130 interrupted with the state saved",
        ]
    )
