"""Experiment trackers during training: TensorBoard, and any with the methods of accelerate's trackers.

A tracker cannot disturb a training: after its first error it is dropped with one warning, and the states of
the global random generators are restored after each call, so that bits are the same with and without it.
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
NOT_CURVES = ("step", "images")  # fields of a log line that are positions, not measurements


class Tracker(Protocol):
    """The methods of accelerate's `GeneralTracker`, whose trackers can be used as they are.

    `start()` (once, before anything else) and `log_images(values, step)`, with values of name ->
    (N, H, W, 3) uint8 images, are called where a tracker has them.
    """

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Receive the run's settings, flat: name -> bool, number or text."""

    def log(self, values: dict[str, Any], step: int | None) -> None:
        """Receive logged values.

        Args:
            values: Name -> mean since the last call.
            step: Training steps done.
        """

    def finish(self) -> None:
        """Close: the training has ended or was stopped."""


class TensorBoard:
    """Writes TensorBoard event files; see `tensorboard --logdir FOLDER`.

    Args:
        folder: Where the files are written.
        purge_step: For a resumed run: TensorBoard ignores what was written before from this step on.
    """

    name = "tensorboard"

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        self.writer = summary_writer()(str(folder), purge_step=purge_step)

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Write the settings as a table (tab "Text")."""
        rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
        self.writer.add_text("run", f"| setting | value |\n| --- | --- |\n{rows}", 0)
        self.writer.flush()

    def log(self, values: dict[str, Any], step: int | None) -> None:
        """Write values as curves.

        Args:
            values: Name -> number.
            step: Training steps done.
        """
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()  # curves should show up at once

    def log_images(self, values: dict[str, Any], step: int | None, dataformats: str = "NHWC") -> None:
        """Write images.

        Args:
            values: Name -> images.
            step: Training steps done.
            dataformats: The order of the axes.
        """
        for name, images in values.items():
            self.writer.add_images(name, np.asarray(images), step, dataformats=dataformats)
        self.writer.flush()

    def finish(self) -> None:
        """Close the file."""
        self.writer.close()


def summary_writer() -> Callable[..., Any]:
    """Import TensorBoard's writer.

    Returns:
        The class.

    Raises:
        UsageError: If the package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "TensorBoard's files need the tensorboard package: pip install 'triptych[tensorboard]'"
        ) from error
    return SummaryWriter


def check_trackers(names: Sequence[str], trackers: Sequence[Any] = ()) -> None:
    """Check that trackers can be used, before anything costs time.

    Args:
        names: Trackers by name, as `--track` takes them.
        trackers: Objects with the methods of `Tracker`.

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
    """The trackers of one run; each is dropped with a warning at its first error.

    Args:
        run: The run.
        names: Trackers by name, as `--track` takes them.
        trackers: Objects with the methods of `Tracker`.
        steps_done: Training steps done before: 0 for a new run.
    """

    def __init__(self, run: Run, names: Sequence[str], trackers: Sequence[Any], steps_done: int) -> None:
        self.active: list[Any] = []
        purge = steps_done + 1 if steps_done else None
        for name in dict.fromkeys(names):
            with self._guarded(name):
                self.active.append(TensorBoard(run.path / name, purge))
        self.active += trackers
        self.call("start")
        self.call("store_init_configuration", configuration(run))

    def call(self, name: str, *values: Any) -> None:
        """Call a method of every tracker that has it.

        Args:
            name: The name of the method.
            *values: Its arguments.
        """
        for tracker in list(self.active):
            method = getattr(tracker, name, None)
            if method is not None:
                with self._guarded(tracker):
                    method(*values)

    def log(self, line: Mapping[str, Any]) -> None:
        """Pass a line of log.jsonl on to the trackers."""
        self.call("log", {k: v for k, v in line.items() if k not in NOT_CURVES}, line["step"])

    def log_samples(self, file: Path, step: int) -> None:
        """Pass a sample grid on to the trackers that take images.

        Args:
            file: The grid, a PNG file.
            step: Training steps done.
        """
        if not any(hasattr(tracker, "log_images") for tracker in self.active):
            return
        with Image.open(file) as grid:
            images = np.asarray(grid.convert("RGB"))[None]  # (1, H, W, 3)
        for tracker in list(self.active):
            if hasattr(tracker, "log_images"):
                # accelerate's TensorBoard tracker passes this on; its default is channels first
                more = {"dataformats": "NHWC"} if getattr(tracker, "name", "") == "tensorboard" else {}
                with self._guarded(tracker):
                    tracker.log_images({"samples": images}, step, **more)

    @contextlib.contextmanager
    def _guarded(self, tracker: Any) -> Iterator[None]:
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            yield
        except (Exception, SystemExit) as error:
            self.active = [other for other in self.active if other is not tracker]
            name = tracker if isinstance(tracker, str) else getattr(tracker, "name", type(tracker).__name__)
            log.warning(
                "the tracker %s failed and is left out from now on (%s: %s); the training goes on",
                name, type(error).__name__, error,
            )  # fmt: skip
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])


@contextlib.contextmanager
def tracking(
    run: Run, names: Sequence[str], trackers: Sequence[Any], steps_done: int
) -> Iterator[TrackerGroup]:
    """Start the trackers of a run, and finish them in any case.

    Args:
        run: The run.
        names: Trackers by name, as `--track` takes them.
        trackers: Objects with the methods of `Tracker`.
        steps_done: Training steps done before: 0 for a new run.

    Yields:
        The trackers.
    """
    group = TrackerGroup(run, names, trackers, steps_done)
    try:
        yield group
    finally:
        group.call("finish")


def configuration(run: Run) -> dict[str, Any]:
    """The settings of a run, flat, with values that every tracker takes: bool, number or text."""
    parts = {"config": run.card.config, "options": run.card.options.model_dump(mode="json")}
    flat: dict[str, Any] = {"run": run.path.name, "model": run.card.model}
    for part, values in parts.items():
        for name, value in values.items():
            if value is not None:
                plain = isinstance(value, bool | int | float | str)
                flat[f"{part}.{name}"] = value if plain else str(value)
    return flat
