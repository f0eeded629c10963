"""Names of directories that a person can read and every file system takes."""

from __future__ import annotations

import re
import unicodedata

MOST_BYTES = 200  # in UTF-8; file systems take 255, and names grow: a number before, ".partial" behind
JOINERS = "\u200c\u200d"  # zero-width, but some scripts are not readable without them
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # on Windows


def readable_name(text: str, marks: str = "._-", most_bytes: int = MOST_BYTES, empty: str = "run") -> str:
    """Turn a text into a file name: letters and digits of any script and `marks` stay, in lower case.

    Everything else (separators, spaces, control and private characters, lone surrogates) becomes "-". The
    result is in composed form (NFC), so that it is the same name on every file system, has no dot or dash at
    either end, and is no name that Windows reserves.

    Args:
        text: Any text.
        marks: ASCII characters that stay beside letters and digits.
        most_bytes: Largest number of bytes of the result in UTF-8; longer ones are cut between characters.
        empty: The result where nothing is left.

    Returns:
        The file name.
    """
    made: list[str] = []
    for sign in unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower()):
        kept = unicodedata.category(sign)[0] in "LNM" or sign in marks or (made and sign in JOINERS)
        made.append(sign if kept else "-")
    name = re.sub("-{2,}", "-", "".join(made)).strip("-." + JOINERS)
    name = name.encode("utf-8")[:most_bytes].decode("utf-8", "ignore").rstrip("-." + JOINERS)
    if RESERVED.fullmatch(name):
        name = f"{empty}-{name}"
    return name or empty
