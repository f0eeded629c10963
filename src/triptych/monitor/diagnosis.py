"""From a run's log and looks to a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from triptych.core.objectives import AdversarialSpec
from triptych.monitor import thresholds as limits
from triptych.monitor.history import Records, TrainingHistory
from triptych.monitor.quality import faults, few, unasked, unripe
from triptych.monitor.symptoms import (
    classes_lost,
    creeping,
    crowded,
    hardly_told,
    improving,
    lost_variety,
    movement,
    narrow,
    repeating,
    ripe,
    shapeless,
    stuck,
    taking_hold,
    unwell,
    widening,
    worsened,
)

Verdict = Literal[
    "healthy", "too early", "still learning", "poor images", "not judged",
    "not finite", "diverged", "critic not learning", "generator not learning",
    "critic overpowering", "generator collapsed", "labels carry nothing", "oscillating",
]  # fmt: skip


# no diseases: nothing found; too few looks; poor, but young or getting better; poor; nothing found, but not
# everything could be asked
CALM: tuple[Verdict, ...] = ("healthy", "too early", "still learning", "poor images", "not judged")
SHAPELESS = "the reader takes the samples for few of the classes, as it does with what has no clear shape"


@dataclass(frozen=True)
class Diagnosis:
    """What the watch says of a game."""

    verdict: Verdict
    since: int | None = None  # the step at which it began
    evidence: tuple[str, ...] = ()  # sentences with figures
    also: tuple[str, ...] = field(default=())  # other verdicts for which there are signs
    fatal: bool = False  # nothing good will come of going on
    sound: bool = False  # no sign of a disease at all: a state worth coming back to, be it poor

    @property
    def sick(self) -> bool:
        """Whether it is a disease."""
        return self.verdict not in CALM

    def line(self) -> str:
        """In one line: of a disease its first sign, of health all that there is to say."""
        since = "" if self.since is None else f" since step {self.since:,}"
        told = "; ".join(self.evidence[:1] if self.sick else self.evidence)
        return f"{self.verdict}{since}" + (f": {told}" if told else "")


def diagnose(log: Records, looks: Records, game: AdversarialSpec, steps: int) -> Diagnosis:
    """Say how a game of two players goes.

    log: lines of log.jsonl; looks: of watch.jsonl, both so far. steps: planned for the whole run. A sign
    counts when it has lasted (`limits`), so that neither a bad look nor early noise is an alarm. Signs are
    asked for in the order of `FINDERS`: a cause before what it leads to.
    """
    course = TrainingHistory(log, looks, steps)
    found = [_not_finite(course, game)]
    if len(course) >= limits.FEWEST_LOOKS:
        found += [finder(course, game) for finder in FINDERS]
    known = [diagnosis for diagnosis in found if diagnosis is not None]
    if known:
        others = dict.fromkeys(d.verdict for d in known[1:] if d.verdict != known[0].verdict)
        return replace(known[0], also=tuple(others))
    if len(course) < limits.FEWEST_LOOKS or course.steps[-1] <= limits.WARM_UP * steps:
        return Diagnosis("too early", evidence=(f"{len(course)} looks so far",))
    return _calm(course, game)


def _calm(course: TrainingHistory, game: AdversarialSpec) -> Diagnosis:
    """Of a game without a disease: whether its samples are good, as far as they could be asked."""
    poor, open_questions = faults(course), unasked(course)
    sound = not (crowded(course) | course.poor)[-1]
    notes = (_state(course), *_notes(course, game), *open_questions)
    if few(course):
        return Diagnosis("not judged", evidence=tuple(open_questions), sound=True)
    if not sound and course.lasting(crowded(course) | course.poor, warm_up=0.0) is None:
        said = "the last samples are poor, those before were not"
        return Diagnosis("too early", evidence=(said, *poor, *notes))
    if poor and unripe(course):
        return Diagnosis("still learning", evidence=(*poor, *notes), sound=sound)
    if poor:
        return Diagnosis("poor images", evidence=(*poor, *notes), sound=sound)
    if open_questions:
        return Diagnosis("not judged", evidence=("no fault was seen", *notes), sound=True)
    return Diagnosis("healthy", evidence=notes, sound=True)


def _notes(course: TrainingHistory, game: AdversarialSpec) -> list[str]:
    """What else is worth saying of a game without a disease."""
    last = course.looks[-1]
    unread = last.get("unread") or (SHAPELESS if "told" in last and shapeless(course)[-1] else None)
    said = [f"whether labels show was not asked: {unread}"] if unread else []
    if course.lasting(classes_lost(course)) is not None:  # no verdict: blurs are read as one class, too
        kinds = course.now(course.seen("kinds"))
        said.append(f"a reader finds only {kinds:.0%} of the data's classes in the samples: {_left(course)}")
    if (gap := _gap(course, game)) is not None and course.now(gap) < limits.BLIND:
        said.append(
            f"the {game.critic} hardly tells real from fake (its verdicts lie {course.now(gap):.1g} apart): "
            "it has little left to teach; unless the pictures are perfect, it is held too tight"
        )
    return said


def alarms(log: Records, looks: Records, game: AdversarialSpec, steps: int) -> list[tuple[int, Verdict]]:
    """Step and verdict of each look at which a training heard of a disease; takes what `diagnose` does."""
    heard = []
    for k, look in enumerate(looks, start=1):
        so_far = [line for line in log if line["step"] <= look["step"]]
        found = diagnose(so_far, looks[:k], game, steps)
        if found.sick:
            heard.append((int(look["step"]), found.verdict))
    return heard


def _state(course: TrainingHistory) -> str:
    modes, sparse = course.now(course.seen("modes")), course.now(course.seen("sparse"))
    distance = course.now(course.seen("distance"))
    return (
        f"{modes:.0%} of the data's modes, nearest sample {sparse:.2f} and distance to the data "
        f"{distance:.2f} times the data's own"
    )


def _not_finite(course: TrainingHistory, game: AdversarialSpec) -> Diagnosis | None:
    """A loss, weight or gradient that is no number any more; diverged, if it had grown beyond all bounds."""
    spoilt = [(int(failure["step"]), str(failure["failure"])) for failure in course.failures]
    spoilt += [
        (int(line["step"]), f"{name} became {value} by step {line['step']}")
        for line in course.log
        for name, value in line.items()
        if isinstance(value, float) and not math.isfinite(value)
    ]
    if not spoilt:
        return None
    step, said = spoilt[0]
    before = [line for line in course.log if line["step"] <= step][-limits.LAST_WORDS :]
    for name, base in _sane(course, game).items():
        values = [abs(line[name]) for line in before if math.isfinite(line.get(name, math.nan))]
        if max(values, default=0.0) > limits.BLOWN * base:
            grew = f"{name} reached {max(values):.3g}; sane is about {base:.2g}"
            return Diagnosis("diverged", int(before[0]["step"]), (grew, said), fatal=True)
    return Diagnosis("not finite", step, (said,), fatal=True)


def _critic_not_learning(course: TrainingHistory, game: AdversarialSpec) -> Diagnosis | None:
    """The critic stands still, or its verdict is no better than chance on pictures unlike the data."""
    judge, forger = movement(course, game.critic), movement(course, game.generator)
    if (since := _still_since(course, game)) is not None:
        share = course.now(judge) / max(course.now(forger), 1e-30)
        said = f"the {game.critic}'s weights move {share:.1g} times as far as the {game.generator}'s"
        return Diagnosis("critic not learning", since, (said, _verdicts(course, game), _quality(course)))
    real, fake = course.logged(f"{game.critic}/real"), course.logged(f"{game.critic}/fake")
    margin = limits.FOOLED if game.critic_output == "probabilities" else 0.0
    since = course.lasting((fake - real > margin) & course.poor)
    said = f"the {game.critic} rates fakes above real pictures, although they are unlike the data"
    if since is None:
        since = course.lasting(_blind(course, game), warm_up=2 * limits.WARM_UP)
        said = f"the {game.critic} does not tell fakes from real pictures, although they are unlike"
    if since is None:
        return None
    return Diagnosis("critic not learning", since, (said, _verdicts(course, game), _quality(course)))


def _still_since(course: TrainingHistory, game: AdversarialSpec) -> int | None:
    """The step since which the critic's weights have not moved, though the generator's have."""
    judge, forger = movement(course, game.critic), movement(course, game.generator)
    with np.errstate(invalid="ignore"):
        return course.lasting((judge <= limits.STILL * forger) & (forger > 0))


def _generator_not_learning(course: TrainingHistory, game: AdversarialSpec) -> Diagnosis | None:
    """The generator stands still, or is where it began, in its weights and in what it paints."""
    forger, judge = movement(course, game.generator), movement(course, game.critic)
    with np.errstate(invalid="ignore"):  # no gradient is so small that Adam would not move at all
        stopped = (forger <= limits.STILL * limits.STILL * judge) & (judge > 0) & course.moved(game.generator)
    if (since := course.lasting(stopped)) is not None:
        said = f"the {game.generator}'s weights do not move, although those of the {game.critic} do"
        return Diagnosis("generator not learning", since, (said, _quality(course), _verdicts(course, game)))
    away, name = course.strayed_weights(game.generator), f"{game.generator}/gradient"
    with np.errstate(invalid="ignore"):
        dead = course.logged(name) < limits.DEAD * course.early(name)  # then the critic is to blame
        idle = (away < limits.IDLE) & ~course.strayed & course.poor & course.practised & ~dead
    if (since := course.lasting(idle, warm_up=2 * limits.WARM_UP)) is None:
        return None
    said = f"the {game.generator}'s weights have moved {away[-1]:.1g} of their size from where they began"
    return Diagnosis("generator not learning", since, (said, _quality(course), _verdicts(course, game)))


def _blind(course: TrainingHistory, game: AdversarialSpec) -> np.ndarray:
    """Looks at which the critic sees no difference although there is one, (looks,) bool."""
    gap = _gap(course, game)
    if gap is None:
        return np.zeros(len(course), dtype=bool)
    return np.asarray((gap < limits.BLIND) & unwell(course) & course.begun)


def _gap(course: TrainingHistory, game: AdversarialSpec) -> np.ndarray | None:
    """How far apart the critic's mean verdicts on real pictures and fakes lie, (looks,); None for scores."""
    if game.critic_output != "probabilities":
        return None
    return np.abs(course.logged(f"{game.critic}/real") - course.logged(f"{game.critic}/fake"))


