"""The timed start: time and FLOPs of a training step."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Self

from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from triptych.core import device as devices
from triptych.core.errors import TrainingError
from triptych.data.dataset import Split
from triptych.models.registry import AnyModel
from triptych.runs.options import Arithmetic, Options, Plan
from triptych.training.planning import Timing
from triptych.training.trainer import Trainer, fresh_copy


class Untracked(ModuleTracker):
    """Attributes all FLOPs to one module: per-module hooks fail on losses that take gradients (penalties)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


def timing_function(model: AnyModel, split: Split, options: Options) -> Callable[[Arithmetic, float], Timing]:
    """Make a function that counts the FLOPs of training steps of throw-away copies, and times them.

    Where objectives are updated, or penalties computed, at different intervals, steps differ: whole periods
    are counted and timed.

    Args:
        model: The model; it stays as it is.
        split: The training images.
        options: Batch size, device and the like.

    Returns:
        (precision and layout, seconds) -> means over steps; 0 seconds: FLOPs are counted, nothing is timed.
    """
    device = devices.choose(options.device)

    def measure(arithmetic: Arithmetic, seconds: float) -> Timing:
        trainer = Trainer(fresh_copy(model), split, options, Plan.trial(device, arithmetic))
        steps = trainer.steps()
        period = math.lcm(model.step_period, *(objective.interval for objective in trainer.objectives))
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = Untracked()
        with counter:
            for _ in range(period):
                next(steps)
        flops = round(counter.get_total_flops() / period)
        if not seconds:
            return Timing(None, flops)
        next(steps)
        seconds_per_step: list[float] = []
        began = time.perf_counter()
        fewest = 3 if seconds >= 1 else 1  # to plan by, or for an estimate
        while len(seconds_per_step) < fewest or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            try:
                for _ in range(period):
                    next(steps)
            except TrainingError:
                if not seconds_per_step:
                    raise
                break  # the time is known; the training itself will report the failure, in a run
            devices.wait(device)
            seconds_per_step.append((time.perf_counter() - start) / period)
        return Timing(statistics.median(seconds_per_step), flops)

    return measure
