"""Floor 1: where pictures come from, how they are prepared once, and batches of them."""

from triptych.data.dataset import Broken, DataError, Dataset, Split, batches
from triptych.data.inspection import Inspection, inspect
from triptych.data.sources import load

__all__ = ["Broken", "DataError", "Dataset", "Inspection", "Split", "batches", "inspect", "load"]
