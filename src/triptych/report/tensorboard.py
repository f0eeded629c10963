"""Runs as TensorBoard event files, for those who keep all their curves there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from triptych.evaluation.records import evaluations
from triptych.runs.run import Run
from triptych.training.trackers import NOT_CURVES, TensorBoard, summary_writer


def write_events(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write one folder of event files for each run: logged curves, scores and sample grids.

    Without the tensorboard package this is a UsageError.

    Args:
        runs: The runs.
        folder: Where their folders are made.

    Returns:
        The folder of each run.
    """
    summary_writer()  # before anything is written
    written = []
    for run in runs:
        home = folder / run.path.name
        with closing_tracker(TensorBoard(home)) as board:
            for line in run.log():
                board.log({k: v for k, v in line.items() if k not in NOT_CURVES}, line["step"])
            for evaluation in evaluations(run):
                board.log(
                    {f"scores/{s.name}/{s.card.split}": s.value for s in evaluation.scores},
                    evaluation.step or 0,
                )
            for file in sorted((run.samples_folder).glob("step-*.png")):
                with Image.open(file) as grid:
                    pixels = np.asarray(grid.convert("RGB"))[None]  # (1, H, W, 3)
                board.log_images({"samples": pixels}, int(file.stem.split("-")[1]))
        written.append(home)
    return written


@contextmanager
def closing_tracker(board: TensorBoard) -> Iterator[TensorBoard]:
    """A tracker that is finished in any case."""
    try:
        yield board
    finally:
        board.finish()
