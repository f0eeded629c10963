"""Typed flags: a verb's dataclass, extended by the settings of a model, read from words by tyro."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

FlagsT = TypeVar("FlagsT")
Field = tuple[Any, Any]  # the annotation and the dataclass field of one flag
METAVARS = {str: "STR", int: "INT", float: "FLOAT", Path: "PATH"}


@dataclass(frozen=True)
class Positional:
    """Marks a flag without a name: `run: Annotated[Path, Positional("RUN")]`."""

    metavar: str
    """What help calls its value."""


@dataclass(kw_only=True)
class JsonFlag:
    """Of every verb. `cli.main` reads it, before the verb's own flags are known."""

    json: bool = False
    """Print the results as one line of JSON, the last on standard output."""


@dataclass(kw_only=True)
class ModelFileFlag:
    """Of verbs that open runs: permission to execute a model's source file."""

    model_file: str | None = None
    """Your own .py file with the model's class, if the run was trained from one."""


@dataclass(kw_only=True)
class WeightsFlag:
    """Of verbs that sample from runs."""

    weights: Literal["auto", "raw", "ema"] = "auto"
    """Weights to sample with: raw, ema (their moving average), or auto (whichever scored better on
    held-out images when the training ended or stopped)."""


SHARED = ("weights", "model_file", "json")  # last in every verb's help


def parse(words: Sequence[str], flags: type[FlagsT], prog: str) -> FlagsT:
    """Read a verb's flags.

    A mistyped flag or choice is a UsageError with the nearest one; whatever else is wrong ends the program
    with a message and exit code 2.

    Args:
        words: What was typed after the verb.
        flags: A dataclass: its docstring is the description in --help, its attribute docstrings the help.
        prog: The verb, as help and errors call it.

    Returns:
        An instance of `flags`.
    """
    return parse_with_settings(words, flags, (), prog)[0]


def parse_with_settings(
    words: Sequence[str],
    flags: type[FlagsT],
    settings: Sequence[type[BaseModel]],
    prog: str,
    *,
    about: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    choices: Mapping[str, Sequence[str]] | None = None,
) -> tuple[FlagsT, dict[str, Any]]:
    """Read a verb's flags together with those that pydantic models add: a model's Config or Controls.

    A field `x` that is a tagged union is a flag for the tag, and one `--x.y` for each field y of a member.
    A field that is True, False or None (undecided) is two flags, `--x` and `--no-x`.

    Args:
        words: What was typed after the verb.
        flags: As in `parse`.
        settings: The pydantic models. Where a field has the name of a verb's own flag, that flag is used.
        prog: As in `parse`.
        about: Description in --help; None: the docstring of `flags`.
        defaults: Field name -> default that stands in for the one declared (a preset's).
        choices: Name of a verb's own flag -> the words that it takes here.

    Returns:
        An instance of `flags`, and the values of the fields of `settings` by name.

    Raises:
        UsageError: As `parse`; also for two settings of one name, and for `--x` with `--no-x`.
    """
    import tyro

    from triptych.cli._mistyped import check_words
    from triptych.core.errors import UsageError

    usual = defaults or {}
    form = _form(flags, settings, usual, choices or {})
    required = [field.name for field in dataclasses.fields(form) if field.default is dataclasses.MISSING]
    if not words and required:
        raise UsageError(f"{prog} needs {_metavar_of(flags, required[0])}: triptych {prog} --help says more")
    check_words(list(words), form, prog)
    parsed = tyro.cli(
        form,
        args=list(words),
        prog=f"triptych {prog}",
        description=about or inspect.getdoc(flags),
        config=(tyro.conf.AvoidSubcommands,),
    )
    values: dict[str, Any] = {}
    for model in settings:
        values |= _settings_of(parsed, model, usual)
    return cast(FlagsT, parsed), values


