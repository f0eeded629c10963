"""Symptoms in a run's history: what samples and weights do, observation by observation."""

from __future__ import annotations

import numpy as np

from triptych.monitor import thresholds as limits
from triptych.monitor.history import TrainingHistory


def poor_or_narrow(history: TrainingHistory) -> np.ndarray:
    """Observations whose samples are neither good nor diverse, (T,) bool."""
    return (history.values("coverage") < limits.READABLE_COVERAGE) | low_diversity(history)


def improving(history: TrainingHistory) -> bool:
    """Whether samples come nearer to the data."""
    energy = history.values("energy_distance")  # images that fade come nearer to their nearest neighbor
    before, now = _then_and_now(history.values("data_distance") if np.isnan(energy).any() else energy)
    return now < limits.IMPROVED_DISTANCE * before


def slowly_improving(history: TrainingHistory) -> bool:
    """Whether samples come nearer to the data by steps too small for `improving`, but steadily."""
    energy = history.values("energy_distance")
    late = energy[len(energy) // 3 :]
    if len(late) < limits.TREND_MIN_OBSERVATIONS:
        return False
    falls = np.sign(late[:, None] - late[None, :])[np.triu_indices(len(late), 1)]  # Kendall's tau with time
    third = len(late) // 3
    before, now = np.median(late[:third]), np.median(late[-third:])
    return bool(falls.mean() > limits.TREND_TAU and now < (1 - limits.TREND_MIN_CHANGE) * before)


def gaining_diversity(history: TrainingHistory) -> bool:
    """Whether samples become more diverse, or cover more of the data."""
    names = ("modes", "pairwise_distance", "coverage")
    pairs = {name: _then_and_now(history.smoothed(name)) for name in names}
    if pairs["coverage"][1] < limits.LOW_COVERAGE:
        del pairs["coverage"]  # a few images more by chance
    return any(now > limits.GROWN_DIVERSITY * before for before, now in pairs.values())


def _then_and_now(values: np.ndarray) -> tuple[float, float]:
    """Medians of the first and the last third of the run's second half so far."""
    half = values[len(values) // 2 :]
    third = max(1, len(half) // 3)
    return float(np.median(half[:third])), float(np.median(half[-third:]))


def low_diversity(history: TrainingHistory) -> np.ndarray:
    """Observations whose samples repeat each other or have few modes left, (T,) bool."""
    few = history.smoothed("modes") < limits.LOW_MODES
    same = history.values("pairwise_distance") < limits.LOW_PAIRWISE
    return few | same | near_duplicates(history)


def few_but_diverse_modes(history: TrainingHistory) -> np.ndarray:
    """Observations with few, but not very few modes, and diversity within them, (T,) bool."""
    some = history.smoothed("modes") > limits.LOW_MODES / 2
    diverse = history.values("pairwise_distance") > limits.DIVERSE_PAIRWISE
    diverse &= history.values("coverage") > limits.LOW_COVERAGE
    return np.asarray(some & diverse & ~near_duplicates(history))


def near_duplicates(history: TrainingHistory) -> np.ndarray:
    """Observations whose samples are closer to each other than real images ever are, (T,) bool."""
    near = history.values("nearest_sample_ratio") < limits.LOW_NEAREST_SAMPLE
    return near | (history.values("duplicates") > limits.MAX_DUPLICATES)


def early_near_duplicates(history: TrainingHistory) -> np.ndarray:
    """Observations with more near-duplicates than a normal start has, (T,) bool.

    An untrained generator's samples are all one gray: near-duplicates count if the samples are spread over
    the data, or are farther from it than the untrained ones, and elsewhere.
    """
    near = history.values("nearest_sample_ratio") < limits.VERY_LOW_NEAREST_SAMPLE
    again = near | (history.values("duplicates") > limits.MAX_DUPLICATES)
    elsewhere = history.samples_moved & (history.relative_distance > limits.WORSE_THAN_UNTRAINED)
    return np.asarray(again & ((history.smoothed("pairwise_distance") > limits.LOW_PAIRWISE) | elsewhere))


def mature(history: TrainingHistory) -> np.ndarray:
    """Observations after so many updates that few modes, or poor samples, are no start, (T,) bool."""
    return history.after_updates(limits.MATURE_UPDATES)


def lost_diversity(history: TrainingHistory) -> np.ndarray:
    """Observations whose samples are far less diverse than earlier ones were, (T,) bool."""
    if not len(history):
        return np.zeros(0, dtype=bool)
    modes, pairwise = history.smoothed("modes"), history.smoothed("pairwise_distance")
    most = [np.maximum.accumulate(np.nan_to_num(values)) for values in (modes, pairwise)]
    factor = limits.DIVERSITY_LOSS_FACTOR
    with np.errstate(invalid="ignore"):
        fewer = (most[0] > factor * modes) & (most[0] > factor * limits.LOW_MODES)
        nearer = (most[1] > factor * pairwise) & (most[1] > factor * limits.LOW_PAIRWISE)
        return np.asarray(np.where(mature(history), fewer | nearer, fewer & nearer))


def worsened(history: TrainingHistory) -> np.ndarray:
    """Observations whose samples are much farther from the data than earlier ones were, (T,) bool."""
    if not len(history):
        return np.zeros(0, dtype=bool)
    distance = history.smoothed("relative_distance")
    best = np.fmin.accumulate(distance)
    with np.errstate(invalid="ignore"):
        return np.asarray(distance - best > limits.FAR_FROM_DATA)


def weight_movement(history: TrainingHistory, network: str) -> np.ndarray:
    """Measure how far a network's weights moved since the previous observation.

    Args:
        history: The run so far.
        network: The network's name in the log, as "generator".

    Returns:
        (T,) RMS change of the probed weights over their RMS; NaN where they were not recorded.
    """
    weights, start = history.weights(network), history.initial_weights(network)
    if weights.shape[1] == 0:
        return np.full(len(history), np.nan)
    before = np.vstack([weights[:1] if start is None else start[None], weights[:-1]])
    size = np.sqrt(np.square(weights).mean(axis=1))
    return np.sqrt(np.square(weights - before).mean(axis=1)) / np.maximum(size, 1e-30)


def missing_classes(history: TrainingHistory) -> np.ndarray:
    """Observations whose images are good, but of few of the data's classes and modes, (T,) bool.

    Only where the label probe is accurate: another assigns images without clear shapes to one or two classes.
    """
    with np.errstate(invalid="ignore"):
        few = history.smoothed("class_diversity_ratio") < limits.LOW_CLASS_DIVERSITY
        few &= history.smoothed("modes") < limits.LOW_CLASS_DIVERSITY
        good = history.values("coverage") > limits.READABLE_COVERAGE
        return np.asarray(few & good & (history.values("label_association_real") > limits.ACCURATE_PROBE))


def probe_unreliable(history: TrainingHistory) -> np.ndarray:
    """Observations in which the label probe finds too few of the classes to be trusted, (T,) bool."""
    with np.errstate(invalid="ignore"):  # older runs have not recorded it
        return np.asarray(history.smoothed("class_diversity_ratio") < limits.READABLE_CLASS_DIVERSITY)


def label_association_absent(association: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Decide where samples do not show the label they were conditioned on.

    Args:
        association: (T,) or a scalar array: Cramer's V squared of label and predicted class on samples.
        real: The same on held-out real images.

    Returns:
        Bool, of the same shape.
    """
    share = np.where(real > limits.ACCURATE_PROBE, limits.LABELS_ABSENT_ACCURATE, limits.LABELS_ABSENT)
    return np.asarray(association < share * real)


def labels_emerging(history: TrainingHistory) -> bool:
    """Whether samples begin to show their labels: above the threshold of absence, and rising."""
    before, now = _then_and_now(history.values("label_association"))
    floor = limits.LABELS_ABSENT * history.values("label_association_real")[-1]
    return now > floor and now > limits.GROWN_DIVERSITY * before
