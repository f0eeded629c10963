"""The pictures of a run that was trained before: the same ones, or a sentence on what has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.data.dataset import DataError, Dataset
from triptych.data.sources import load


def reopen(seen: Mapping[str, Any], owner: Path, given: Any = None) -> Dataset:
    """The pictures a run has seen, opened again.

    seen: what its run.json says of them. given: the pictures themselves, as `load` takes them or loaded
    already, where they came from Python. Raises DataError when owner, the run, was trained on others.
    """
    dataset = given
    if not isinstance(given, Dataset):
        source = seen["source"] if given is None else given
        dataset = load(source, size=seen["size"], colour=seen["colour"])
    if dataset.fingerprint == seen["fingerprint"]:
        return dataset
    if seen["colour"] == "auto" and dataset.colour_rule and not isinstance(given, Dataset):
        for colour in ("rgb", "grey"):  # one colored image used to color all, before most decided
            other = load(source, size=seen["size"], colour=colour)
            if other.fingerprint == seen["fingerprint"]:
                return other
    counts = {
        "classes": (len(dataset.class_names), len(seen["class_names"])),
        "training pictures": (len(dataset.train), seen["train"]),
        "test pictures": (len(dataset.test), seen["test"]),
    }
    unlike = [f"{now:,} {what}, had {then:,}" for what, (now, then) in counts.items() if now != then]
    raise DataError(
        f"{dataset.name} is not what {owner} was trained on (fingerprint {dataset.fingerprint[:12]}, was "
        f"{seen['fingerprint'][:12]}{'; it has ' if unlike else ''}{'; '.join(unlike)}): bring the old "
        "pictures back, or train a new run"
    )
