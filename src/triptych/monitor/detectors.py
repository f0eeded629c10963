"""Detectors of training problems: each gives a diagnosis, or None."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from triptych.core.objectives import AdversarialSpec
from triptych.monitor import thresholds as limits
from triptych.monitor.history import TrainingHistory
from triptych.monitor.quality import too_few_samples
from triptych.monitor.symptoms import (
    early_near_duplicates,
    few_but_diverse_modes,
    gaining_diversity,
    improving,
    label_association_absent,
    labels_emerging,
    lost_diversity,
    low_diversity,
    mature,
    near_duplicates,
    poor_or_narrow,
    probe_unreliable,
    slowly_improving,
    weight_movement,
    worsened,
)
from triptych.monitor.verdicts import (
    Diagnosis,
    critic_gap,
    critic_summary,
    remaining_modes,
    sample_summary,
)


def find_non_finite(history: TrainingHistory, spec: AdversarialSpec) -> Diagnosis | None:
    """Find a NaN or infinite loss, weight or gradient; divergence if values had exploded before it.

    Args:
        history: The run so far.
        spec: The names of the two networks, and what the critic's output means.

    Returns:
        The diagnosis; None if every value is finite.
    """
    failures = [(int(record["step"]), str(record["failure"])) for record in history.failures]
    failures += [
        (int(line["step"]), f"{name} became {value} by step {line['step']}")
        for line in history.log
        for name, value in line.items()
        if isinstance(value, float) and not math.isfinite(value)
    ]
    if not failures:
        return None
    step, sentence = failures[0]
    before = [line for line in history.log if line["step"] <= step][-limits.LINES_BEFORE_FAILURE :]
    for name, base in _expected_sizes(history, spec).items():
        values = [abs(line[name]) for line in before if math.isfinite(line.get(name, math.nan))]
        if max(values, default=0.0) > limits.EXPLODED * base:
            grew = f"{name} reached {max(values):.3g}; about {base:.2g} is normal"
            return Diagnosis("divergence", int(before[0]["step"]), (grew, sentence), fatal=True)
    return Diagnosis("non-finite values", step, (sentence,), fatal=True)


def _find_critic_not_learning(history: TrainingHistory, spec: AdversarialSpec) -> Diagnosis | None:
    """The critic's weights stand still, or it is no better than chance on images unlike the data."""
    critic, generator = weight_movement(history, spec.critic), weight_movement(history, spec.generator)
    summaries = (critic_summary(history, spec), sample_summary(history))
    if (since := _critic_static_since(history, spec)) is not None:
        share = history.recent_median(critic) / max(history.recent_median(generator), 1e-30)
        moves = f"the {spec.critic}'s weights move {share:.1g} times as far as the {spec.generator}'s"
        return Diagnosis("critic not learning", since, (moves, *summaries))
    real, fake = history.logged(f"{spec.critic}/real"), history.logged(f"{spec.critic}/fake")
    margin = limits.CRITIC_INVERTED_MARGIN if spec.critic_output == "probabilities" else 0.0
    since = history.persists_since((fake - real > margin) & history.far_from_data)
    error = f"the {spec.critic} rates fakes above real images, although they are unlike the data"
    if since is None:
        since = history.persists_since(_critic_blind(history, spec), warmup=2 * limits.WARMUP_SHARE)
        error = f"the {spec.critic} does not distinguish fakes from real images, although they are unlike"
    if since is None:
        return None
    return Diagnosis("critic not learning", since, (error, *summaries))


def _critic_static_since(history: TrainingHistory, spec: AdversarialSpec) -> int | None:
    """The step since which the critic's weights have not moved, though the generator's have."""
    critic, generator = weight_movement(history, spec.critic), weight_movement(history, spec.generator)
    with np.errstate(invalid="ignore"):
        return history.persists_since((critic <= limits.STATIC_WEIGHTS * generator) & (generator > 0))


