"""From the user's options to a plan: number of steps, device, precision, threads; decided once and stored.

Nothing in a training step depends on the clock, nor does the choice of precision: it follows from the device
and the model, so that the same command gives the same bits. A budget in minutes becomes a number of steps
after a short timed start, and the plan keeps that number; for other budgets the clock only tells how long
training will take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from triptych.core import device as devices
from triptych.runs.options import BUDGETS, Arithmetic, Options, Plan

DEFAULT_MINUTES = 5.0
AIM = 0.97  # share of the minutes that is planned; the rest is a reserve for a machine that slows down
OVERTIME = 1.05  # a run ends at this share of its minutes at the latest
ESTIMATE_SECONDS = 0.5  # of timed steps, where the result is only told to the user, ...
ESTIMATED_STEPS = 200  # ... which is worth while from so many steps on


class Timing(NamedTuple):
    """What the timed start measured."""

    seconds_per_step: float | None  # None where only FLOPs were counted
    flops_per_step: int


def arithmetic(options: Options, device: torch.device, channels_last: bool = False) -> tuple[Arithmetic, str]:
    """Choose precision and memory layout, as a function of options, device and model alone.

    Args:
        options: The user's options.
        device: The device of the training.
        channels_last: Whether the model's networks are faster in channels-last layout on CPUs.

    Returns:
        Precision and layout, and a reason in a few words.
    """
    last = devices.prefers_channels_last(device, channels_last)
    if options.precision != "auto":
        return Arithmetic(options.precision, last), "precision as asked for"
    pays, why = devices.bf16_pays(device)
    return Arithmetic("bf16" if pays else "fp32", last), why


def make_plan(
    options: Options,
    images: int,
    time_steps: Callable[[Arithmetic, float], Timing],
    channels_last: bool = False,
) -> tuple[Plan, Timing]:
    """Choose device, precision, threads and number of steps.

    Args:
        options: The user's options, with at most one budget.
        images: Number of training images.
        time_steps: (precision and layout, seconds) -> the FLOPs of a step of a throw-away copy, and its time,
            measured for about so many seconds; 0 seconds: not timed.
        channels_last: Whether the model's networks are faster in channels-last layout on CPUs.

    Returns:
        The plan, and what was counted and timed.
    """
    device = devices.choose(options.device)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    chosen, why = arithmetic(options, device, channels_last)
    minutes = options.minutes
    if all(getattr(options, budget) is None for budget in BUDGETS):
        minutes = DEFAULT_MINUTES
    timing = time_steps(chosen, _timing_seconds(options, minutes, images))
    steps, words = _steps(options, minutes, images, timing)
    plan = Plan(
        steps=steps,
        budget=words,
        limit_seconds=None if minutes is None else minutes * 60 * OVERTIME,
        device=str(device),
        precision=chosen.precision,
        channels_last=chosen.channels_last,
        threads=torch.get_num_threads(),
        precision_reason=why,
    )
    return plan, timing


def _timing_seconds(options: Options, minutes: float | None, images: int) -> float:
    """Seconds of timing: enough to plan minutes by, else enough for an estimate, for a short run none."""
    if minutes is not None:
        return min(5.0, max(1.0, 60 * minutes * 0.02))
    if options.flops:
        return ESTIMATE_SECONDS
    steps, _ = _steps(options, None, images, Timing(None, 1))
    return ESTIMATE_SECONDS if steps >= ESTIMATED_STEPS else 0.0


def _steps(options: Options, minutes: float | None, images: int, timing: Timing) -> tuple[int, str]:
    if minutes is not None:
        assert timing.seconds_per_step is not None
        steps = int(minutes * 60 * AIM / timing.seconds_per_step)
        return max(1, steps), f"{minutes:g} minute{'s' * (minutes != 1)}"
    if options.steps:
        return options.steps, f"{options.steps} steps"
    if options.images:
        return max(1, round(options.images / options.batch)), f"{options.images} images"
    if options.flops:
        return max(1, round(options.flops / timing.flops_per_step)), f"{options.flops:.3g} FLOPs"
    assert options.epochs
    return max(1, round(options.epochs * images / options.batch)), f"{options.epochs:g} epochs"
