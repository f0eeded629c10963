"""From a run's log and observations to a diagnosis in words."""

from __future__ import annotations

from dataclasses import replace

from triptych.core.objectives import AdversarialSpec
from triptych.monitor import thresholds as limits
from triptych.monitor.detectors import DETECTORS, find_non_finite
from triptych.monitor.history import Records, TrainingHistory
from triptych.monitor.quality import may_improve, not_measured, quality_problems, too_few_samples
from triptych.monitor.symptoms import low_diversity, missing_classes, probe_unreliable
from triptych.monitor.verdicts import PROBE_UNRELIABLE, Diagnosis, Verdict, critic_gap, remaining_modes


def diagnose(log: Records, observations: Records, spec: AdversarialSpec, steps: int) -> Diagnosis:
    """Diagnose an adversarial training.

    A symptom counts when it has persisted (`thresholds`), so that neither one bad observation nor early noise
    is an alarm. Detectors run in the order of `detectors.DETECTORS`: a cause before what it leads to.

    Args:
        log: Lines of log.jsonl so far.
        observations: Lines of monitor.jsonl so far, as `records.observations` gives them.
        spec: The names of the two networks, and what the critic's output means.
        steps: Planned for the whole run.

    Returns:
        The first problem that a detector finds, with the others as `secondary`; else what can be said of the
        samples.
    """
    history = TrainingHistory(log, observations, steps)
    results = [find_non_finite(history, spec)]
    if len(history) >= limits.MIN_OBSERVATIONS:
        results += [detector(history, spec) for detector in DETECTORS]
    problems = [diagnosis for diagnosis in results if diagnosis is not None]
    if problems:
        first = problems[0]
        others = dict.fromkeys(d.verdict for d in problems[1:] if d.verdict != first.verdict)
        return replace(first, secondary=tuple(others))
    warmup = limits.WARMUP_SHARE * steps
    if len(history) < limits.MIN_OBSERVATIONS or history.steps[-1] <= warmup:
        return Diagnosis("too early", evidence=(_too_early(history),))
    return _without_problem(history, spec)


def _too_early(history: TrainingHistory) -> str:
    done = max([int(history.steps[-1]) if len(history) else 0, *(int(line["step"]) for line in history.log)])
    return (
        f"{len(history)} observations in the first {done:,} of {history.total_steps:,} steps; a diagnosis "
        f"needs {limits.MIN_OBSERVATIONS}, and a quarter of the steps"
    )


def _without_problem(history: TrainingHistory, spec: AdversarialSpec) -> Diagnosis:
    """Say whether the samples of a training without a problem are good, as far as that was measured."""
    poor, open_questions = quality_problems(history), not_measured(history)
    symptoms = low_diversity(history) | history.far_from_data
    clean = not symptoms[-1]
    remarks = (_diversity_summary(history), *_remarks(history, spec), *open_questions)
    if too_few_samples(history):
        return Diagnosis("not assessed", evidence=tuple(open_questions), clean=True)
    if not clean and history.persists_since(symptoms, warmup=0.0) is None:
        latest = "the last samples are poor, those before were not"
        return Diagnosis("too early", evidence=(latest, *poor, *remarks))
    if poor and may_improve(history):
        return Diagnosis("still learning", evidence=(*poor, *remarks), clean=clean)
    if poor:
        return Diagnosis("poor image quality", evidence=(*poor, *remarks), clean=clean)
    if open_questions:
        return Diagnosis("not assessed", evidence=("no problem was found", *remarks), clean=True)
    return Diagnosis("healthy", evidence=remarks, clean=True)


def _remarks(history: TrainingHistory, spec: AdversarialSpec) -> list[str]:
    """What else is worth saying of a training without a problem."""
    last = history.observations[-1]
    unreliable = "label_association" in last and probe_unreliable(history)[-1]
    reason = last.get("labels_not_measured") or (PROBE_UNRELIABLE if unreliable else None)
    remarks = [f"whether samples show their labels was not measured: {reason}"] if reason else []
    if history.persists_since(missing_classes(history)) is not None:  # no verdict: blurs look like one class
        diversity = history.recent_median(history.values("class_diversity_ratio"))
        remarks.append(
            f"the label probe finds only {diversity:.0%} of the data's classes in the samples: "
            f"{remaining_modes(history)}"
        )
    gap = critic_gap(history, spec)
    if gap is not None and history.recent_median(gap) < limits.CRITIC_BLIND_GAP:
        remarks.append(
            f"the {spec.critic} hardly distinguishes real from fake (its mean outputs are "
            f"{history.recent_median(gap):.1g} apart): it has little left to teach; unless the samples are "
            "perfect, it is regularized too strongly"
        )
    return remarks


def alarms(
    log: Records, observations: Records, spec: AdversarialSpec, steps: int
) -> list[tuple[int, Verdict]]:
    """Replay a run and list every observation at which a problem was reported.

    Args:
        log: As for `diagnose`.
        observations: As for `diagnose`.
        spec: As for `diagnose`.
        steps: As for `diagnose`.

    Returns:
        (step, verdict) of each of these observations.
    """
    reported = []
    for k, record in enumerate(observations, start=1):
        so_far = [line for line in log if line["step"] <= record["step"]]
        diagnosis = diagnose(so_far, observations[:k], spec, steps)
        if diagnosis.is_problem:
            reported.append((int(record["step"]), diagnosis.verdict))
    return reported


def _diversity_summary(history: TrainingHistory) -> str:
    modes = history.recent_median(history.values("modes"))
    nearest = history.recent_median(history.values("nearest_sample_ratio"))
    distance = history.recent_median(history.values("data_distance"))
    return (
        f"{modes:.0%} of the data's modes; distance to the nearest other sample {nearest:.2f} and to the "
        f"data {distance:.2f} times that of real images"
    )