def _find_generator_not_learning(history: TrainingHistory, spec: AdversarialSpec) -> Diagnosis | None:
    """The generator's weights stand still, or it is where it began, in its weights and in its samples."""
    generator, critic = weight_movement(history, spec.generator), weight_movement(history, spec.critic)
    summaries = (sample_summary(history), critic_summary(history, spec))
    with np.errstate(invalid="ignore"):  # no gradient is so small that Adam would not move at all
        stopped = (generator <= limits.STATIC_WEIGHTS**2 * critic) & (critic > 0)
        stopped &= history.was_updated(spec.generator)
    if (since := history.persists_since(stopped)) is not None:
        static = f"the {spec.generator}'s weights do not move, although those of the {spec.critic} do"
        return Diagnosis("generator not learning", since, (static, *summaries))
    away, name = history.weight_displacement(spec.generator), f"{spec.generator}/gradient"
    with np.errstate(invalid="ignore"):
        vanished = history.logged(name) < limits.VANISHED_GRADIENT * history.early_maximum(name)
        idle = (away < limits.UNMOVED_WEIGHTS) & ~history.samples_moved & history.far_from_data
        idle &= history.minimally_trained & ~vanished  # else the critic is the cause
    if (since := history.persists_since(idle, warmup=2 * limits.WARMUP_SHARE)) is None:
        return None
    moved = f"the {spec.generator}'s weights have moved {away[-1]:.1g} of their size from where they began"
    return Diagnosis("generator not learning", since, (moved, *summaries))


def _critic_blind(history: TrainingHistory, spec: AdversarialSpec) -> np.ndarray:
    """Observations at which the critic sees no difference although there is one, (T,) bool."""
    gap = critic_gap(history, spec)
    if gap is None:
        return np.zeros(len(history), dtype=bool)
    return np.asarray((gap < limits.CRITIC_BLIND_GAP) & poor_or_narrow(history) & history.left_start)


def _find_critic_too_strong(history: TrainingHistory, spec: AdversarialSpec) -> Diagnosis | None:
    """The critic is confident of every image; the generator's gradient vanishes, or leads nowhere.

    Not in a young run: many a good one begins with a critic that wins.
    """
    real, fake = history.logged(f"{spec.critic}/real"), history.logged(f"{spec.critic}/fake")
    name = f"{spec.generator}/gradient"
    gradient, early = history.logged(name), history.early_maximum(name)
    vanished = gradient < limits.VANISHED_GRADIENT * early
    confident = history.after_updates(limits.CRITIC_UPDATES)
    if spec.critic_output == "probabilities":
        confident &= (fake < limits.CRITIC_SATURATED) & (real > 1 - limits.CRITIC_SATURATED)
    # a critic that is a little less confident again has mended nothing while the samples stay as they are
    far = history.far_from_data
    since = history.persists_since(vanished & confident, limits.WARMUP_SHARE / 2, aftermath=far)
    ratio = history.recent_median(gradient) / early if early else math.nan
    faded = f"the {spec.generator}'s gradient norm is {ratio:.1g} of what it was early on"
    summaries = (critic_summary(history, spec), sample_summary(history))
    if since is not None and (far[-1] or ratio < limits.VANISHED_GRADIENT / 10):
        return Diagnosis("critic too strong", since, (faded, *summaries), fatal=True)
    if spec.critic_output != "probabilities":
        return None
    if (since := history.persists_since(confident & far)) is None:
        return None
    certain = f"the {spec.critic} is confident of every image, and the samples stay unlike the data"
    return Diagnosis("critic too strong", since, (certain, faded, *summaries))


