"""Values of a Config, of Controls or of options, checked with sentences for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from triptych.core.errors import UsageError
from triptych.core.family import Settings
from triptych.core.nearest import nearest
from triptych.core.tagged import kinds


def read_settings(kind: type[Settings], values: Mapping[str, Any], what: str) -> Any:
    """Check values against a Config or Controls. Raises UsageError that names each wrong field."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        lines: dict[tuple[str, str], str] = {}  # what is wrong with each field of each owner
        for problem in reversed(error.errors()):
            name, *within = map(str, problem["loc"] or [""])  # no name: what several fields say together
            holder: type[Any] = kind
            owner = what
            if within and (inner := kinds(kind.model_fields[name]).get(within[0])):
                holder, owner, name = inner, f"{what}, {name} {within[0]}", "".join(within[1:2])
            raised = problem.get("ctx", {}).get("error")
            said = str(raised) if isinstance(raised, Exception) else problem["msg"].lower()
            if problem["type"] == "extra_forbidden":
                known = [field for field in holder.model_fields if field != "kind"]
                hint = f"did you mean {near}? " if (near := nearest(name, known)) else ""
                told = f"{owner} has no {name!r}: {hint}there are {', '.join(known) or 'none'}"
            elif problem["type"] == "union_tag_invalid":
                there_are = problem["ctx"]["expected_tags"].replace("'", "")
                told = f"{owner}, {name}: expected {there_are}, got {problem['ctx']['tag']!r}"
            elif not name:
                told = said
            else:
                told = f"{owner}, {name}: {said}, got {problem['input']!r}"
            lines[owner, name] = told  # of several the first
        raise UsageError("; ".join(reversed(lines.values()))) from error
