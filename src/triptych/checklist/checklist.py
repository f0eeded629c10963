"""Answers every question of the checklist from a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from triptych.checklist.answers import Answer, not_applicable, pass_or_fail, unknown
from triptych.checklist.architecture import rules
from triptych.checklist.finite import finite, usable, varied
from triptych.checklist.losses import losses
from triptych.checklist.optimizers import optimizers
from triptych.data.dataset import Dataset, Split
from triptych.data.load import reopen
from triptych.evaluation.records import Evaluation, evaluations
from triptych.metrics.score import Score
from triptych.models.registry import AnyModel, build
from triptych.monitor import thresholds as limits
from triptych.monitor.gan_monitor import diagnose_run
from triptych.monitor.records import observations
from triptych.monitor.symptoms import label_association_absent
from triptych.monitor.verdicts import PROBE_UNRELIABLE, Diagnosis
from triptych.runs.run import Run, open_run
from triptych.runs.weights import NAMES, Which
from triptych.runs.weights import checked as known_weights
from triptych.runs.weights import choose as choose_weights
from triptych.training.trainer import Trainer
from triptych.viz.svg import short

Model = AnyModel | type[AnyModel]
LABELS = "do the samples show their labels"
NO_EFFECT = "labels have no effect"
NO_PROBLEM = ("healthy", NO_EFFECT)  # verdicts that say nothing against the images themselves
UNDECIDED = ("too early", "still learning", "not assessed")  # verdicts that leave open whether they are good
UNFINISHED = ("too early", "still learning")
ASSESSED_METRICS = ("precision", "recall", "coverage")  # their floors hardly depend on the number of samples
ACCEPTABLE_SHARE = 0.5  # of the score of real images, from which on samples are called good


def check(
    path: Path | str, *, model_file: str | None = None, data: Any = None, weights: str = "auto"
) -> list[Answer]:
    """Answer the usual checklist for GANs from a run: losses, architecture, optimizer, balance, samples.

    What the run lacks is answered "not known"; a newest checkpoint that is damaged is "not ok", and the one
    before it is checked. A run that cannot be read is a RunError.

    Args:
        path: The run's directory.
        model_file: The path of the user's own file, if the model lives in one.
        data: The images, where they were given from Python.
        weights: Whose samples are assessed: "raw", "ema" or "auto", those that the run uses for sampling.

    Returns:
        The answers, in the order of the chapters.
    """
    requested, run = known_weights(weights), open_run(path)
    tensors, meta, complaints = run.load_checkpoint()
    kept: list[Which] = ["raw", "ema"] if "ema" in tensors else ["raw"]
    sampled = choose_weights(requested, meta.comparison, kept, str(path))
    dataset = _images(run, data)
    built = build(run.card, model_file)
    options = run.card.options.model_copy(update={"device": "cpu"})
    plan = run.card.plan.model_copy(update={"device": "cpu", "channels_last": False, "precision": "fp32"})
    split = _no_images(built) if isinstance(dataset, str) else dataset.train
    training = Trainer(built, split, options, plan)
    training.restore(meta.step, tensors)
    if not usable(tensors):
        answers = [unknown("losses", "are the losses right", "the weights are not finite")]
    elif isinstance(dataset, str):  # only the losses need images
        answers = [unknown("losses", "are the losses right", dataset)]
    else:
        answers = losses(training)
    differ = varied(training, tensors, run)
    training.restore(meta.step, tensors)  # the losses moved batch norm's statistics
    return [
        *damage(complaints, meta.step),
        *finite(training, run, tensors),
        *answers,
        *rules(training),
        *optimizers(training, run, meta),
        *balance(run, built),
        differ,
        *samples(run, built, meta.step, sampled),
    ]


def damage(complaints: Sequence[str], step: int) -> list[Answer]:
    """Answer whether the newest checkpoint is whole; no answer where it is.

    Args:
        complaints: A sentence for each damaged checkpoint that is newer.
        step: The step of the checkpoint that is checked.

    Returns:
        The answers.
    """
    if not complaints:
        return []
    evidence = f"{'; '.join(complaints)}: that of step {step:,} is checked"
    return [pass_or_fail("checkpoint", "is the newest checkpoint whole", False, evidence)]


def _images(run: Run, data: Any) -> Dataset | str:
    try:
        return reopen(run.card.data, run.path, data)
    except ValueError as error:  # DataError and RunError among them
        return f"the images cannot be read: {error}"


def _no_images(model: AnyModel) -> Split:
    """A split of no images, of the model's size."""
    size = model.spec.size
    return Split(np.zeros((0, size, size, model.spec.channels), dtype=np.uint8))


