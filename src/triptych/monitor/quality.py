"""What keeps a game without a disease from being called healthy: poor samples, or what could not be asked."""

from __future__ import annotations

import math

import numpy as np

from triptych.monitor import thresholds as limits
from triptych.monitor.history import TrainingHistory
from triptych.monitor.symptoms import creeping, crowded, improving, widening


def faults(course: TrainingHistory) -> list[str]:
    """What is poor about the samples of late, in sentences with figures; none of it need be a disease."""
    if few(course):
        return []
    said = []
    shapes, halves = course.steady("shapes")[-1], course.steady("shapes_halves")[-1]
    if broken(course)[-1]:
        worse = "no nearer to real images than" if shapes < halves else "hardly nearer to real images than"
        said.append(
            f"shapes are {worse} images put together from halves of two ({shapes:.2f} of the real density "
            f"around a sample, those {halves:.2f})"
        )
    grain, blur = course.steady("grain")[-1], course.steady("blur")[-1]
    if grain > limits.GRAINY:
        said.append(
            f"grain: fine detail exceeds that of real images {grain:.1f} times as much as visible noise would"
        )
    elif blur < limits.JAGGED and math.isnan(grain):
        said.append("fine detail that the real images have not, as of a checkerboard")
    if blur > limits.BLURRED:
        said.append(f"blur: fine detail falls short of that of real images by {blur:.1f} times visible blur")
    if (crowded(course) | course.poor)[-1]:
        said.append("too few modes, or far from the data")
    return said


def broken(course: TrainingHistory) -> np.ndarray:
    """Looks at which shapes are about as far from real ones as those of halved images, (looks,) bool."""
    shapes, halves = course.steady("shapes"), course.steady("shapes_halves")
    with np.errstate(invalid="ignore", divide="ignore"):  # nan in looks of older runs, and of points
        way = np.log(np.maximum(shapes, 1e-6) / halves) / np.log(1 / halves)  # 0: halves, 1: real
        telling = halves < limits.TELLING
        return np.asarray(np.where(telling, way < limits.BROKEN, shapes < limits.FAR_BELOW * halves))


def unripe(course: TrainingHistory) -> bool:
    """Whether samples may be poor because the run is young, or are still getting better."""
    young = not bool(course.practised_for(limits.RIPE_TURNS)[-1])
    return young or improving(course) or creeping(course) or widening(course) or _sharpening(course)


def _sharpening(course: TrainingHistory) -> bool:
    """Whether ever more of the shapes are like real ones."""
    shapes = course.steady("shapes")
    half = shapes[len(shapes) // 2 :]
    third = max(1, len(half) // 3)
    return bool(np.median(half[-third:]) > limits.WIDENS * max(np.median(half[:third]), limits.TRIFLE))


def few(course: TrainingHistory) -> bool:
    """Whether a look has too few samples for anything to be said of them; unknown in older runs: no."""
    samples = course.seen("samples")
    return bool(len(samples)) and bool(samples[-1] < limits.FEWEST_SAMPLES)


def unasked(course: TrainingHistory) -> list[str]:
    """What the samples were not asked, and why, in sentences."""
    last = course.looks[-1]
    if few(course):
        return [
            f"diversity and quality were not asked: of {last['images']:,.0f} training images, "
            f"{last['samples']:,.0f} samples a look are too few to tell"
        ]
    halves = course.seen("shapes_halves")[-1]
    if "samples" in last and math.isnan(halves):
        return ["whether shapes are right was not asked: these are points or images of a few pixels"]
    if halves >= limits.TELLING and not broken(course)[-1]:
        return [
            "whether shapes are right was not asked: on these images the features hardly tell whole images "
            "from images put together from halves of two (triptych evaluate asks more)"
        ]
    return []
