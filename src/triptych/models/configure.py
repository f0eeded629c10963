"""From a preset, explicit settings and the source's labels to a model's config and the training's options."""

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


def default_preset(model_class: type[AnyModel]) -> str | None:
    """The preset that a training takes if none is named: "fast", or None for a model without it."""
    return DEFAULT if DEFAULT in model_class.presets else None


def preset_values(model_class: type[AnyModel], name: str | None) -> Mapping[str, Any]:
    """The values that a preset sets.

    Args:
        model_class: Whose preset.
        name: Of the preset; None for no preset.

    Returns:
        Field of Config or training option -> value; empty for no preset.

    Raises:
        UsageError: For an unknown name; the message has the nearest known one.
    """
    if name is None:
        return {}
    presets, title = model_class.presets, model_class.title
    if not presets:
        raise UsageError(f"{title} has no presets: leave out --preset {name}".rstrip())
    if name not in presets:
        hint = did_you_mean(name, presets)
        raise UsageError(f"{title} has no preset {name!r}.{hint} There are: {', '.join(presets)}")
    return presets[name]


def preset_in_arguments(words: Sequence[str]) -> str | None:
    """The value of --preset among the words of a command line; None without the flag."""
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == "--preset":
            return value if equals else next(iter(words[place + 1 : place + 2]), "")
    return None


def describe_presets(model_class: type[AnyModel]) -> str:
    """Every preset with the values that it sets, for help."""
    described = []
    for name, values in model_class.presets.items():
        sets = ", ".join(f"{field.replace('_', '-')} {_in_words(value)}" for field, value in values.items())
        described.append(f"{name}: {sets or 'the defaults below'}")
    return "; ".join(described)


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(str(part) for part in value.values())
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    if value is None or isinstance(value, bool):
        return {True: "on", False: "off", None: "automatic"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def suggest_preset(
    model_class: type[AnyModel], preset: str | None, source: ImageSpec, images: int
) -> str | None:
    """Suggest a preset that suits the data better than the default one, which cannot know the data.

    Args:
        model_class: Whose presets.
        preset: The one in use; a preset other than the default was chosen, and is left alone.
        source: What the source has.
        images: Number of training images.

    Returns:
        A sentence, or None where no other preset is known to be better.
    """
    if preset != default_preset(model_class):
        return None
    if source.size == 1:
        better, reason = "points", "these are points, not images"
    else:
        better, reason = "few", f"{images:,} images are few, and {model_class.title} may memorize them"
    if better not in model_class.presets or (better == "few" and images >= FEW):
        return None
    return f"{reason}: --preset {better} may serve better"


def configure(
    model_class: type[AnyModel], preset: str | None, settings: Mapping[str, Any], data: str
) -> tuple[str | None, Any, Options]:
    """Read a model's config and the training's options from a preset and explicit settings.

    Args:
        model_class: The model.
        preset: Name of one of its presets; None for its default.
        settings: Explicit values of Config fields and training options; they override the preset's.
        data: Where the images come from, as run.json says it.

    Returns:
        The name of the preset in use (None where the model has none), config and options. An unknown preset
        or setting is a UsageError.
    """
    chosen = preset or default_preset(model_class)
    values = {**preset_values(model_class, chosen), **settings}
    shared = {name: values.pop(name) for name in list(values) if name in Options.model_fields}
    config: Settings = read_settings(model_class.Config, values, f"{model_class.title}'s config")
    return chosen, config, read_settings(Options, {**shared, "data": data}, "the training options")


def model_spec(source: ImageSpec, conditional: bool | None) -> ImageSpec:
    """The image specification that a model is built for: with classes only where training is conditional.

    Args:
        source: What the source has.
        conditional: As in `Options`; None: conditional where there are two classes or more.

    Returns:
        The source's specification, or the same with 0 classes.

    Raises:
        UsageError: When labels are asked of a source without.
    """
    if conditional and not source.classes:
        raise UsageError(
            "--conditional needs labels, and these images have none: leave it out, or put the images of each "
            "class in a folder of its own"
        )
    with_labels = source.classes > 1 if conditional is None else conditional
    return source if with_labels else replace(source, classes=0)


def check_uses_labels(model: AnyModel, conditional: bool | None) -> None:
    """Refuse --conditional for a model that ignores labels.

    Args:
        model: As built for the training.
        conditional: As in `Options`.

    Raises:
        UsageError: When labels were asked for and the model ignores them.
    """
    if conditional and not model.conditional:
        raise UsageError(f"--conditional was asked for, but {model.title} does not read labels: leave it out")
