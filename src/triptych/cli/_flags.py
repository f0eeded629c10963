"""From typed settings to flags, and from words to settings."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

if TYPE_CHECKING:
    from pydantic import BaseModel


def flags_of(*models: type[BaseModel], suited: Any = None, **own: tuple[Any, Any, str]) -> type:
    """A dataclass of flags: `own` ones (type, default or `...`, help), then each model's fields.

    suited: dict of defaults that stand in for the models'. A field `x` that comes in kinds is a flag for
    the kind, and one `--x.y` for each field y of a kind. A field that is True, False or left out (None) is
    two flags, `--x` and `--no-x`.
    """
    import tyro

    from triptych.core.config import kinds
    from triptych.core.errors import UsageError

    def field(kind: Any, default: Any, text: str, **shown: Any) -> tuple[Any, Any]:
        given = dataclasses.field() if default is ... else dataclasses.field(default=default)
        return Annotated[kind, tyro.conf.arg(help=text, **shown)], given

    fields = [(name, *field(*parts)) for name, parts in own.items()]
    for model in models:
        for name, info in model.model_fields.items():
            if known := kinds(info):
                usual = (suited or {}).get(name, {}).get("kind", info.default.kind)
                fields.append((name, *field(Literal[tuple(known)], usual, info.description or "")))
                for part, (union, told) in parts_of(known).items():
                    shown = {"name": f"{name}.{part}".replace("_", "-"), "help_behavior_hint": ""}
                    fields.append((f"{name}__{part}", *field(union, None, told, **shown)))
            elif info.annotation == bool | None:
                usual = (suited or {}).get(name, info.default)
                told = f"{info.description} {preset_says(usual)}".rstrip()
                pair = {name: told, f"no_{name}": f"Not --{name}."}
                for flag, text in pair.items():
                    alone = Annotated[bool, tyro.conf.FlagCreatePairsOff]
                    fields.append((flag, *field(alone, False, text, help_behavior_hint="")))
            elif name not in own:
                kind = info.rebuild_annotation()  # not the class's own annotations: settings may be inherited
                default = (suited or {}).get(name, info.default)
                fields.append((name, *field(kind, default, info.description or "")))
    names = [name for name, *_ in fields]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"two settings are called {min(twice)!r}: the family must give its own another name")
    return dataclasses.make_dataclass("Flags", fields, kw_only=True)


def parts_of(known: dict[str, type[BaseModel]]) -> dict[str, tuple[Any, str]]:
    """field -> (its type or None, what it means for which kind) over all kinds of a setting."""
    from typing import Union

    found: dict[str, tuple[Any, str]] = {}
    for kind, model in known.items():
        for name, info in model.model_fields.items():
            if name == "kind":
                continue
            before, told = found.get(name, (None, ""))
            words = " ".join(map(str, info.default)) if isinstance(info.default, tuple) else info.default
            told += f"{' ' if told else ''}{kind}: {info.description} (default: {words})"
            found[name] = (Union[before, info.rebuild_annotation()], told)  # noqa: UP007
    return found


def parse(words: list[str], flags: type, prog: str, about: str) -> Any:
    """Read words into flags; wrong ones end the program with a message and exit code 2."""
    import tyro

    from triptych.cli._mistyped import check_words

    check_words(words, flags, prog)
    return tyro.cli(
        flags, args=words, prog=f"triptych {prog}", description=about, config=(tyro.conf.AvoidSubcommands,)
    )


def first_word(words: list[str], what: str, usage: str) -> str | None:
    """The positional word that decides which flags there are; None when help is asked for without it."""
    from triptych.core.errors import UsageError

    if words and not words[0].startswith("-"):
        return words[0]
    if "-h" in words or "--help" in words:
        return None
    raise UsageError(f"{what} must come first: {usage}")


WEIGHTS: tuple[Any, Any, str] = (
    Literal["auto", "raw", "ema"],
    "auto",
    "Which weights draw: auto (those that scored better on held-out images when the training ended or "
    "stopped), raw, or ema (their moving average).",
)


def weights_in(words: list[str]) -> str:
    """The value of --weights, wanted before the other flags are known; a wrong one is left to `parse`."""
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--weights":
            told = value if equals else "".join(words[number + 1 : number + 2])
            return told if told in ("raw", "ema") else "auto"
    return "auto"


def numbers(text: str) -> list[int]:
    """'0-3,8' -> [0, 1, 2, 3, 8]."""
    from triptych.core.errors import UsageError

    chosen: list[int] = []
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        try:
            chosen += range(int(low), int(high or low) + 1)
        except ValueError as error:
            raise UsageError(f"expected numbers like 0-63 or 1,5,9, got {text!r}") from error
    if not chosen:
        raise UsageError(f"{text!r} names no number: ranges run upwards, as in 0-63")
    return chosen


def preset_says(usual: bool | None) -> str:
    """What help says of a pair of flags that are left out, when the preset decides."""
    return "" if usual is None else f"This preset: {'on' if usual else 'off'}."


def given(flags: Any, model: type[BaseModel], suited: Any = None) -> dict[str, Any]:
    """The values of the flags that are a model's fields. suited: as in `flags_of`."""
    from triptych.core.config import kinds

    values = {name: getattr(flags, name) for name in model.model_fields if hasattr(flags, name)}
    for name in [n for n in values if hasattr(flags, f"no_{n}")]:
        values[name] = on_or_off(name, values[name], getattr(flags, f"no_{name}"), (suited or {}).get(name))
    for name in values:
        known = parts_of(kinds(model.model_fields[name]))
        parts = {part: getattr(flags, f"{name}__{part}") for part in known}
        if kinds(model.model_fields[name]):
            same = (suited or {}).get(name, {}).get("kind") == values[name]
            usual = suited[name] if same else {"kind": values[name]}
            values[name] = {**usual, **{k: v for k, v in parts.items() if v is not None}}
    return values


def on_or_off(name: str, on: bool, off: bool, usual: bool | None) -> bool | None:
    """What the pair of flags `--name` and `--no-name` says; `usual` if neither is there."""
    from triptych.core.errors import UsageError

    if on and off:
        raise UsageError(f"give --{name} or --no-{name}, not both")
    return True if on else False if off else usual


def positional(kind: Any, shown: str | None = None) -> Any:
    """A flag without its name. shown: what help calls its value, if not after its type."""
    import tyro

    return Annotated[kind, tyro.conf.Positional, tyro.conf.arg(metavar=shown)]
