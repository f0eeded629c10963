"""From a preset, explicit settings and the source's labels to what a family is built and trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from triptych.core.config import Settings, read_settings
from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean
from triptych.core.types import ImageSpec
from triptych.models.registry import AnyModel
from triptych.runs.options import Options

DEFAULT = "fast"
FEW = 1000  # images: with fewer a discriminator overfits within minutes


def default_preset(kind: type[AnyModel]) -> str | None:
    """The preset that a training takes if none is named: "fast", or None for a family without it."""
    return DEFAULT if DEFAULT in kind.presets else None


def preset_values(kind: type[AnyModel], name: str | None) -> Mapping[str, Any]:
    """What a preset sets; nothing for None. Raises UsageError for an unknown name, with the nearest one."""
    if name is None:
        return {}
    if not kind.presets:
        raise UsageError(f"{kind.title} has no presets: leave out --preset {name}".rstrip())
    if name not in kind.presets:
        hint = did_you_mean(name, kind.presets)
        raise UsageError(f"{kind.title} has no preset {name!r}.{hint} There are: {', '.join(kind.presets)}")
    return kind.presets[name]


def named_in(words: Sequence[str]) -> str | None:
    """The preset that the words of a command line name; None if they name none."""
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == "--preset":
            return value if equals else next(iter(words[place + 1 : place + 2]), "")
    return None


def describe_presets(kind: type[AnyModel]) -> str:
    """Every preset with what it sets, for help."""
    told = []
    for name, values in kind.presets.items():
        sets = ", ".join(f"{field.replace('_', '-')} {_word(value)}" for field, value in values.items())
        told.append(f"{name}: {sets or 'the defaults below'}")
    return "; ".join(told)


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(str(part) for part in value.values())
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    if value is None or isinstance(value, bool):
        return {True: "on", False: "off", None: "as suits"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def suggestion(kind: type[AnyModel], preset: str | None, source: ImageSpec, images: int) -> str | None:
    """A sentence on the preset that would suit the source better than the default one; None: none would.

    A preset cannot know the data.

    Args:
        kind: the family.
        preset: that is used.
        source: what the source has.
        images: in its training split.
    """
    if preset != default_preset(kind):
        return None
    if source.size == 1:
        wanted, why = "points", "these are points, not images"
    else:
        wanted, why = "few", f"{images:,} images are few, and {kind.title} may learn them by heart"
    if wanted not in kind.presets or (wanted == "few" and images >= FEW):
        return None
    return f"{why}: --preset {wanted} may serve better"


def configure(
    kind: type[AnyModel], preset: str | None, settings: Mapping[str, Any], data: str
) -> tuple[str | None, Any, Options]:
    """A family's config and the training's options.

    Args:
        kind: the family.
        preset: the name of one of its presets; None for its default.
        settings: explicit values of Config fields and training options; they override the preset's.
        data: what run.json says of where the images are from.

    Returns:
        The name of the preset that was used (None where the family has none), config and options.

    Raises:
        UsageError: for an unknown preset or setting.
    """
    chosen = preset or default_preset(kind)
    asked = {**preset_values(kind, chosen), **settings}
    shared = {name: asked.pop(name) for name in list(asked) if name in Options.model_fields}
    config: Settings = read_settings(kind.Config, asked, f"{kind.title}'s config")
    return chosen, config, read_settings(Options, {**shared, "data": data}, "the training options")


def spec_told(source: ImageSpec, conditional: bool | None) -> ImageSpec:
    """What a family is told of a source: its classes only where the training is conditional.

    Args:
        source: what the source has.
        conditional: as in `Options`; None: where there are two classes or more.

    Raises:
        UsageError: when labels are asked of a source without.
    """
    if conditional and not source.classes:
        raise UsageError(
            "--conditional needs labels, and these images have none: leave it out, or put the images of each "
            "class in a folder of its own"
        )
    told = source.classes > 1 if conditional is None else conditional
    return source if told else replace(source, classes=0)


def check_reads_labels(model: AnyModel, conditional: bool | None) -> None:
    """Raises UsageError when labels were asked for and the family does nothing with them."""
    if conditional and not model.conditional:
        raise UsageError(f"--conditional was asked for, but {model.title} does not read labels: leave it out")
