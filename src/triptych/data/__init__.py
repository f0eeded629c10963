"""Floor 1: where pictures come from, how they are prepared once, and batches of them."""

from triptych.data.again import reopen
from triptych.data.dataset import Broken, DataError, Dataset, Split, batches
from triptych.data.inspection import Inspection, inspect
from triptych.data.sources import IN_MEMORY, load

__all__ = [
    "IN_MEMORY",
    "Broken",
    "DataError",
    "Dataset",
    "Inspection",
    "Split",
    "batches",
    "inspect",
    "load",
    "reopen",
]
