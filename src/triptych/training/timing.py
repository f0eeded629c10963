"""The timed start: how long a step takes, and its FLOPs."""

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
    """Counts all modules as one: hooks on each break on a loss that takes a gradient itself (a penalty)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


def timing_function(model: AnyModel, split: Split, options: Options) -> Callable[[Arithmetic, float], Timing]:
    """A function that counts and times steps of throw-away copies: (arithmetic, so many seconds) -> Timing.

    Operations are counted without a clock; 0 seconds: nothing is timed. Where players move, or pay
    penalties, at unlike intervals, steps are unlike too: whole rounds are counted and timed.
    """
    device = devices.choose(options.device)

    def measure(arithmetic: Arithmetic, seconds: float) -> Timing:
        plan = Plan.trial(device, arithmetic)
        training = Trainer(fresh_copy(model), split, options, plan)
        steps = training.steps()
        turns = math.lcm(model.step_period, *(player.interval for player in training.objectives))
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = Untracked()
        with counter:
            for _ in range(turns):
                next(steps)
        flops = round(counter.get_total_flops() / turns)
        if not seconds:
            return Timing(None, flops)
        next(steps)
        paces: list[float] = []
        began = time.perf_counter()
        fewest = 3 if seconds >= 1 else 1  # to plan by, or to guess by
        while len(paces) < fewest or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            try:
                for _ in range(turns):
                    next(steps)
            except TrainingError:
                if not paces:
                    raise
                break  # the pace is known, and the training itself can say what has happened, in a run
            devices.wait(device)
            paces.append((time.perf_counter() - start) / turns)
        return Timing(statistics.median(paces), flops)

    return measure