def _form(
    flags: type[Any],
    settings: Sequence[type[BaseModel]],
    defaults: Mapping[str, Any],
    choices: Mapping[str, Sequence[str]],
) -> type[Any]:
    """A subclass of `flags` with the settings' fields, as tyro reads it.

    Help lists a verb's own flags first, then the settings, then the flags it shares with other verbs.
    """
    from triptych.core.errors import UsageError

    own = _own_fields(flags, defaults, choices)
    more = [
        part
        for model in settings
        for name, info in model.model_fields.items()
        if name not in own
        for part in _setting_fields(name, info, defaults)
    ]
    names = [*own, *(name for name, _ in more)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(
            f"two settings are called {min(twice)!r}, one of the model's and one that every training has: "
            "rename the model's"
        )
    fields = [(name, *field) for name, field in [*own.items(), *more]]
    form = dataclasses.make_dataclass("Flags", fields, bases=(flags,), kw_only=True)
    by_class = [name for base in flags.__mro__ for name in inspect.get_annotations(base)]
    first = [name for name in dict.fromkeys(by_class) if name not in SHARED]
    order = [*first, *(name for name, _ in more), *(name for name in SHARED if name in own)]
    listed = {field.name: field for field in dataclasses.fields(form)}
    setattr(form, "__dataclass_fields__", {name: listed[name] for name in order})  # noqa: B010
    return form


def _own_fields(
    flags: type[Any], defaults: Mapping[str, Any], choices: Mapping[str, Sequence[str]]
) -> dict[str, Field]:
    """The fields of a verb's dataclass, with the attribute docstrings as help."""
    import tyro

    hints, help_texts = typing.get_type_hints(flags, include_extras=True), _attribute_docstrings(flags)
    fields: dict[str, Field] = {}
    for field in dataclasses.fields(flags):
        annotation = hints[field.name]
        positional = None
        if get_origin(annotation) is Annotated:
            annotation, positional = get_args(annotation)[:2]
        default = defaults.get(field.name, field.default)
        if field.name in choices:
            annotation = Literal[tuple(choices[field.name])]
            annotation = annotation if default is not None else annotation | None
        if annotation is bool:  # a verb's own switches are off unless given: they need no --no-x
            annotation = Annotated[bool, tyro.conf.FlagCreatePairsOff]
        fields[field.name] = _field(annotation, default, help_texts.get(field.name, ""), positional)
    return fields


def _metavar_of(flags: type[Any], name: str) -> str:
    """What help calls a required flag: RUN, or --direction."""
    marks = getattr(typing.get_type_hints(flags, include_extras=True)[name], "__metadata__", ())
    return next((m.metavar for m in marks if isinstance(m, Positional)), f"--{name.replace('_', '-')}")


def _attribute_docstrings(flags: type[Any]) -> dict[str, str]:
    """Field -> the string below it in the source of its class, on one line.

    tyro would find them too, but breaks them where the source does.
    """
    texts: dict[str, str] = {}
    for base in reversed(flags.__mro__[:-1]):  # all but object
        try:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except OSError:  # installed without its source: help then lists the flags alone
            continue
        assert isinstance(definition, ast.ClassDef)
        for statement, following in itertools.pairwise(definition.body):
            match statement, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    texts[name] = _one_line(text)
    return texts


def _one_line(text: str | None) -> str:
    """A docstring without its line breaks."""
    return " ".join((text or "").split())


def _field(
    annotation: Any, default: Any, text: str, positional: Positional | None = None, **options: Any
) -> Field:
    """One flag. options: more arguments of `tyro.conf.arg`."""
    import tyro

    from triptych.cli._mistyped import choices_of

    if default is None or default is False or default == ():  # help says what leaving it out means
        options.setdefault("help_behavior_hint", "")
    if positional is not None:
        options["metavar"] = positional.metavar
        options.setdefault("help_behavior_hint", "")
    elif isinstance(words := choices_of(annotation), list) and words:  # several of these words
        listed = ",".join(dict.fromkeys(word for word in words if word != "None"))
        options["metavar"] = f"{{{listed}}} ..."
    elif isinstance(words, tuple) and "None" in words:  # one of these words, or nothing
        options["metavar"] = f"{{{','.join(word for word in words if word != 'None')}}}"
    else:
        members = set(_members_of(annotation))
        if len(members) == 2 and type(None) in members:  # tyro would write {None}|INT
            (member,) = members - {type(None)}
            several = get_origin(member) is tuple
            metavar = METAVARS.get(get_args(member)[0] if several else member)
            if metavar is not None:
                options["metavar"] = f"[{metavar} ...]" if several else metavar
    extras: list[Any] = [tyro.conf.arg(help=text, **options)]
    if positional is not None:
        extras.append(tyro.conf.Positional)
    field = dataclasses.field() if default is dataclasses.MISSING else dataclasses.field(default=default)
    return functools.reduce(lambda inner, extra: Annotated[inner, extra], extras, annotation), field


def _members_of(annotation: Any) -> list[Any]:
    """The types of a union, however nested; of any other type, the type alone."""
    if get_origin(annotation) is Annotated:
        return _members_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members_of(part)]
    return [annotation]


