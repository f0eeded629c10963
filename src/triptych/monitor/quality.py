"""Why a run without a training problem is not called healthy: poor samples, or what was not measured."""

from __future__ import annotations

import math

import numpy as np

from triptych.monitor import thresholds as limits
from triptych.monitor.history import TrainingHistory
from triptych.monitor.symptoms import gaining_diversity, improving, low_diversity, slowly_improving


def quality_problems(history: TrainingHistory) -> list[str]:
    """What is poor about the recent samples, in sentences with figures; no training problem by itself."""
    if too_few_samples(history):
        return []
    problems = []
    shapes, halves = history.smoothed("shape_density")[-1], history.smoothed("shape_density_halves")[-1]
    if shapes_broken(history)[-1]:
        worse = "no nearer to real images than" if shapes < halves else "hardly nearer to real images than"
        problems.append(
            f"shapes are {worse} images composed of halves of two (density of real images around a sample: "
            f"{shapes:.2f} of that around a real image, around a composed one {halves:.2f})"
        )
    grain, blur = history.smoothed("grain")[-1], history.smoothed("blur")[-1]
    if grain > limits.MAX_GRAIN:
        problems.append(
            f"grain: fine detail exceeds that of real images {grain:.1f} times as much as visible noise would"
        )
    elif blur < limits.CHECKERBOARD_BLUR and math.isnan(grain):
        problems.append("fine detail that real images do not have, as of a checkerboard pattern")
    if blur > limits.MAX_BLUR:
        problems.append(
            f"blur: fine detail falls short of that of real images by {blur:.1f} times visible blur"
        )
    if (low_diversity(history) | history.far_from_data)[-1]:
        problems.append("too few modes, or far from the data")
    return problems


def shapes_broken(history: TrainingHistory) -> np.ndarray:
    """Observations whose shapes are about as far from real ones as those of composed images, (T,) bool."""
    shapes, halves = history.smoothed("shape_density"), history.smoothed("shape_density_halves")
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN in older runs, and for 2-D points
        way = np.log(np.maximum(shapes, 1e-6) / halves) / np.log(1 / halves)  # 0: halves, 1: real
        informative = halves < limits.SHAPES_UNINFORMATIVE
        far_below = shapes < limits.SHAPES_FAR_BELOW_HALVES * halves
        return np.asarray(np.where(informative, way < limits.SHAPES_BROKEN, far_below))


def may_improve(history: TrainingHistory) -> bool:
    """Whether samples may be poor because the run is young, or are still getting better."""
    young = not bool(history.after_updates(limits.MATURE_UPDATES)[-1])
    better = improving(history) or slowly_improving(history) or gaining_diversity(history)
    return young or better or _shapes_improving(history)


def _shapes_improving(history: TrainingHistory) -> bool:
    """Whether ever more samples have shapes like real ones."""
    shapes = history.smoothed("shape_density")
    half = shapes[len(shapes) // 2 :]
    third = max(1, len(half) // 3)
    before = max(np.median(half[:third]), limits.TREND_MIN_CHANGE)
    return bool(np.median(half[-third:]) > limits.GROWN_DIVERSITY * before)


def too_few_samples(history: TrainingHistory) -> bool:
    """Whether an observation has too few samples to say anything; older runs, which do not tell: no."""
    samples = history.values("samples")
    return bool(len(samples)) and bool(samples[-1] < limits.MIN_SAMPLES)


def not_measured(history: TrainingHistory) -> list[str]:
    """What was not measured, and why, in sentences."""
    last = history.observations[-1]
    if too_few_samples(history):
        return [
            f"diversity and quality were not measured: {last['images']:,.0f} training images allow "
            f"{last['samples']:,.0f} samples per observation, which are too few"
        ]
    halves = history.values("shape_density_halves")[-1]
    if "samples" in last and math.isnan(halves):
        return ["shapes were not measured: these are 2-D points or images of a few pixels"]
    if halves >= limits.SHAPES_UNINFORMATIVE and not shapes_broken(history)[-1]:
        return [
            "shapes were not measured: on these images the features hardly distinguish whole images from "
            "images composed of halves of two (triptych evaluate measures more)"
        ]
    return []