def balance(run: Run, model: Model) -> list[Answer]:
    """Answer whether generator and critic are balanced, from the GAN monitor's diagnosis.

    Args:
        run: The run.
        model: Its model, or the model's class.

    Returns:
        The answers.
    """
    question = "are generator and critic balanced"
    spec = model.adversarial
    if spec is None:
        return [not_applicable("balance", question, f"{model.title} is not adversarial")]
    diagnosis = diagnose_run(run, spec)
    log = run.log()[-20:]
    names = [f"{spec.critic}/real", f"{spec.critic}/fake"]
    names += [f"{spec.critic}/gradient", f"{spec.generator}/gradient"]
    means = {n: sum(v) / len(v) for n in names if (v := [line[n] for line in log if n in line])}
    figures = ", ".join(f"{name} {short(value)}" for name, value in means.items())
    evidence = f"GAN monitor: {diagnosis.summary()}{_secondary(diagnosis)}; recent means {figures}"
    if diagnosis.verdict in UNFINISHED:
        return [unknown("balance", question, evidence)]
    good = _no_problem(diagnosis) or not diagnosis.is_problem
    return [pass_or_fail("balance", question, good, evidence)]


def _no_problem(diagnosis: Diagnosis) -> bool:
    return {diagnosis.verdict, *diagnosis.secondary} <= set(NO_PROBLEM)


def _secondary(diagnosis: Diagnosis) -> str:
    return f"; symptoms too of: {', '.join(diagnosis.secondary)}" if diagnosis.secondary else ""


def samples(run: Run, model: Model, step: int, weights: Which = "ema") -> list[Answer]:
    """Answer whether the samples are good and diverse, from the GAN monitor and from an evaluation.

    Args:
        run: The run.
        model: Its model, or the model's class.
        step: Of the checkpoint; an evaluation of another step does not count.
        weights: Those used for sampling; an evaluation of the others does not count.

    Returns:
        The answers.
    """
    return [*_by_monitor(run, model), *_by_evaluation(run, model, step, weights)]


def _by_monitor(run: Run, model: Model) -> list[Answer]:
    question = "are the samples diverse and near the data by the GAN monitor"
    questions = [question, LABELS] if model.conditional else [question]
    if model.adversarial is None:
        return [not_applicable("samples", q, f"{model.title} is not adversarial") for q in questions]
    diagnosis = diagnose_run(run, model.adversarial)
    records = [record for record in observations(run) if "modes" in record]
    if not records:
        return [unknown("samples", q, diagnosis.summary()) for q in questions]
    last = records[-1]
    evidence = (
        f"{last['modes']:.0%} of the data's modes, pairwise distance {last['pairwise_distance']:.0%}, "
        f"nearest sample {last['nearest_sample_ratio']:.2f} and distance to the data "
        f"{last['data_distance']:.2f} times the data's own"
    )
    if not _no_problem(diagnosis):
        reason = "" if diagnosis.is_problem or not diagnosis.evidence else f": {diagnosis.evidence[0]}"
        evidence += f"; diagnosis: {diagnosis.verdict}{reason}{_secondary(diagnosis)}"
    answer = pass_or_fail("samples", question, _no_problem(diagnosis), evidence)
    answers = [unknown("samples", question, evidence) if diagnosis.verdict in UNDECIDED else answer]
    return [*answers, _labels(last, diagnosis)] if model.conditional else answers


