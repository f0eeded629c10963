"""Asks a run every question of the checklist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from triptych.checklist.answers import Answer, beside, judged, unknown
from triptych.checklist.architecture import rules
from triptych.checklist.finite import finite, usable, varied
from triptych.checklist.losses import losses
from triptych.checklist.optimizers import optimisers
from triptych.data.dataset import Dataset, Split
from triptych.data.load import reopen
from triptych.models.registry import build
from triptych.monitor import thresholds as limits
from triptych.monitor.gan_monitor import diagnose_run
from triptych.monitor.records import observations
from triptych.monitor.symptoms import label_association_absent
from triptych.monitor.verdicts import PROBE_UNRELIABLE, Diagnosis
from triptych.runs.run import Run, open_run
from triptych.runs.weights import NAMES, Which, scored
from triptych.runs.weights import checked as known_weights
from triptych.runs.weights import choose as choose_weights
from triptych.training.trainer import Trainer
from triptych.viz.svg import short

LABEL = "does the label show in the pictures"
SILENT = "labels have no effect"
FINE = ("healthy", SILENT)  # verdicts that say nothing against the pictures themselves
OPEN = ("too early", "still learning", "not assessed")  # verdicts that leave it open whether they are good
UNRIPE = ("too early", "still learning")
JUDGED = ("precision", "recall", "coverage")  # shares: their floors hardly depend on the number of samples
BROUGHT = 0.5  # of what real pictures score: samples that bring so much are called good


def check(
    path: Path | str, *, model_file: str | None = None, data: Any = None, weights: str = "auto"
) -> list[Answer]:
    """Answer the usual checklist for GANs from a run: losses, architecture, optimiser, balance, samples.

    model_file: the path of the user's own file, if the family lives in one. data: needed when the pictures
    were given from Python. weights: whose samples are asked about, "raw", "ema" or "auto": those that the run
    shows. What the run lacks is answered "not known"; a newest state that is damaged is
    "not ok", and the one before it is asked. Raises RunError when the run
    cannot be read.
    """
    asked, run = known_weights(weights), open_run(path)
    tensors, meta, complaints = run.load_checkpoint()
    kept: list[Which] = ["raw", "ema"] if "ema" in tensors else ["raw"]
    shown = choose_weights(asked, meta.comparison, kept, str(path))
    dataset = _pictures(run, data)
    built = build(run.card, model_file)
    options = run.card.options.model_copy(update={"device": "cpu"})
    plan = run.card.plan.model_copy(update={"device": "cpu", "channels_last": False, "precision": "fp32"})
    unread = isinstance(dataset, str)  # then only the losses, which need pictures, are not asked
    training = Trainer(built, _none_of(built) if isinstance(dataset, str) else dataset.train, options, plan)
    training.restore(meta.step, tensors)
    if not usable(tensors):
        answers = [unknown("losses", "are the losses right", "the weights are not finite")]
    elif unread:
        answers = [unknown("losses", "are the losses right", str(dataset))]
    else:
        answers = losses(training)
    differ = varied(training, tensors, run)
    training.restore(meta.step, tensors)  # the questions moved batch norm's statistics
    return [
        *damage(complaints, meta.step),
        *finite(training, run, tensors),
        *answers,
        *rules(training),
        *optimisers(training, run, meta),
        *balance(run, built),
        differ,
        *samples(run, built, meta.step, shown),
    ]


def damage(complaints: Sequence[str], asked: int) -> list[Answer]:
    """A line where newer states than the one that is asked are damaged."""
    if not complaints:
        return []
    figure = f"{'; '.join(complaints)}: that of step {asked:,} is asked"
    return [judged("state", "is the newest state whole", False, figure)]


def _pictures(run: Run, data: Any) -> Dataset | str:
    try:
        return reopen(run.card.data, run.path, data)
    except ValueError as error:  # DataError and RunError among them
        return f"the pictures cannot be read: {error}"


def _none_of(family: Any) -> Split:
    """No pictures, of the family's size."""
    size = family.spec.size
    return Split(np.zeros((0, size, size, family.spec.channels), dtype=np.uint8))


def balance(run: Run, family: Any) -> list[Answer]:
    """Whether the game is balanced, as the watch sees it."""
    question = "is the game balanced"
    game = family.adversarial
    if game is None:
        return [beside("balance", question, f"{family.title} plays no game of two")]
    found = diagnose_run(run, game)
    log = run.log()[-20:]
    names = [f"{game.critic}/real", f"{game.critic}/fake"]
    names += [f"{game.critic}/gradient", f"{game.generator}/gradient"]
    means = {n: sum(v) / len(v) for n in names if (v := [line[n] for line in log if n in line])}
    figures = ", ".join(f"{name} {short(value)}" for name, value in means.items())
    words = f"the watch: {found.summary()}{_also(found)}; lately {figures}"
    if found.verdict in UNRIPE:
        return [unknown("balance", question, words)]
    return [judged("balance", question, _fine(found) or not found.is_problem, words)]


def _fine(found: Diagnosis) -> bool:
    return {found.verdict, *found.secondary} <= set(FINE)


def _also(found: Diagnosis) -> str:
    return f"; signs too of: {', '.join(found.secondary)}" if found.secondary else ""