def _critic_overpowering(course: TrainingHistory, game: AdversarialSpec) -> Diagnosis | None:
    """The critic is sure of every picture; what the generator learns from then vanishes, or leads nowhere."""
    real, fake = course.logged(f"{game.critic}/real"), course.logged(f"{game.critic}/fake")
    name = f"{game.generator}/gradient"
    gradient, early = course.logged(name), course.early(name)
    dead = gradient < limits.DEAD * early
    sure = np.ones(len(course), dtype=bool)
    if game.critic_output == "probabilities":
        sure = (fake < limits.SURE) & (real > 1 - limits.SURE)
    # a critic that doubts a little again has mended nothing while the pictures stay as they are
    since = course.lasting(dead & sure, limits.WARM_UP / 2, still=course.poor)
    ratio = course.now(gradient) / early if early else math.nan
    faded = f"the {game.generator}'s gradient is {ratio:.1g} of what it was early on"
    if since is not None and (course.poor[-1] or ratio < limits.DEAD / 10):
        return Diagnosis(
            "critic overpowering", since, (faded, _verdicts(course, game), _quality(course)), fatal=True
        )
    if game.critic_output != "probabilities":
        return None
    if (since := course.lasting(sure & course.poor)) is None:
        return None
    said = f"the {game.critic} is sure of every picture, and the pictures stay unlike the data"
    return Diagnosis("critic overpowering", since, (said, faded, _verdicts(course, game), _quality(course)))


