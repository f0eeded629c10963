"""One sitting of a training: logs, checkpoints, sample grids, the GAN monitor, signals, rollbacks."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.core import device as devices
from triptych.core.errors import TrainingError
from triptych.core.images import is_points, to_float
from triptych.core.types import Batch
from triptych.core.weights import named_under
from triptych.data.dataset import Dataset
from triptych.evaluation.selection import Selector
from triptych.inference.pipeline import SAMPLING_BATCH, Pipeline
from triptych.inference.reconstruction import reconstruct
from triptych.monitor.gan_monitor import GanMonitor
from triptych.monitor.postmortem import newest_post_mortem
from triptych.monitor.rollback_candidates import rollback_candidates
from triptych.monitor.verdicts import Diagnosis
from triptych.runs.checkpoint import CheckpointMeta, SnapshotMeta
from triptych.runs.run import Run
from triptych.training.clock import StepCallback, StepTimer
from triptych.training.rollback import roll_back, rollback_log
from triptych.training.trackers import TrackerGroup
from triptych.training.trainer import Trainer, fresh_copy
from triptych.viz import grids

LOG_LINES = 400  # about so many per run
GRID_IMAGES, SCATTER_POINTS = 36, 1000
SNAPSHOTS = 6  # per run: at the end, half-way, at a quarter of the steps, ...


class Interrupted(KeyboardInterrupt):
    """Stopped by the user, with a checkpoint saved; the message says how to go on."""


@dataclass
class Session:
    """One sitting of a training: everything that happens around the steps of a `Trainer`."""

    trainer: Trainer
    run: Run
    timer: StepTimer
    selector: Selector  # compares raw and EMA weights
    monitor: GanMonitor | None  # None for a model that is no GAN
    on_step: StepCallback | None
    trackers: TrackerGroup

    @classmethod
    def begin(
        cls,
        trainer: Trainer,
        run: Run,
        dataset: Dataset,
        on_step: StepCallback | None,
        trackers: TrackerGroup,
        meta: CheckpointMeta | None = None,
    ) -> Session:
        """Prepare a sitting; nothing is trained yet.

        Args:
            trainer: The training, at its first step or restored from a checkpoint.
            run: Where to write.
            dataset: The images that raw and EMA weights are compared on.
            on_step: Called after each step.
            trackers: What follows the training.
            meta: Of the checkpoint that training goes on from; None for a new training.

        Returns:
            The session.
        """
        copy = fresh_copy(trainer.model).to(trainer.device)
        pipeline = Pipeline(copy, run, run.card.data.class_counts)
        selector = Selector(trainer, pipeline, dataset, None if meta is None else meta.comparison)
        monitor = GanMonitor(trainer, run, pipeline) if trainer.model.adversarial else None
        return cls(trainer, run, StepTimer(meta), selector, monitor, on_step, trackers)

    def train(self) -> None:
        """Train until the planned end, the time limit or a signal; a checkpoint is saved in each case.

        A training that fails, or that the GAN monitor stops, is rolled back where the options ask for it,
        and else raises TrainingError.

        Raises:
            Interrupted: If the user stopped it.
        """
        with stop_signals() as stop_requested:
            while True:
                try:
                    stopped = self.train_until_end(stop_requested)
                    break
                except TrainingError as error:
                    self.roll_back(error)
        if stopped:
            raise Interrupted(
                f"stopped at step {self.trainer.step} of {self.trainer.plan.steps}, checkpoint saved. "
                f"Go on with: triptych resume {self.run.path}"
            )

    def train_until_end(self, stop_requested: Callable[[], bool]) -> bool:
        """Train until the planned end, the time limit or a signal.

        A loss that is not finite raises TrainingError, and so does the GAN monitor when it stops a training.

        Args:
            stop_requested: Says whether a signal came.

        Returns:
            Whether a signal stopped it before the end.
        """
        trainer, monitor, plan = self.trainer, self.monitor, self.trainer.plan
        log_interval, snapshots = max(1, plan.steps // LOG_LINES), snapshot_steps(plan.steps)
        if trainer.step == 0:
            self.save_checkpoint()
        if monitor is not None and monitor.due(0) and not self.run.monitor_lines():
            monitor.observe_untrained()
        self.timer.start()
        for step in trainer.steps():
            self.timer.record(trainer, step)
            late = plan.limit_seconds is not None and self.timer.seconds > plan.limit_seconds
            ends, stops = step.step >= plan.steps or late, stop_requested()
            if step.step % log_interval == 0 or ends:
                line = {**self.timer.log_line(step.step), **rollback_log(trainer, self.run)}
                self.run.append_log(line)
                self.trackers.log(line)
            if stops and not ends:  # before anything that takes time: a second Ctrl-C stops at once
                self.save_checkpoint()
            if step.step in snapshots or ends or stops:
                self.selector.compare()
            if step.step in snapshots or ends or stops:
                self.fit_after_training()
            if step.step in snapshots or ends:
                self.save_snapshot()
            if monitor is not None and monitor.due(step.step, ends):
                monitor.observe(ends)
            wanted = monitor is not None and monitor.should_keep_checkpoint()
            if ends or stops or wanted or self.timer.save_due(step.step, trainer.options.save_every):
                self.save_checkpoint()
            if self.on_step is not None:
                self.on_step(self.timer.progress(self.run, step, plan, monitor))
            self.timer.start()
            if ends or stops:
                return stops and not ends
        return False  # never reached: batches do not end

    def roll_back(self, error: TrainingError) -> None:
        """Return to the newest healthy checkpoint.

        Args:
            error: Why the training failed.

        Raises:
            TrainingError: If the options do not ask for it, or if there is no checkpoint to return to.
        """
        diagnosis = None if self.monitor is None else self.monitor.record_failure(error)
        meta = roll_back(self.trainer, self.run, diagnosis, str(error), self.timer.seconds)
        if meta is None:
            raise TrainingError(explain_failure(error, self.run, diagnosis)) from error
        self.timer.roll_back(meta)
        self.selector.last = meta.comparison
        if self.monitor is not None:
            self.monitor.reset()

    def fit_after_training(self) -> None:
        """Let the model measure what sampling needs, by the better of raw and EMA weights; both get it."""
        trainer = self.trainer
        if not trainer.model.fitted_buffers:
            return
        fitted = self.selector.load(self.selector.compare()).model
        fitted.fit_after_training(self.fitting_batches())
        for name in trainer.model.fitted_buffers:
            value = fitted.get_buffer(name)
            trainer.model.get_buffer(name).copy_(value)
            trainer.ema.tensors[name].copy_(value)

    def fitting_batches(self) -> Iterator[Batch]:
        """Yields a fixed choice of training images in batches, on the device."""
        model, train = self.trainer.model, self.selector.dataset.train
        every = train.labels if model.conditional else None
        rows = np.random.default_rng(0).permutation(len(train.pixels))[: model.fitting_images]
        for start in range(0, len(rows), SAMPLING_BATCH):
            own = np.sort(rows[start : start + SAMPLING_BATCH])
            labels = None if every is None else torch.as_tensor(every[own])
            images = to_float(np.asarray(train.pixels[own]))
            batch = Batch(images, labels, None, torch.arange(len(own)), len(own))
            yield batch.to(self.trainer.device)

    def save_checkpoint(self) -> None:
        """Save all tensors, and what timer, log, selector and rollback need to go on."""
        trainer = self.trainer
        meta = CheckpointMeta(
            step=trainer.step,
            images=trainer.step * trainer.options.batch,
            seconds=self.timer.seconds,
            comparison=self.selector.last,
            total_steps=trainer.plan.steps,
            peak_memory_bytes=devices.peak_memory_bytes(trainer.device),
            learning_rates={o.name: [g["lr"] for g in o.optimizer.param_groups] for o in trainer.objectives},
            lr_scale=trainer.lr_scale,
            healthy=self.monitor is not None and self.monitor.should_keep_checkpoint(),
            rollbacks=self.run.card.rollbacks,
            last_log=self.timer.last_log,
            log_accumulators=self.timer.accumulators(),
        )
        self.run.save_checkpoint(trainer.step, trainer.state_tensors(), meta)
        self.timer.saved_at = time.perf_counter()

    def save_snapshot(self) -> None:
        """Save a grid of samples and the weights that sampling uses, raw and EMA."""
        trainer = self.trainer
        self.trackers.log_samples(self.save_sample_grid(), trainer.step)
        raw = named_under(trainer.model, trainer.model.ema_modules)
        meta = SnapshotMeta(seconds=self.timer.seconds, comparison=self.selector.last)
        self.run.save_snapshot(trainer.step, trainer.ema.tensors, meta, raw)

    def save_sample_grid(self) -> Path:
        """Write a grid of images at fixed seeds, by the better of raw and EMA weights; returns the file."""
        pipeline, real = self.selector.load(self.selector.compare()), self.trainer.split.pixels
        points = is_points(real)
        seeds = range(SCATTER_POINTS if points else GRID_IMAGES)
        labels = [seed % pipeline.spec.classes for seed in seeds] if pipeline.model.conditional else None
        background = np.asarray(real[:SCATTER_POINTS]) if points else None
        if pipeline.model.reconstructs:
            images = beside_reconstructions(pipeline, np.asarray(self.selector.dataset.test.pixels[:18]))
        else:
            images = pipeline.sample(seeds, labels)
        sheet = grids.grid(images, scale=max(1, 64 // pipeline.spec.size), behind=background)
        file = self.run.path / "samples" / f"step-{self.trainer.step:08d}.png"
        grids.write_png(file, sheet)
        return file


def beside_reconstructions(pipeline: Pipeline, pixels: np.ndarray) -> np.ndarray:
    """Images and their reconstructions for a grid of 6 columns: a row of images, then a row of theirs.

    Args:
        pipeline: The model that reconstructs.
        pixels: (N, H, W, C) uint8, N a multiple of 6.

    Returns:
        (2 N, H, W, C) uint8.
    """
    pairs = np.stack([pixels, reconstruct(pipeline, pixels)])  # (2, N, H, W, C)
    rows = pairs.reshape(2, len(pixels) // 6, 6, *pixels.shape[1:]).swapaxes(0, 1)  # (N / 6, 2, 6, ...)
    return rows.reshape(-1, *pixels.shape[1:])


def snapshot_steps(steps: int) -> set[int]:
    """The steps at which snapshots are saved: the last one, half-way, a quarter of the way, ..."""
    return {max(1, steps >> k) for k in range(SNAPSHOTS)}


def explain_failure(error: TrainingError, run: Run, diagnosis: Diagnosis | None) -> str:
    """Say what failed, which checkpoint is left, and what may help.

    Args:
        error: What stopped the training.
        run: The run.
        diagnosis: What the GAN monitor found; None for a model that is no GAN.

    Returns:
        The message for the user.
    """
    kept = rollback_candidates(run, diagnosis)
    checkpoint = (
        f"The last healthy checkpoint, of step {max(kept)}, is kept"
        if kept
        else "No checkpoint was saved yet"
    )
    page = newest_post_mortem(run)
    more = f" What happened, and what may help: {page}" if page else ""
    return f"{error}. {checkpoint} in {run.path}. {divergence_advice(run.card.plan.precision)}{more}"


def divergence_advice(precision: str) -> str:
    """What helps most often when losses or weights diverge."""
    return f"A smaller --lr often helps{'' if precision == 'fp32' else ', or --precision fp32'}."


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a request that the training grants after its step.

    A second Ctrl-C stops at once. Outside the main thread signals are left alone.

    Yields:
        A function that says whether a stop was requested.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, frame: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
