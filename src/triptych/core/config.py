"""Settings and records: frozen pydantic models, tagged unions, and readable errors for wrong values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from triptych.core.errors import UsageError
from triptych.core.nearest import nearest

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def by_kind(value: Any) -> Any:
    """Expand the bare name of a kind for a tagged union: 'diff' -> {'kind': 'diff'}; else as it is.

    For use in front of a union: `Annotated[A | B, Field(discriminator="kind"), BeforeValidator(by_kind)]`.
    """
    return {"kind": value} if isinstance(value, str) else value


def kinds(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """The classes of a tagged union by their `kind`; empty for a field that is no tagged union."""
    if field.discriminator != "kind":
        return {}
    return {kind.model_fields["kind"].default: kind for kind in get_args(field.annotation)}


class Record(BaseModel):
    """Base of stored records: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def read_settings(kind: type[Settings], values: Mapping[str, Any], what: str) -> Any:
    """Validate values for a Config or Controls.

    Args:
        kind: The class.
        values: Field name -> value.
        what: Name of the settings in the error message: "DCGAN's config".

    Returns:
        An instance of the class.

    Raises:
        UsageError: If a field is unknown or a value out of range; the message names each wrong field.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        messages: dict[tuple[str, str], str] = {}  # (settings, field) -> what is wrong
        for problem in reversed(error.errors()):
            name, *within = map(str, problem["loc"] or [""])  # no name: a check of several fields together
            holder: type[Any] = kind
            owner = what
            if within and (inner := kinds(kind.model_fields[name]).get(within[0])):
                holder, owner, name = inner, f"{what}, {name} {within[0]}", "".join(within[1:2])
            raised = problem.get("ctx", {}).get("error")
            complaint = str(raised) if isinstance(raised, Exception) else problem["msg"].lower()
            if problem["type"] == "extra_forbidden":
                known = [field for field in holder.model_fields if field != "kind"]
                hint = f"did you mean {near}? " if (near := nearest(name, known)) else ""
                message = f"{owner} has no {name!r}: {hint}there are {', '.join(known) or 'none'}"
            elif problem["type"] == "union_tag_invalid":
                there_are = problem["ctx"]["expected_tags"].replace("'", "")
                message = f"{owner}, {name}: expected {there_are}, got {problem['ctx']['tag']!r}"
            elif not name:
                message = complaint
            else:
                message = f"{owner}, {name}: {complaint}, got {problem['input']!r}"
            messages[owner, name] = message  # of several the first
        raise UsageError("; ".join(reversed(messages.values()))) from error


class Settings(BaseModel):
    """Base of every Config and Controls: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    former_names: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Field names of older versions -> today's; read in saved files only, never as flags."""
    former_values: ClassVar[Mapping[str, Mapping[str, str]]] = MappingProxyType({})
    """Field (today's name) -> words of older versions -> today's words."""

    @classmethod
    def with_current_names(cls, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Translate values that an older version saved.

        Args:
            saved: Field name -> value, as read from JSON. Unknown fields are kept: validation names them.

        Returns:
            The same values under today's field names and words, also within fields that come in kinds.
        """
        current: dict[str, Any] = {}
        for old_name, value in saved.items():
            name = cls.former_names.get(old_name, old_name)
            if name in cls.former_values:
                value = _replace_words(value, cls.former_values[name])
            if isinstance(value, Mapping) and (field := cls.model_fields.get(name)):
                inner = kinds(field).get(str(value.get("kind")))
                if inner is not None and issubclass(inner, Settings):
                    value = inner.with_current_names(value)
            current[name] = value
        return current


def _replace_words(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, list | tuple):
        return [_replace_words(item, words) for item in value]
    return words.get(value, value) if isinstance(value, str) else value
