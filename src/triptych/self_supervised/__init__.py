"""Floor 2, self-supervised features: a small network that learns a source's images without labels."""

from triptych.self_supervised.network import LEAST, SMALLEST_PX, VERSION, SelfSupervised, untrained
from triptych.self_supervised.training import TASKS, fit

__all__ = ["LEAST", "SMALLEST_PX", "TASKS", "VERSION", "SelfSupervised", "fit", "untrained"]