def _labels(record: Mapping[str, Any], diagnosis: Diagnosis) -> Answer:
    """ok only where the monitor measured it, found an effect, and could have found that there is none."""
    association, real = record.get("label_association"), record.get("label_association_real")
    if association is None or real is None:
        evidence = "the GAN monitor did not measure it"
    else:
        evidence = (
            f"association of label and sample {max(association, 0.0) ** 0.5:.2f}, in real images "
            f"{max(real, 0.0) ** 0.5:.2f} (Cramer's V, 0 is chance)"
        )
    if NO_EFFECT in (diagnosis.verdict, *diagnosis.secondary):
        return pass_or_fail("samples", LABELS, False, f"GAN monitor: {NO_EFFECT}; {evidence}")
    if association is None or real is None:
        return unknown("samples", LABELS, str(record.get("labels_not_measured", evidence)))
    if diagnosis.verdict == "too early":
        return unknown("samples", LABELS, f"too early; {evidence}")
    if any(PROBE_UNRELIABLE in line for line in diagnosis.evidence):
        return unknown("samples", LABELS, f"{PROBE_UNRELIABLE}; {evidence}")
    absent = label_association_absent(np.array(association), np.array(real))
    if absent or association < limits.LABELS_UNREADABLE:
        return unknown("samples", LABELS, f"{evidence}, but only recently, or not in good images")
    return pass_or_fail("samples", LABELS, True, evidence)


def _by_evaluation(run: Run, model: Model, step: int, weights: Which) -> list[Answer]:
    question = "are the samples good and diverse by the scores of an evaluation"
    recorded, command = evaluations(run), f"triptych evaluate {run.path}"
    if not recorded:
        return [unknown("samples", question, f"no evaluation yet: {command}")]
    reasons = [_not_applicable_because(evaluation, model, step, weights) for evaluation in recorded]
    usable_ones = [one for one, reason in zip(recorded, reasons, strict=True) if reason is None]
    if not usable_ones:
        return [unknown("samples", question, f"{reasons[-1]}: {command}")]
    scores = {score.card.metric: score for score in usable_ones[-1].scores}
    answers = []
    for name in ASSESSED_METRICS:
        if (score := scores.get(name)) is not None:
            metric_question, evidence = f"{question}: {name}", f"at step {step:,}: {_with_floor(score)}"
            if score.floor is None:
                answers.append(unknown("samples", metric_question, f"{evidence}; its floor was not recorded"))
            else:
                good = score.value >= ACCEPTABLE_SHARE * score.floor
                answers.append(pass_or_fail("samples", metric_question, good, evidence))
    if (score := scores.get("FID")) is not None:
        reason = "not assessed, because its floor depends on the number of samples"
        evidence = f"at step {step:,}: {_with_floor(score)}; {reason}"
        answers.append(not_applicable("samples", f"{question}: FID", evidence))
    return answers


def _not_applicable_because(evaluation: Evaluation, model: Model, step: int, weights: Which) -> str | None:
    """Why an evaluation does not describe the run as it is now, with these weights; None if it does."""
    if evaluation.step is None:
        return "the step of the evaluation was not recorded"
    if evaluation.step != step:
        since = (
            f"trained to {step:,} since"
            if evaluation.step < step
            else f"and the run was rolled back to {step:,}"
        )
        return f"evaluated at step {evaluation.step:,}, {since}"
    scored: str = evaluation.weights or "ema"  # older evaluations knew no others
    if scored != weights:
        return (
            f"evaluated at step {evaluation.step:,} with {NAMES.get(scored, scored)}, and {NAMES[weights]} "
            "are used for sampling"
        )
    defaults = model.Controls().model_dump(mode="json")
    controls = evaluation.scores[0].card.controls
    changed = {name: value for name, value in controls.items() if value != defaults.get(name)}
    if changed:
        return (
            f"evaluated at step {evaluation.step:,} with {', '.join(f'{n} {v}' for n, v in changed.items())}"
        )
    return None


def _with_floor(score: Score) -> str:
    floor = "" if score.floor is None else f", real images {short(score.floor)}"
    return f"{score.name} {short(score.value)}{floor}"
