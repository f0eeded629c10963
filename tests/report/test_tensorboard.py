"""TensorBoard files, read back with TensorBoard's own reader."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import triptych
from triptych.core.errors import RunError
from triptych.report.tables import write_score_tables
from triptych.report.tensorboard import write_events


def test_curves_and_grids_come_back(tmp_path: Path) -> None:
    run = triptych.train(
        "vae", data="digits", width=8, steps=4, batch=16, threads=1, precision="fp32", runs=tmp_path
    )
    with pytest.raises(RunError, match="no scores yet"):
        write_score_tables([run], tmp_path / "scores")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what TensorBoard itself imports
        (home,) = write_events([run], tmp_path / "events")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    read = EventAccumulator(str(home))
    read.Reload()
    losses = read.Scalars("autoencoder/loss")
    assert [event.step for event in losses] == [1, 2, 3, 4]
    logged = [line["autoencoder/loss"] for line in run.log()]
    assert [event.value for event in losses] == pytest.approx(logged, rel=1e-6)
    assert [event.step for event in read.Images("samples")] == [1, 2, 4]
