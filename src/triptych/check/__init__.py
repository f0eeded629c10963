"""The usual checklist for GANs, answered from a run itself."""

from triptych.check.answers import Answer
from triptych.check.asking import check

__all__ = ["Answer", "check"]