def _setting_fields(name: str, info: FieldInfo, defaults: Mapping[str, Any]) -> list[tuple[str, Field]]:
    """The flags of one field of a pydantic model."""
    import tyro

    from triptych.core.config import kinds

    if members := kinds(info):
        tag = defaults.get(name, {}).get("kind", info.default.kind)
        fields = [(name, _field(Literal[tuple(members)], tag, _one_line(info.description)))]
        for part, (annotation, text) in _member_fields(members).items():
            options: dict[str, Any] = {"name": f"{name}.{part}".replace("_", "-"), "help_behavior_hint": ""}
            fields.append((f"{name}__{part}", _field(annotation, None, text, None, **options)))
        return fields
    if info.annotation == bool | None:
        preset = defaults.get(name, info.default)
        decided = "" if preset is None else f"This preset: {'on' if preset else 'off'}."
        text = f"{_one_line(info.description)} {decided}".rstrip()
        alone = Annotated[bool, tyro.conf.FlagCreatePairsOff]
        return [
            (name, _field(alone, False, text)),
            (f"no_{name}", _field(alone, False, f"Not --{name}.")),
        ]
    annotation = info.rebuild_annotation()  # not the class's own annotations: settings may be inherited
    return [(name, _field(annotation, defaults.get(name, info.default), _one_line(info.description)))]


def _member_fields(members: Mapping[str, type[BaseModel]]) -> dict[str, tuple[Any, str]]:
    """Field -> (its type or None, its help for each member) over all members of a tagged union."""
    fields: dict[str, tuple[Any, str]] = {}
    for tag, model in members.items():
        for name, info in model.model_fields.items():
            if name == "kind":
                continue
            annotation, text = fields.get(name, (None, ""))
            default = " ".join(map(str, info.default)) if isinstance(info.default, tuple) else info.default
            text += f"{' ' if text else ''}{tag}: {_one_line(info.description)}"
            text += "" if default is None else f" (default: {default})"  # help says what leaving it out means
            fields[name] = (Union[annotation, info.rebuild_annotation()], text)  # noqa: UP007
    return fields


def _settings_of(parsed: Any, model: type[BaseModel], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the flags that are a pydantic model's fields."""
    from triptych.core.config import kinds

    values: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        value = getattr(parsed, name)
        if hasattr(parsed, f"no_{name}"):
            value = _on_or_off(name, value, getattr(parsed, f"no_{name}"), defaults.get(name))
        if members := kinds(info):
            parts = {part: getattr(parsed, f"{name}__{part}") for part in _member_fields(members)}
            preset = defaults.get(name, {})
            start = preset if preset.get("kind") == value else {"kind": value}
            value = {**start, **{part: given for part, given in parts.items() if given is not None}}
        values[name] = value
    return values


def _on_or_off(name: str, on: bool, off: bool, default: bool | None) -> bool | None:
    """What the pair of flags `--name` and `--no-name` says; `default` if neither is there."""
    from triptych.core.errors import UsageError

    if on and off:
        raise UsageError(f"give --{name} or --no-{name}, not both")
    return True if on else False if off else default


def first_word(words: Sequence[str], what: str, usage: str) -> str | None:
    """The word that decides which flags there are: a model's name or a run.

    Args:
        words: What was typed after the verb.
        what: What the word is, for the error.
        usage: The whole command, for the error.

    Returns:
        The word; None when help is asked for without it.

    Raises:
        UsageError: When it does not come first.
    """
    from triptych.core.errors import UsageError

    if words and not words[0].startswith("-"):
        return words[0]
    if "-h" in words or "--help" in words:
        return None
    raise UsageError(f"{what} must come first: {usage}")


def value_in(words: Sequence[str], flag: str) -> str | None:
    """The value of a flag that is needed before the other flags are known.

    Args:
        words: As typed.
        flag: With its dashes: "--weights".

    Returns:
        The value, None if the flag is not there.
    """
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == flag:
            return value if equals else next(iter(words[place + 1 : place + 2]), None)
    return None


def weights_in(words: Sequence[str]) -> Literal["auto", "raw", "ema"]:
    """The value of --weights, needed before the other flags are known; a wrong one is left to `parse`."""
    value = value_in(words, "--weights")
    return "raw" if value == "raw" else "ema" if value == "ema" else "auto"


def numbers(text: str) -> list[int]:
    """'0-3,8' -> [0, 1, 2, 3, 8]. Raises UsageError for anything else."""
    from triptych.core.errors import UsageError

    chosen: list[int] = []
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        try:
            chosen += range(int(low), int(high or low) + 1)
        except ValueError as error:
            raise UsageError(f"expected numbers like 0-63 or 1,5,9, got {text!r}") from error
    if not chosen:
        raise UsageError(f"{text!r} contains no number: ranges run upward, as in 0-63")
    return chosen
