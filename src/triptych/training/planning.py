"""From what was asked (options) to what will be done (plan), decided once and stored.

Nothing in a training step depends on the clock, nor does the choice of arithmetic: it follows from the device
and the model, so that the same command gives the same bits. A budget in minutes becomes a number of steps
after a short timed start, and the plan keeps that number; for other budgets the clock only tells how long
it will take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from triptych.core import device as devices
from triptych.runs.options import BUDGETS, Arithmetic, Options, Plan

DEFAULT_MINUTES = 5.0
AIM = 0.97  # share of the minutes that is planned: what is left is for a machine that slows down
OVERTIME = 1.05  # the clock ends a run at this share of its minutes
GUESS_SECONDS = 0.5  # of timed steps, where only a person waits for the answer, ...
GUESSED_STEPS = 200  # ... and from so many steps on


class Timing(NamedTuple):
    """What a few steps showed."""

    seconds_per_step: float | None  # None where only operations were counted
    flops_per_step: int


def arithmetic(options: Options, device: torch.device, channels_last: bool = False) -> tuple[Arithmetic, str]:
    """The arithmetic of a training, and why: a function of the options, the device and the model alone.

    channels_last: whether the model's networks are faster so on processors.
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
    """Choose arithmetic and number of steps.

    images: in the training split. time_steps: counts the operations of steps of a throw-away copy in an
    arithmetic, and times them for about so many seconds, 0 for not at all. channels_last: whether the
    model's networks are faster so on processors. Returns the plan and what was counted and timed.
    """
    device = devices.choose(options.device)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    chosen, why = arithmetic(options, device, channels_last)
    minutes = options.minutes
    if all(getattr(options, budget) is None for budget in BUDGETS):
        minutes = DEFAULT_MINUTES
    timing = time_steps(chosen, _patience(options, minutes, images))
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


def _patience(options: Options, minutes: float | None, images: int) -> float:
    """Seconds of timing: enough to plan minutes by, else for a guess, for a short run none."""
    if minutes is not None:
        return min(5.0, max(1.0, 60 * minutes * 0.02))
    if options.flops:
        return GUESS_SECONDS
    steps, _ = _steps(options, None, images, Timing(None, 1))
    return GUESS_SECONDS if steps >= GUESSED_STEPS else 0.0


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