def _find_explosion(history: TrainingHistory, spec: AdversarialSpec) -> Diagnosis | None:
    """Weights, gradients or losses that grew out of all proportion: a learning rate that is far too high."""
    growth = {network: history.weight_growth(network) for network in (spec.critic, spec.generator)}
    with np.errstate(invalid="ignore"):
        fast = np.logical_or(*(g > limits.WEIGHT_GROWTH for g in growth.values()))
    # a learning rate that was ruinous at the start is no better since
    since, evidence = history.persists_since(np.logical_or.accumulate(fast), warmup=0.0), []
    if since is not None:
        sizes = " and ".join(
            f"the {network}'s are {1 + g[-1] * math.sqrt(history.updates(network)[-1]):.3g}"
            for network, g in growth.items()
        )
        evidence = [f"the weights exploded: {sizes} times the size of their start"]
    # what a burst may leave behind for good
    damaged = history.far_from_data | low_diversity(history) | _critic_blind(history, spec)
    for name, base in _expected_sizes(history, spec).items():
        with np.errstate(invalid="ignore"):
            exploded = np.abs(history.logged(name)) > limits.EXPLODED * base
            burst = np.logical_or.accumulate(history.logged_peaks(name) > limits.EXPLODED * base)
        from_step = history.persists_since(exploded, warmup=0.0)
        if from_step is None and name.endswith("/loss"):  # a burst long past, without recovery
            from_step = history.persists_since(burst, warmup=0.0) and history.persists_since(burst & damaged)
        if from_step is not None:
            since = from_step if since is None else min(since, from_step)
            peak = np.nanmax(history.logged_peaks(name))
            evidence.append(f"{name} reached {peak:.3g}; about {base:.2g} is normal")
    stopped = _critic_static_since(history, spec)
    if since is None or (stopped is not None and stopped < since):  # the generator leaves a static critic
        return None
    fatal = history.persists_since(history.far_from_data) is not None
    sentences = (*evidence, sample_summary(history), critic_summary(history, spec))
    return Diagnosis("divergence", since, sentences, fatal=fatal)


def _expected_sizes(history: TrainingHistory, spec: AdversarialSpec) -> dict[str, float]:
    """The size that gradient norms and losses should not exceed a hundred times, by their name in the log."""
    networks = (spec.critic, spec.generator)
    sizes = {f"{network}/gradient": history.early_median(f"{network}/gradient") for network in networks}
    if spec.critic_output == "probabilities":  # a guess costs ln 2; scores have no scale
        sizes |= {f"{network}/loss": math.log(2) for network in networks}
    return {name: size for name, size in sizes.items() if size > 0}


def _find_far_from_data(history: TrainingHistory, spec: AdversarialSpec) -> Diagnosis | None:
    """Samples unlike the data that get no better, and not only because the run is young."""
    old = mature(history) | worsened(history)
    since = history.persists_since(history.far_from_data & history.left_start & old)
    if since is None or too_few_samples(history) or improving(history) or slowly_improving(history):
        return None
    if history.recent_median(low_diversity(history).astype(float)) >= 0.5:
        return None  # one poor image again and again: mode collapse
    sentences = (sample_summary(history), critic_summary(history, spec))
    return Diagnosis("divergence", since, sentences, fatal=True)


def _find_mode_collapse(history: TrainingHistory, spec: AdversarialSpec) -> Diagnosis | None:
    """The samples repeat each other, lost a diversity they had, or never got any in a long run.

    Few modes alone are how every run begins and a short one ends: blurs of the mean fall into one mode.
    """
    if too_few_samples(history):
        return None
    again = near_duplicates(history) & (mature(history) | early_near_duplicates(history))
    moved = history.left_start | (history.samples_moved & history.minimally_trained)
    since = history.persists_since(again & moved)
    # few modes that become more, or one blur that sharpens
    slow_start = gaining_diversity(history) or (slowly_improving(history) and history.far_from_data[-1])
    narrowed = low_diversity(history) & history.left_start & (mature(history) | lost_diversity(history))
    if since is None and not slow_start:
        since = history.persists_since(narrowed & ~few_but_diverse_modes(history))
    fatal = since is not None
    if since is None and not slow_start:  # it may yet widen: many a good run has been so in its middle
        since = history.persists_since(narrowed, warmup=limits.LOW_MODES_WARMUP)
    if since is None or (improving(history) and history.far_from_data[-1]):
        return None
    evidence = _collapse_evidence(history)
    return Diagnosis("mode collapse", since, (*evidence, sample_summary(history)), fatal=fatal)