def _ran_away(course: TrainingHistory, game: AdversarialSpec) -> Diagnosis | None:
    """Weights, gradients or losses that grew out of all proportion: a rate that is far too high."""
    grown = {player: course.growth(player) for player in (game.critic, game.generator)}
    with np.errstate(invalid="ignore"):
        fast = np.logical_or(*(g > limits.RUNAWAY for g in grown.values()))
    # a rate that was ruinous at the start has not been mended since
    since, said = course.lasting(np.logical_or.accumulate(fast), warm_up=0.0), []
    if since is not None:
        sizes = " and ".join(
            f"the {player}'s are {1 + g[-1] * math.sqrt(course.turns(player)[-1]):.3g}"
            for player, g in grown.items()
        )
        said = [f"the weights ran away: {sizes} times the size of their start"]
    left = course.poor | crowded(course) | _blind(course, game)  # what a burst may leave behind for good
    for name, base in _sane(course, game).items():
        with np.errstate(invalid="ignore"):
            blown = np.abs(course.logged(name)) > limits.BLOWN * base
            burst = np.logical_or.accumulate(course.peaks(name) > limits.BLOWN * base)
        from_step = course.lasting(blown, warm_up=0.0)
        if from_step is None and name.endswith("/loss"):  # a burst long past, from which it never recovered
            from_step = course.lasting(burst, warm_up=0.0) and course.lasting(burst & left)
        if from_step is not None:
            since = from_step if since is None else min(since, from_step)
            said.append(f"{name} reached {np.nanmax(course.peaks(name)):.3g}; sane is about {base:.2g}")
    stood = _still_since(course, game)
    if since is None or (stood is not None and stood < since):  # what runs off from a critic that stopped
        return None
    fatal = course.lasting(course.poor) is not None
    return Diagnosis("diverged", since, (*said, _quality(course), _verdicts(course, game)), fatal=fatal)


