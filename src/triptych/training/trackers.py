"""Experiment trackers that follow a training while it runs: TensorBoard, and any with accelerate's names.

A tracker is a guest: what it raises ends its own visit with one warning and nothing else, and the random
streams that it draws from are put back, so that a training's bits are the same with it and without.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from triptych.core.errors import UsageError
from triptych.core.nearest import did_you_mean
from triptych.runs.run import Run

log = logging.getLogger(__name__)

TRACKERS = ("tensorboard",)  # by name, as `--track` takes them
NOT_CURVES = ("step", "images")  # of a logged line: where it stands, not what it shows


class Tracker(Protocol):
    """The methods of accelerate's `GeneralTracker`, whose trackers fit as they are.

    `start()` (called once, before anything else) and `log_images(values, step)`, with values a name ->
    (N, H, W, 3) uint8 images, are called where a tracker has them.
    """

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """What the run was asked for, flat: name -> bool, number or text."""

    def log(self, values: dict[str, Any], step: int | None) -> None:
        """The means since the last call: name -> number."""

    def finish(self) -> None:
        """The training has ended or was stopped."""


class TensorBoard:
    """Writes TensorBoard event files; see `tensorboard --logdir FOLDER`.

    Args:
        folder: Where to.
        purge_step: Of a run that goes on: what was written from this step on counts no longer.
    """

    name = "tensorboard"

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        self.writer = summary_writer()(str(folder), purge_step=purge_step)

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """As a table in the tab for text."""
        rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
        self.writer.add_text("run", f"| setting | value |\n| --- | --- |\n{rows}", 0)
        self.writer.flush()

    def log(self, values: dict[str, Any], step: int | None) -> None:
        """As curves."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()  # live means now

    def log_images(self, values: dict[str, Any], step: int | None, dataformats: str = "NHWC") -> None:
        """As images."""
        for name, images in values.items():
            self.writer.add_images(name, np.asarray(images), step, dataformats=dataformats)
        self.writer.flush()

    def finish(self) -> None:
        """Close the file."""
        self.writer.close()


def summary_writer() -> Callable[..., Any]:
    """TensorBoard's writer. Raises UsageError where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "TensorBoard's files need the tensorboard package: pip install 'triptych[tensorboard]'"
        ) from error
    return SummaryWriter


def check_trackers(names: Sequence[str], trackers: Sequence[Any] = ()) -> None:
    """Ask, before anything costs time, whether these can be used.

    Raises:
        UsageError: For an unknown name, a package that is not installed, an object that is no tracker.
    """
    for name in names:
        if name not in TRACKERS:
            hint = did_you_mean(name, TRACKERS)
            raise UsageError(f"unknown tracker {name!r}.{hint} There are: {', '.join(TRACKERS)}")
        summary_writer()
    for tracker in trackers:
        if isinstance(tracker, type) or not callable(getattr(tracker, "log", None)):
            raise UsageError(
                f"{tracker!r} is no tracker: expected an object with accelerate's methods "
                "store_init_configuration(values), log(values, step) and finish()"
            )


class TrackerGroup:
    """The trackers that follow one run, each dropped with a warning at its first mishap."""

    def __init__(self, run: Run, names: Sequence[str], trackers: Sequence[Any], first: int) -> None:
        self.active: list[Any] = []
        purge = first + 1 if first else None
        for name in dict.fromkeys(names):
            with self._guarded(name):
                self.active.append(TensorBoard(run.path / name, purge))
        self.active += trackers
        self.call("start")
        self.call("store_init_configuration", configuration(run))

    def call(self, what: str, *values: Any) -> None:
        """Call a method of every tracker that has it."""
        for tracker in list(self.active):
            told = getattr(tracker, what, None)
            if told is not None:
                with self._guarded(tracker):
                    told(*values)

    def log(self, line: Mapping[str, Any]) -> None:
        """A line of the run's log."""
        self.call("log", {k: v for k, v in line.items() if k not in NOT_CURVES}, line["step"])

    def log_samples(self, file: Path, step: int) -> None:
        """A grid of samples, as written."""
        if not any(hasattr(tracker, "log_images") for tracker in self.active):
            return
        with Image.open(file) as grid:
            images = np.asarray(grid.convert("RGB"))[None]  # (1, H, W, 3)
        for tracker in list(self.active):
            if hasattr(tracker, "log_images"):
                # accelerate's TensorBoard tracker hands its options on, and expects channels first else
                more = {"dataformats": "NHWC"} if getattr(tracker, "name", "") == "tensorboard" else {}
                with self._guarded(tracker):
                    tracker.log_images({"samples": images}, step, **more)

    @contextlib.contextmanager
    def _guarded(self, tracker: Any) -> Iterator[None]:
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            yield
        except (Exception, SystemExit) as error:
            self.active = [one for one in self.active if one is not tracker]
            name = tracker if isinstance(tracker, str) else getattr(tracker, "name", type(tracker).__name__)
            log.warning(
                "the tracker %s fell over and is left out from now on (%s: %s); the training goes on",
                name, type(error).__name__, error,
            )  # fmt: skip
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])


@contextlib.contextmanager
def tracking(run: Run, names: Sequence[str], trackers: Sequence[Any], first: int) -> Iterator[TrackerGroup]:
    """The trackers of a run while it is trained from step `first` on; finished in any case."""
    present = TrackerGroup(run, names, trackers, first)
    try:
        yield present
    finally:
        present.call("finish")


def configuration(run: Run) -> dict[str, Any]:
    """What a run was asked for, flat, with values that every tracker takes: bool, number or text."""
    parts = {"config": run.card.config, "options": run.card.options.model_dump(mode="json")}
    flat: dict[str, Any] = {"run": run.path.name, "model": run.card.model}
    for part, values in parts.items():
        for name, value in values.items():
            if value is not None:
                plain = isinstance(value, bool | int | float | str)
                flat[f"{part}.{name}"] = value if plain else str(value)
    return flat