def _collapse_evidence(history: TrainingHistory) -> list[str]:
    names = ("modes", "nearest_sample_ratio", "pairwise_distance", "duplicates")
    recent = {name: history.recent_median(history.values(name)) for name in names}
    evidence = []
    if recent["modes"] < limits.LOW_MODES:
        evidence.append(f"{recent['modes']:.0%} of the data's modes are left: {remaining_modes(history)}")
    if recent["nearest_sample_ratio"] < limits.LOW_NEAREST_SAMPLE:
        evidence.append(
            f"relative to the mean pairwise distance, the nearest other sample is "
            f"{recent['nearest_sample_ratio']:.2f} times as far as among real images: samples lie on a "
            "set of low dimension"
        )
    if recent["pairwise_distance"] < limits.LOW_PAIRWISE:
        evidence.append(
            f"two samples are {recent['pairwise_distance']:.2f} times as far apart as two real images"
        )
    if recent["duplicates"] > limits.MAX_DUPLICATES:
        evidence.append(f"{recent['duplicates']:.0%} of the samples have a near-duplicate among the others")
    return evidence or ["few modes and near-duplicates alternate"]


def _find_ignored_labels(history: TrainingHistory, spec: AdversarialSpec) -> Diagnosis | None:
    """Samples of a conditional model that do not show the label they were conditioned on."""
    association, real = history.values("label_association"), history.values("label_association_real")
    if np.isnan(association).all() or too_few_samples(history):
        return None
    span = history.required_observations
    recent = np.array([association[max(0, k - span) : k + 1].mean() for k in range(len(association))])
    meaningless = bool(real[-1] < limits.LABELS_UNREADABLE)
    good = history.relative_distance < limits.READABLE_DISTANCE
    good &= history.values("coverage") > limits.READABLE_COVERAGE
    good &= history.after_updates(limits.LABEL_UPDATES)
    if labels_emerging(history) and not meaningless:
        return None
    absent = label_association_absent(recent, real) & good & ~probe_unreliable(history)
    symptom = (absent | meaningless) & ~history.far_from_data
    if (since := history.persists_since(symptom, warmup=limits.LABELS_WARMUP)) is None:
        return None
    figures = (
        f"the association of label and image (Cramer's V, 0 is chance) is {max(recent[-1], 0.0) ** 0.5:.2f} "
        f"in samples conditioned on the labels and {max(real[-1], 0.0) ** 0.5:.2f} in real images"
    )
    reason = (
        "the training images themselves do not show their labels"
        if meaningless
        else "samples of different labels are alike: the condition has no effect"
    )
    return Diagnosis("labels have no effect", since, (figures, reason))


def _find_oscillation(history: TrainingHistory, spec: AdversarialSpec) -> Diagnosis | None:
    """From observation to observation the samples change modes rather than settle."""
    with np.errstate(divide="ignore", invalid="ignore"):
        swing = np.abs(np.diff(np.log(history.values("modes")), prepend=np.nan))
    recent = np.array([np.nanmedian(swing[max(1, k - 5) : k + 2]) for k in range(len(swing))])
    shift = history.values("mode_shift")
    symptom = (shift > limits.MODE_SHIFT) & (recent > limits.MODE_SWING)
    symptom = (symptom | (shift > limits.LARGE_MODE_SHIFT)) & history.minimally_trained
    if too_few_samples(history):
        return None
    if (since := history.persists_since(symptom, warmup=2 * limits.WARMUP_SHARE)) is None:
        return None
    figures = (
        f"from one observation to the next {history.recent_median(shift):.0%} of the samples change their "
        f"mode, and the number of modes changes by {history.recent_median(swing):.0%}"
    )
    sentences = (figures, critic_summary(history, spec), sample_summary(history))
    return Diagnosis("oscillation", since, sentences)


Detector = Callable[[TrainingHistory, AdversarialSpec], Diagnosis | None]
DETECTORS: Sequence[Detector] = (
    _find_explosion,
    _find_critic_not_learning,
    _find_generator_not_learning,
    _find_critic_too_strong,
    _find_far_from_data,
    _find_mode_collapse,
    _find_ignored_labels,
    _find_oscillation,
)
