"""The watch over games of two players: a few samples now and then, and a verdict in words."""

from triptych.watch.limits import FEWEST_LOOKS, FEWEST_PICTURES
from triptych.watch.looking import Reference, look_at
from triptych.watch.remedies import Remedy, remedies_for
from triptych.watch.verdicts import Diagnosis, alarms, diagnose

__all__ = [
    "FEWEST_LOOKS", "FEWEST_PICTURES", "Diagnosis", "Reference", "Remedy", "alarms", "diagnose", "look_at",
    "remedies_for",
]  # fmt: skip
