"""Runs as TensorBoard event files, for those who keep all their curves there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from triptych.core.errors import UsageError
from triptych.run import Run

NOT_CURVES = ("step", "images")


def write_events(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write one folder of event files a run under `folder`: logged curves, scores and sample grids.

    Raises UsageError where the tensorboard package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "event files need the tensorboard package: pip install 'triptych[tensorboard]'"
        ) from error
    written = []
    for run in runs:
        home = folder / run.path.name
        with SummaryWriter(str(home)) as writer:
            for line in run.log():
                for name, value in line.items():
                    if name not in NOT_CURVES:
                        writer.add_scalar(name, value, line["step"])
            for made in run.metrics():
                for score in made["scores"]:
                    name = f"scores/{score['name']}/{score['card']['split']}"
                    writer.add_scalar(name, score["value"], made["step"] or 0)
            for file in sorted((run.path / "samples").glob("step-*.png")):
                with Image.open(file) as grid:
                    pixels = np.asarray(grid.convert("RGB"))  # (H, W, 3)
                writer.add_image("samples", pixels, int(file.stem.split("-")[1]), dataformats="HWC")
        written.append(home)
    return written
