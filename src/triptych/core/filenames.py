"""Names of directories that a person can read and every file system takes."""

from __future__ import annotations

import re
import unicodedata

MOST_BYTES = 200  # in UTF-8; file systems take 255, and names grow: a number before, ".partial" behind
JOINERS = "\u200c\u200d"  # zero-width, but some scripts are not readable without them
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # on Windows


def readable_name(text: str, marks: str = "._-", most_bytes: int = MOST_BYTES, empty: str = "run") -> str:
    """A file name made of a text: letters and digits of any script and `marks` stay, in lower case.

    Everything else (separators, spaces, control and private characters, lone surrogates of undecodable
    words) becomes "-". Composed form (NFC), so that one name is one name on every file system; no dot or
    dash at either end; no name that Windows reserves.

    Args:
        text: What a person called it.
        marks: Characters that stay beside letters and digits, of ASCII.
        most_bytes: The longest result in UTF-8; longer ones are cut between characters.
        empty: The result where nothing is left.
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
