"""Class labels as people write them: names, numbers, ranges of numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean, letters

SHOWN = 20  # names that a message lists at most


def class_numbers(text: str, names: Sequence[str]) -> list[int]:
    """Parse class names, numbers and ranges: "bag", "Ankle boot,3", "0-4".

    Names take precedence over numbers. Case and punctuation are ignored where that leaves one class. Where
    all names are whole numbers ("1", "2", "5"), numbers are names only. A name or number that does not exist
    raises UsageError with the nearest one.

    Args:
        text: Names, numbers and ranges low-high with commas between; a name may hold commas itself.
        names: What the classes are called, in the order of their numbers.

    Returns:
        Numbers in 0..len(names) - 1, in the order given; a class may occur twice.
    """
    parts = [part.strip() for part in text.split(",")]
    found: list[int] = []
    start = 0
    while start < len(parts):
        for stop in range(len(parts), start, -1):  # the longest name first: it may hold commas
            numbers = _called(", ".join(parts[start:stop]), names)
            if numbers is not None:
                break
        else:
            numbers, stop = _counted(parts[start], names), start + 1
        found += numbers
        start = stop
    return found


def labels_as_numbers(labels: object, names: Sequence[str]) -> object:
    """Convert labels given from Python, where they contain class names.

    Args:
        labels: A text, or a sequence with texts in it; anything else is returned as it is.
        names: What the classes are called, in the order of their numbers.

    Returns:
        Class numbers.
    """
    if isinstance(labels, str):
        return class_numbers(labels, names)
    if isinstance(labels, list | tuple):
        each = [class_numbers(one, names) if isinstance(one, str) else [one] for one in labels]
        return [number for numbers in each for number in numbers]
    return labels


def _called(part: str, names: Sequence[str]) -> list[int] | None:
    """The class of that name, as a list of one; None where no class, or more than one, is called so."""
    if not part:
        return None
    forms: list[Callable[[str], str]] = [str, _folded]
    if "," not in part and any(sign.isalpha() for sign in part):  # "3-5" is a range, never the class "35"
        forms.append(letters)
    for form in forms:
        wanted = form(part)
        alike = [number for number, name in enumerate(names) if form(name) == wanted]
        if len(alike) == 1:
            return alike
    return None


def _folded(name: str) -> str:
    return re.sub(r"\s*,\s*", ", ", unicodedata.normalize("NFC", name).casefold().strip())


def _counted(part: str, names: Sequence[str]) -> list[int]:
    """The classes of a number or of a range of numbers. Raises UsageError."""
    matched = re.fullmatch(r"(\d+)\s*(?:-\s*(\d+))?", part)
    if matched is None:
        raise UsageError(f"no class is called {part!r}.{did_you_mean(part, names)} {_there_are(names)}")
    low = int(matched[1])
    numbers = range(low, int(matched[2] or low) + 1)
    if not numbers:
        raise UsageError(f"{part!r} names no class: ranges run upwards, as in 0-9")
    by_name = {int(name): k for k, name in enumerate(names) if re.fullmatch(r"[0-9]{1,18}", name)}
    known = by_name if len(by_name) == len(names) else {k: k for k in range(len(names))}
    if numbers[-1] not in known or low not in known:
        wrong = low if low not in known else numbers[-1]
        raise UsageError(f"there is no class {wrong}. {_there_are(names)}")
    return [known[number] for number in numbers if number in known]


def _there_are(names: Sequence[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    numbered = "" if all(name.isdigit() for name in names) else f" (or by number, 0-{len(names) - 1})"
    return f"There are: {', '.join(names[:SHOWN])}{rest}{numbered}"
