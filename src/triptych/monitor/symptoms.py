"""Signs in a run's course: what pictures and weights do, look by look."""

from __future__ import annotations

import numpy as np

from triptych.monitor import thresholds as limits
from triptych.monitor.history import TrainingHistory


def unwell(course: TrainingHistory) -> np.ndarray:
    """Looks at which pictures are neither good nor diverse, (looks,) bool."""
    return (course.seen("covered") < limits.READABLE_COVERED) | crowded(course)


def improving(course: TrainingHistory) -> bool:
    """Whether pictures come nearer to the data."""
    energy = course.seen("energy")  # pictures that fade lie nearer to their nearest neighbour
    before, now = _then_and_now(course.seen("distance") if np.isnan(energy).any() else energy)
    return now < limits.IMPROVES * before


def creeping(course: TrainingHistory) -> bool:
    """Whether pictures come nearer to the data by steps too small for `improving`, but steadily."""
    energy = course.seen("energy")
    late = energy[len(energy) // 3 :]
    if len(late) < limits.STEADY_LOOKS:
        return False
    falls = np.sign(late[:, None] - late[None, :])[np.triu_indices(len(late), 1)]  # Kendall's tau with time
    third = len(late) // 3
    before, now = np.median(late[:third]), np.median(late[-third:])
    return bool(falls.mean() > limits.STEADILY and now < (1 - limits.TRIFLE) * before)


def widening(course: TrainingHistory) -> bool:
    """Whether samples become more diverse, or reach more of the data."""
    pairs = {name: _then_and_now(course.steady(name)) for name in ("modes", "spread", "covered")}
    if pairs["covered"][1] < limits.UNCOVERED:
        del pairs["covered"]  # a few pictures more by chance
    return any(now > limits.WIDENS * before for before, now in pairs.values())


def _then_and_now(values: np.ndarray) -> tuple[float, float]:
    """Medians of the first and the last third of the run's second half so far."""
    half = values[len(values) // 2 :]
    third = max(1, len(half) // 3)
    return float(np.median(half[:third])), float(np.median(half[-third:]))


def crowded(course: TrainingHistory) -> np.ndarray:
    """Looks at which samples repeat each other, or few modes are left: (looks,) bool."""
    few = course.steady("modes") < limits.FEW_MODES
    same = course.seen("spread") < limits.SAME
    return few | same | repeating(course)


def narrow(course: TrainingHistory) -> np.ndarray:
    """Looks at which modes are few, but not very few, and varied within, (looks,) bool."""
    some = course.steady("modes") > limits.FEW_MODES / 2
    varied = (course.seen("spread") > limits.VARIED) & (course.seen("covered") > limits.UNCOVERED)
    return np.asarray(some & varied & ~repeating(course))


def repeating(course: TrainingHistory) -> np.ndarray:
    """Looks at which samples lie closer to each other than those of the data ever do, (looks,) bool."""
    near = course.seen("sparse") < limits.CROWDED
    return near | (course.seen("duplicates") > limits.DUPLICATES)


def stuck(course: TrainingHistory) -> np.ndarray:
    """Looks at which samples repeat each other as no beginning does, (looks,) bool.

    An untrained generator's are all one gray: what repeats must be spread over the data, or lie farther from
    it than those, elsewhere.
    """
    near = course.seen("sparse") < limits.STUCK
    again = near | (course.seen("duplicates") > limits.DUPLICATES)
    elsewhere = course.strayed & (course.poorness > limits.WORSE)
    return np.asarray(again & ((course.steady("spread") > limits.SAME) | elsewhere))


def ripe(course: TrainingHistory) -> np.ndarray:
    """Looks after moves so many that few modes, or poor samples, are no beginning any more, (looks,) bool."""
    return course.practised_for(limits.RIPE_TURNS)


def lost_variety(course: TrainingHistory) -> np.ndarray:
    """Looks whose samples are far less varied than earlier ones were, (looks,) bool."""
    if not len(course):
        return np.zeros(0, dtype=bool)
    modes, spread = course.steady("modes"), course.steady("spread")
    most = [np.maximum.accumulate(np.nan_to_num(values)) for values in (modes, spread)]
    with np.errstate(invalid="ignore"):
        fewer = (most[0] > limits.LOSES * modes) & (most[0] > limits.LOSES * limits.FEW_MODES)
        nearer = (most[1] > limits.LOSES * spread) & (most[1] > limits.LOSES * limits.SAME)
        return np.asarray(np.where(ripe(course), fewer | nearer, fewer & nearer))


def worsened(course: TrainingHistory) -> np.ndarray:
    """Looks whose samples are much farther from the data than earlier ones were, (looks,) bool."""
    if not len(course):
        return np.zeros(0, dtype=bool)
    far = course.steady("poorness")
    best = np.fmin.accumulate(far)
    with np.errstate(invalid="ignore"):
        return np.asarray(far - best > limits.POOR)


def movement(course: TrainingHistory, player: str) -> np.ndarray:
    """How far a player's probed weights moved since the look before, beside their size: (looks,)."""
    weights, start = course.weights(player), course.start(player)
    if weights.shape[1] == 0:
        return np.full(len(course), np.nan)
    before = np.vstack([weights[:1] if start is None else start[None], weights[:-1]])
    size = np.sqrt(np.square(weights).mean(axis=1))
    return np.sqrt(np.square(weights - before).mean(axis=1)) / np.maximum(size, 1e-30)


def classes_lost(course: TrainingHistory) -> np.ndarray:
    """Looks whose pictures are good, but of few of the data's classes and modes, (looks,) bool.

    Asked only of a reader that is rarely wrong: another takes what has no clear shape for one or two classes.
    """
    with np.errstate(invalid="ignore"):
        few = (course.steady("kinds") < limits.LOST_KINDS) & (course.steady("modes") < limits.LOST_KINDS)
        good = course.seen("covered") > limits.READABLE_COVERED
        return np.asarray(few & good & (course.seen("told_real") > limits.SHARP))


def shapeless(course: TrainingHistory) -> np.ndarray:
    """Looks in whose samples the reader finds too few of the data's classes to be trusted, (looks,) bool."""
    with np.errstate(invalid="ignore"):
        return np.asarray(course.steady("kinds") < limits.READABLE_KINDS)  # unknown in looks of older runs


def hardly_told(told: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Where so little of a label is read, beside what is read from real pictures, that it says nothing."""
    return np.asarray(told < np.where(real > limits.SHARP, limits.MUMBLED, limits.SILENT) * real)


def taking_hold(course: TrainingHistory) -> bool:
    """Whether labels begin to show: more is read of them than silence explains, and ever more."""
    before, now = _then_and_now(course.seen("told"))
    return now > limits.SILENT * course.seen("told_real")[-1] and now > limits.WIDENS * before
