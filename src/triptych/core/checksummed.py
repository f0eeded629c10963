"""Records stored with a checksum, so that an accidental edit of a stored score is noticed."""

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

from triptych.core.errors import ChecksumError

KEY = "checksum"


class Checksummed(BaseModel):
    """A record that is written to JSON with its checksum, and read only if it matches.

    The checksum is in the JSON alone, not in the object. Records without one are read too (`has_checksum`
    tells): earlier versions wrote none. It protects against accidents, not against forgery.
    """

    def called(self) -> str:
        """The name of this record in error messages."""
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
        record = handler(cls.upgraded(rest))  # the inner checksums first
        verify_checksum(value, record.called())
        return record

    @model_serializer(mode="wrap")
    def _closed(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        record: dict[str, Any] = handler(self)
        return {**record, KEY: checksum(record)} if info.mode == "json" else record


def has_checksum(record: Mapping[str, Any]) -> bool:
    """Whether a stored record has a checksum; earlier versions wrote none."""
    return KEY in record


def verify_checksum(record: Mapping[str, Any], called: str) -> None:
    """Check that a stored record matches its checksum; a record without one passes.

    Args:
        record: The record as it is in the file.
        called: Its name in the error message.

    Raises:
        ChecksumError: If it does not match.
    """
    if has_checksum(record) and checksum(record) != record[KEY]:
        raise ChecksumError(
            f"{called} was changed after it was written: it does not match its checksum. "
            "Make it again with `triptych evaluate`"
        )


def checksum(record: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of a record's canonical JSON: sorted keys, no spaces, without the checksum itself.

    Computed from the record as it is in the file, so that a field which a later version adds with a default
    does not invalidate older records. 1.0 and 1 are the same number, whatever tool copied the file.
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
