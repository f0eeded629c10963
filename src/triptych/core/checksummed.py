"""Records that carry the checksum of what they say: a slip of the hand in a stored score is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import (
    BaseModel,
    ModelWrapValidatorHandler,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from triptych.core.errors import SealError

KEY = "checksum"


class Checksummed(BaseModel):
    """A record that is written to JSON with its checksum, and read only if it matches.

    The checksum stands in the JSON alone, never in the object, so nobody who makes a record has to
    think of it. A record without one is read too: `is_sealed` tells. It guards against slips and
    half-done edits; who wants to cheat can compute a new one.
    """

    def called(self) -> str:
        """What a sentence about this record calls it."""
        return type(self).__name__.lower()

    @classmethod
    def upgraded(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Stored values under today's keys; a record whose keys were renamed overrides this.

        The checksum is that of the values as they were stored.
        """
        return values

    @model_validator(mode="wrap")
    @classmethod
    def _opened(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(value, Mapping):
            return handler(value)
        rest = {name: entry for name, entry in value.items() if name != KEY}
        made = handler(cls.upgraded(rest))  # the inner checksums first
        verify_checksum(value, made.called())
        return made

    @model_serializer(mode="wrap")
    def _closed(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        record: dict[str, Any] = handler(self)
        return {**record, KEY: checksum(record)} if info.mode == "json" else record


def is_sealed(record: Mapping[str, Any]) -> bool:
    """Whether a stored record carries a checksum; those written before there were any do not."""
    return KEY in record


def verify_checksum(record: Mapping[str, Any], called: str) -> None:
    """Return if a stored record matches its checksum, or has none. Raises SealError, with its name."""
    if is_sealed(record) and checksum(record) != record[KEY]:
        raise SealError(
            f"{called} was changed after it was written: it does not match its checksum. "
            "Make it again with `triptych evaluate`"
        )


def checksum(record: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of a record's canonical JSON: keys in order, no spaces, its own checksum left out.

    Taken of the record as it stands in the file, so that a field which a later version adds with a
    default does not break an older seal. 1.0 and 1 are one number, whatever tool copied the file.
    """
    rest = {name: entry for name, entry in record.items() if name != KEY}
    text = json.dumps(_plain(rest), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
