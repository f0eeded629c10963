"""Settings that come in kinds: a field whose `kind` says which further fields there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


def by_kind(value: Any) -> Any:
    """A kind's bare name as the settings of that kind, all else untouched: 'diff' -> {'kind': 'diff'}.

    For use in front of a union: `Annotated[A | B, Field(discriminator="kind"), BeforeValidator(by_kind)]`.
    """
    return {"kind": value} if isinstance(value, str) else value


def kinds(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """The settings behind each kind of a field; empty for a field that does not come in kinds."""
    if field.discriminator != "kind":
        return {}
    return {kind.model_fields["kind"].default: kind for kind in get_args(field.annotation)}
