"""Mistyped flags and choices, answered with the nearest one before tyro parses them."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Literal, get_args, get_origin

from triptych.core.errors import UsageError
from triptych.core.nearest import FLAGS_ELSEWHERE, nearest


def check_words(words: list[str], flags: type, prog: str) -> None:
    """Refuse unknown flags, and values that are not among a flag's choices.

    Args:
        words: As typed, after the verb.
        flags: The dataclass that they will be read into.
        prog: The verb, as the error calls it.

    Raises:
        UsageError: With the nearest flag or choice.
    """
    import tyro

    known: dict[str, tuple[str, ...] | list[str]] = {}
    for field in dataclasses.fields(flags):
        metadata = getattr(field.type, "__metadata__", ())
        if tyro.conf.Positional in metadata:
            continue
        renamed = [name for part in metadata if isinstance(name := getattr(part, "name", None), str)]
        name = next(iter(renamed), field.name).replace("_", "-")
        known[name] = choices_of(field.type)
        if field.default in (True, False) and tyro.conf.FlagCreatePairsOff not in metadata:
            known[f"no-{name}"] = ()
    for k, word in enumerate(words):
        if word == "--":
            return
        if not re.match(r"--?[A-Za-z]", word) or word in ("-h", "--help"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("_", "-")
        if not word.startswith("--") or name not in known:
            near = nearest(name, known, FLAGS_ELSEWHERE)
            hint = f" Did you mean --{near}?" if near else ""
            raise UsageError(f"{prog} has no flag {word}.{hint} All of them: triptych {prog} --help")
        _check_values(name, [value] if equals else _until_next(words[k + 1 :]), known[name])


def _until_next(words: list[str]) -> list[str]:
    """The words before the next flag."""
    stop = next((k for k, word in enumerate(words) if word.startswith("--")), len(words))
    return words[:stop]


def _check_values(flag: str, values: list[str], choices: tuple[str, ...] | list[str]) -> None:
    """choices: a list where the flag takes several words, a tuple where it takes one."""
    for value in values if isinstance(choices, list) else values[:1]:
        if choices and value not in choices:
            listed = [choice for choice in dict.fromkeys(choices) if choice != "None"]
            near = nearest(value, listed)
            hint = f" Did you mean {near}?" if near else ""
            raise UsageError(f"--{flag} has no {value!r}.{hint} There are: {', '.join(listed)}")


def choices_of(annotation: Any) -> tuple[str, ...] | list[str]:
    """The words that a type lets through, in a list where it takes several of them; () where any may do."""
    if hasattr(annotation, "__metadata__"):
        return choices_of(annotation.__origin__)
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    parts = get_args(annotation)
    if get_origin(annotation) is tuple:
        return list(choices_of(parts[0])) if len(parts) == 2 and parts[1] is ... else ()
    if parts and get_origin(annotation) not in (list, dict, set):  # a union of choices, or None
        choices = [("None",) if part is type(None) else choices_of(part) for part in parts]
        if all(choices):
            joined = [word for words in choices for word in words]
            return joined if any(isinstance(words, list) for words in choices) else tuple(joined)
    return ()