def _sane(course: TrainingHistory, game: AdversarialSpec) -> dict[str, float]:
    """The size that gradients and losses should not exceed a hundred times."""
    players = (game.critic, game.generator)
    sizes = {f"{player}/gradient": course.at_first(f"{player}/gradient") for player in players}
    if game.critic_output == "probabilities":  # a guess costs ln 2; scores have no scale
        sizes |= {f"{player}/loss": math.log(2) for player in players}
    return {name: size for name, size in sizes.items() if size > 0}


def _lost(course: TrainingHistory, game: AdversarialSpec) -> Diagnosis | None:
    """Pictures unlike the data that get no better, and not only because the run is young."""
    since = course.lasting(course.poor & course.begun & (ripe(course) | worsened(course)))
    if since is None or few(course) or improving(course) or creeping(course):
        return None
    if course.now(crowded(course).astype(float)) >= 0.5:
        return None  # one poor picture again and again: collapsed
    return Diagnosis("diverged", since, (_quality(course), _verdicts(course, game)), fatal=True)


def _collapsed(course: TrainingHistory, game: AdversarialSpec) -> Diagnosis | None:
    """The samples repeat each other, had a variety that they lost, or never got any in a long run.

    Few modes alone are how every run begins and a short one ends: blurs of the mean fall into one mode.
    """
    if few(course):
        return None
    again = repeating(course) & (ripe(course) | stuck(course))
    since = course.lasting(again & (course.begun | (course.strayed & course.practised)))
    # few modes that become more, or one blur that sharpens
    slow_start = widening(course) or (creeping(course) and course.poor[-1])
    narrowed = crowded(course) & course.begun & (ripe(course) | lost_variety(course))
    if since is None and not slow_start:
        since = course.lasting(narrowed & ~narrow(course))
    fatal = since is not None
    if since is None and not slow_start:  # it may yet widen: many a sound run has been so in its middle
        since = course.lasting(narrowed, warm_up=limits.NARROW_WARM_UP)
    if since is None or (improving(course) and course.poor[-1]):
        return None
    seen = {name: course.now(course.seen(name)) for name in ("modes", "sparse", "spread", "duplicates")}
    said = []
    if seen["modes"] < limits.FEW_MODES:
        said.append(f"{seen['modes']:.0%} of the data's modes are left: {_left(course)}")
    if seen["sparse"] < limits.CROWDED:
        said.append(
            f"the nearest other sample is {seen['sparse']:.2f} times as far as among real pictures, for the "
            "samples' spread: they lie on a thin line through the data"
        )
    if seen["spread"] < limits.SAME:
        said.append(f"two samples are {seen['spread']:.2f} times as far apart as two real pictures")
    if seen["duplicates"] > limits.DUPLICATES:
        said.append(f"{seen['duplicates']:.0%} of the samples have a near twin among the others")
    said = said or ["few modes and near twins take turns"]
    return Diagnosis("generator collapsed", since, (*said, _quality(course)), fatal=fatal)