def samples(run: Run, family: Any, step: int, shown: Which = "ema") -> list[Answer]:
    """Whether the samples are good and diverse: from the watch, and from the evaluation of this step."""
    return [*_by_the_watch(run, family), *_by_the_judge(run, family, step, shown)]


def _by_the_watch(run: Run, family: Any) -> list[Answer]:
    question = "are the samples diverse and near the data, in the watch's eyes"
    asked = [question, LABEL] if family.conditional else [question]
    if family.adversarial is None:
        return [beside("samples", each, "the watch looks at games of two") for each in asked]
    seen = [look for look in observations(run) if "modes" in look]
    if not seen:
        return [unknown("samples", each, "no look was taken: too few steps or pictures") for each in asked]
    last, found = seen[-1], diagnose_run(run, family.adversarial)
    words = (
        f"{last['modes']:.0%} of the data's modes, spread {last['pairwise_distance']:.0%}, nearest sample "
        f"{last['nearest_sample_ratio']:.2f} and distance to the data {last['data_distance']:.2f} times the "
        "data's own"
    )
    if not _fine(found):
        reason = "" if found.is_problem or not found.evidence else f": {found.evidence[0]}"
        words += f"; the watch: {found.verdict}{reason}{_also(found)}"
    good = judged("samples", question, _fine(found), words)
    answers = [unknown("samples", question, words) if found.verdict in OPEN else good]
    return [*answers, _label(last, found)] if family.conditional else answers


def _label(look: Mapping[str, Any], found: Diagnosis) -> Answer:
    """Whether the label shows: ok only where the watch asked, found it, and could have found it missing."""
    figures = "the watch did not ask"
    told, real = look.get("label_association"), look.get("label_association_real")
    if told is not None and real is not None:
        figures = (
            f"a reader finds it in the samples by {max(told, 0.0) ** 0.5:.2f} and in real pictures by "
            f"{max(real, 0.0) ** 0.5:.2f} (Cramer's V, 0 is chance)"
        )
    if SILENT in (found.verdict, *found.secondary):
        return judged("samples", LABEL, False, f"the watch: {SILENT}; {figures}")
    if told is None or real is None:
        return unknown("samples", LABEL, str(look.get("labels_not_measured", figures)))
    if found.verdict == "too early":
        return unknown("samples", LABEL, f"too early; {figures}")
    if any(PROBE_UNRELIABLE in line for line in found.evidence):
        return unknown("samples", LABEL, f"{PROBE_UNRELIABLE}; {figures}")
    if label_association_absent(np.array(told), np.array(real)) or told < limits.LABELS_UNREADABLE:
        return unknown("samples", LABEL, f"{figures}, but not for long, or not in good pictures")
    return judged("samples", LABEL, True, figures)


def _by_the_judge(run: Run, family: Any, step: int, shown: Which) -> list[Answer]:
    question = "are the samples good and diverse, in the judge's eyes"
    made, again = run.metrics(), f"triptych evaluate {run.path}"
    if not made:
        return [unknown("samples", question, f"no evaluation yet: {again}")]
    fit = [line for line in made if _unlike(line, family, step, shown) is None]
    if not fit:
        return [unknown("samples", question, f"{_unlike(made[-1], family, step, shown)}: {again}")]
    scores = {score["card"]["metric"]: score for score in fit[-1]["scores"]}
    answers = []
    for name in JUDGED:
        if (score := scores.get(name)) is not None:
            asked, figure = f"{question}: {name}", f"at step {step:,}: {_beside_floor(score)}"
            if score["floor"] is None:
                answers.append(unknown("samples", asked, f"{figure}; what real pictures score was not noted"))
            else:
                good = score["value"] >= BROUGHT * score["floor"]
                answers.append(judged("samples", asked, good, figure))
    if (score := scores.get("FID")) is not None:
        why = "not judged, as the more samples, the less real ones score"
        figure = f"at step {step:,}: {_beside_floor(score)}; {why}"
        answers.append(beside("samples", f"{question}: FID", figure))
    return answers


def _unlike(line: Mapping[str, Any], family: Any, step: int, shown: Which) -> str | None:
    """Why an evaluation does not speak of the run as it is shown now, with these weights: None if it does."""
    at, card = line.get("step"), line["scores"][0]["card"]
    if at is None:
        return "evaluated at a step that was not noted"
    if at != step:
        since = f"trained to {step:,} since" if at < step else f"and the run has gone back to {step:,}"
        return f"evaluated at step {at:,}, {since}"
    if (weights := scored(line) or "ema") != shown:  # older evaluations knew no others
        return f"evaluated at step {at:,} with {NAMES.get(weights, weights)}, and {NAMES[shown]} are shown"
    usual = family.Controls().model_dump(mode="json")
    other = {name: value for name, value in card.get("controls", {}).items() if value != usual.get(name)}
    if other:
        told = ", ".join(f"{name} {value}" for name, value in other.items())
        return f"evaluated at step {at:,} with {told}"
    return None


def _beside_floor(score: Mapping[str, Any]) -> str:
    floor = "" if score["floor"] is None else f", real pictures {short(score['floor'])}"
    return f"{score['name']} {short(score['value'])}{floor}"
