"""All error classes: each message says what came, what was expected and what to do."""

from __future__ import annotations


class UsageError(ValueError):
    """A command or call that names something unknown or out of range: exit code 2 on the command line."""


class CompareError(ValueError):
    """Something that cannot be compared as asked; the message says why and what to do."""


class DataError(ValueError):
    """Data that cannot be used; the message says what came, what was expected and what to do."""


class UnlikeCardsError(ValueError):
    """Two scores with different protocols; `field` is the first field that differs."""

    def __init__(self, field: str, first: object, second: object, who: str = "these scores") -> None:
        super().__init__(
            f"{who} cannot be compared: {field} differs ({first!r} and {second!r}). "
            "Evaluate both again in the same way."
        )
        self.field = field


class WeightsError(ValueError):
    """Weights that are missing or must not be used; the message says where they were looked for."""


class ChecksumError(ValueError):
    """A stored record that does not match its checksum."""


class RunError(ValueError):
    """A run directory that cannot be used as asked; the message says why and what to do."""


class TrainingError(ValueError):
    """A training that cannot go on; the message says what happened and what to do."""