def _left(course: TrainingHistory) -> str:
    """Which modes are left, with their shares."""
    last = course.looks[-1]
    shares, what = (last["classes"], "class") if "classes" in last else (last["cells"], "mode")
    largest = sorted(range(len(shares)), key=lambda k: -shares[k])[:4]
    return ", ".join(f"{what} {k} ({shares[k]:.0%} of the samples)" for k in largest if shares[k] > 0.02)


def _labels_carry_nothing(course: TrainingHistory, game: AdversarialSpec) -> Diagnosis | None:
    """A conditional family whose pictures do not show the label that was asked for."""
    told, real = course.seen("told"), course.seen("told_real")
    if np.isnan(told).all() or few(course):
        return None
    recent = np.array([told[max(0, k - course.patience) : k + 1].mean() for k in range(len(told))])
    meaningless = bool(real[-1] < limits.SPEAKS)
    good = (course.poorness < limits.READABLE_POOR) & (course.seen("covered") > limits.READABLE_COVERED)
    good &= course.practised_for(limits.LABEL_TURNS)
    if taking_hold(course) and not meaningless:
        return None
    silent = (hardly_told(recent, real) & good & ~shapeless(course)) | meaningless
    if (since := course.lasting(silent & ~course.poor, warm_up=limits.LABELS_WARM_UP)) is None:
        return None
    said = (
        f"of the labels a reader finds {max(recent[-1], 0.0) ** 0.5:.2f} in the samples that were asked for "
        f"them and {max(real[-1], 0.0) ** 0.5:.2f} in real pictures (Cramer's V, 0 is chance)"
    )
    why = (
        "the labels of the training pictures themselves say nothing of what is to be seen"
        if meaningless
        else "samples of unlike labels are alike: the condition has no effect"
    )
    return Diagnosis("labels carry nothing", since, (said, why))


def _oscillating(course: TrainingHistory, game: AdversarialSpec) -> Diagnosis | None:
    """From look to look the samples hop between modes rather than settle."""
    with np.errstate(divide="ignore", invalid="ignore"):
        swing = np.abs(np.diff(np.log(course.seen("modes")), prepend=np.nan))
    recent = np.array([np.nanmedian(swing[max(1, k - 5) : k + 2]) for k in range(len(swing))])
    hops = course.seen("shifted")
    sign = ((hops > limits.HOPS) & (recent > limits.SWINGS)) | (hops > limits.LEAPS)
    sign &= course.practised  # a start moves about too
    if few(course) or (since := course.lasting(sign, warm_up=2 * limits.WARM_UP)) is None:
        return None
    said = (
        f"from look to look {course.now(course.seen('shifted')):.0%} of the samples change their mode, and "
        f"the number of modes by {course.now(swing):.0%}"
    )
    return Diagnosis("oscillating", since, (said, _verdicts(course, game), _quality(course)))


def _verdicts(course: TrainingHistory, game: AdversarialSpec) -> str:
    real, fake = (course.now(course.logged(f"{game.critic}/{which}")) for which in ("real", "fake"))
    return f"its verdict is {real:.3g} on real pictures and {fake:.3g} on fakes"


def _quality(course: TrainingHistory) -> str:
    distance, covered = course.now(course.seen("distance")), course.now(course.seen("covered"))
    first, energy = course.first or {}, course.now(course.seen("energy"))
    start = f" (untrained: {first['distance']:.2f})" if first else ""
    whole = f", energy distance {energy:.2f}" if math.isfinite(energy) else ""
    whole += f" (untrained: {first['energy']:.2f})" if whole and "energy" in first else ""
    return (
        f"samples are {distance:.2f} times as far from the data as real pictures are{start}, and "
        f"{covered:.0%} of the real ones have a sample near them{whole}"
    )


Finder = Callable[[TrainingHistory, AdversarialSpec], Diagnosis | None]
FINDERS: Sequence[Finder] = (
    _ran_away,
    _critic_not_learning,
    _generator_not_learning,
    _critic_overpowering,
    _lost,
    _collapsed,
    _labels_carry_nothing,
    _oscillating,
)
