"""Asks a run every question of the checklist."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.check.answers import Answer, beside, judged, unknown
from triptych.check.losses import losses
from triptych.check.rules import rules
from triptych.core.family import Player
from triptych.data import Dataset, reopen
from triptych.figures.svg import short
from triptych.lookout import diagnosis_of
from triptych.model import build
from triptych.plan import Options, Plan
from triptych.run import Run, open_run
from triptych.train import Training

GUIDE = {"rate": 2e-4, "betas": (0.5, 0.999)}  # the study guide's settings for DCGAN
FINE = ("healthy", "labels carry nothing")  # verdicts that say nothing against the pictures themselves
JUDGED = ("precision", "recall", "coverage")  # shares: their floors hardly depend on the number of samples
BROUGHT = 0.5  # of what real pictures score: samples that bring so much are called good


def check(path: Path | str, *, family: str | None = None, data: Any = None) -> list[Answer]:
    """Answer the study guide's checklist from a run: losses, architecture, optimiser, balance, samples.

    family: the path of the user's own file, if the family lives in one. data: needed when the pictures
    were given from Python. What the run lacks is answered "not known". Raises RunError when the run
    cannot be read.
    """
    run = open_run(path)
    tensors, meta, _ = run.load_state()
    dataset = _pictures(run, data)
    built = build(run.card, family)
    options = Options.model_validate({**run.card["options"], "device": "cpu"})
    plan = Plan.model_validate(
        {**run.card["plan"], "device": "cpu", "channels_last": False, "precision": "fp32"}
    )
    if isinstance(dataset, str):
        answers = [unknown("losses", "are the losses right", dataset)]
        training = None
    else:
        training = Training(built, dataset.train, options, plan)
        training.restore(meta["step"], tensors)
        answers = losses(training)
    if training is None:
        return [*answers, *balance(run, built), *samples(run, built)]
    training.restore(meta["step"], tensors)  # the questions moved batch norm's statistics
    return [
        *answers,
        *rules(training, run.card["family"]),
        *optimisers(training, run, meta),
        *balance(run, built),
        *samples(run, built),
    ]


def _pictures(run: Run, data: Any) -> Dataset | str:
    try:
        return reopen(run.card["data"], run.path, data)
    except ValueError as error:  # DataError and RunError among them
        return f"the pictures cannot be read: {error}"


def optimisers(training: Training, run: Run, meta: Mapping[str, Any]) -> list[Answer]:
    """Learning rates, betas and the number of steps. meta: what the run noted beside its state."""
    answers = []
    for player in training.players:
        answers += [_rate(training, player, run, meta), _steps(training, player, run)]
        if (betas := _betas(player, run.card["config"])) is not None:
            answers.append(betas)
    return answers


def _rate(training: Training, player: Player, run: Run, meta: Mapping[str, Any]) -> Answer:
    """Whether the rate that the run last moved a player at is the configured one, as scheduled."""
    config, game = run.card["config"], training.family.game
    wanted = config.get("rate")
    if game is not None and player.name == game.critic and config.get("critic_rate") is not None:
        wanted = config["critic_rate"]
    found, schedule, ease = training.rates[player.name], 1.0, 1.0
    if training.step and player.name in meta.get("rates", {}):
        found = meta["rates"][player.name]
        moved = (training.step - 1) // player.every * player.every  # the player's last turn
        schedule, ease = player.rate(moved / meta["planned"]), meta.get("ease", 1.0)
    question = f"is the {player.name}'s learning rate as configured"
    if wanted is None:
        return beside("optimiser", question, f"the family configures none; it is {_list(found)}")
    words = f"{_list(found)}, configured {wanted:g}"
    if game is not None:
        words += f", the guide's {GUIDE['rate']:g}"
    if schedule != 1.0:
        words += f"; times {schedule:.3g} by its schedule"
    if past := run.card.get("rollbacks"):
        words += f"; times {past[-1]['rate_factor']:g} since the way back to step {past[-1]['to']}"
    good = all(math.isclose(rate, wanted * schedule * ease, rel_tol=1e-6) for rate in found)
    return judged("optimiser", question, good, words)


def _betas(player: Player, config: dict[str, Any]) -> Answer | None:
    question = f"are the {player.name}'s betas as configured"
    groups = player.optimizer.param_groups
    kind = type(player.optimizer).__name__
    if "betas" not in groups[0]:
        return beside("optimiser", question, f"{kind} has none")
    found = groups[0]["betas"]
    if "beta1" not in config:
        return beside("optimiser", question, f"the family configures none; {kind} has {tuple(found)}")
    good = all(math.isclose(group["betas"][0], config["beta1"]) for group in groups)
    words = f"{kind}, {tuple(found)}, configured beta1 {config['beta1']:g}, the guide's {GUIDE['betas']}"
    return judged("optimiser", question, good, words)


def _steps(training: Training, player: Player, run: Run) -> Answer:
    """Whether the optimiser made a step whenever it was the player's turn: its own count says."""
    question = f"did the {player.name} move in each of its turns"
    counts = [
        int(state["step"])
        for p in player.parameters()
        if (state := player.optimizer.state[p]) and "step" in state
    ]
    turns = len(range(0, training.step, player.every))
    if not counts:
        return unknown("optimiser", question, f"{type(player.optimizer).__name__} counts no steps")
    words = f"{min(counts):,} steps in {turns:,} turns"
    return judged("optimiser", question, min(counts) == max(counts) == turns, words)


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in dict.fromkeys(values))


def balance(run: Run, family: Any) -> list[Answer]:
    """Whether the game is balanced, as the watch sees it."""
    question = "is the game balanced"
    game = family.game
    if game is None:
        return [beside("balance", question, f"{family.title} plays no game of two")]
    found = diagnosis_of(run, game)
    log = run.log()[-20:]
    names = [f"{game.critic}/real", f"{game.critic}/fake"]
    names += [f"{game.critic}/gradient", f"{game.generator}/gradient"]
    means = {n: sum(v) / len(v) for n in names if (v := [line[n] for line in log if n in line])}
    figures = ", ".join(f"{name} {short(value)}" for name, value in means.items())
    words = f"the watch: {found.line()}; lately {figures}"
    if found.verdict == "too early":
        return [unknown("balance", question, words)]
    return [judged("balance", question, found.verdict in FINE, words)]


def samples(run: Run, family: Any) -> list[Answer]:
    """Whether the samples are good and diverse: from the watch, and from the newest evaluation."""
    return [*_by_the_watch(run, family), *_by_the_judge(run)]


def _by_the_watch(run: Run, family: Any) -> list[Answer]:
    question = "are the samples diverse and near the data, in the watch's eyes"
    if family.game is None:
        return [beside("samples", question, "the watch looks at games of two")]
    seen = [look for look in run.looks() if "modes" in look]
    if not seen:
        return [unknown("samples", question, "no look was taken: too few steps or pictures")]
    last, found = seen[-1], diagnosis_of(run, family.game)
    words = (
        f"{last['modes']:.0%} of the data's modes, spread {last['spread']:.0%}, nearest sample "
        f"{last['sparse']:.2f} and distance to the data {last['distance']:.2f} times the data's own"
    )
    if found.verdict == "too early":
        return [unknown("samples", question, words)]
    return [judged("samples", question, found.verdict in FINE, words)]


def _by_the_judge(run: Run) -> list[Answer]:
    question = "are the samples good and diverse, in the judge's eyes"
    made = run.metrics()
    if not made:
        return [unknown("samples", question, f"no evaluation yet: triptych evaluate {run.path}")]
    scores = {score["card"]["metric"]: score for score in made[-1]["scores"]}
    answers = []
    for name in JUDGED:
        if (score := scores.get(name)) is not None:
            good = score["floor"] is None or score["value"] >= BROUGHT * score["floor"]
            answers.append(judged("samples", f"{question}: {name}", good, _beside_floor(score)))
    if (score := scores.get("FID")) is not None:
        why = f"{_beside_floor(score)}; not judged, as the more samples, the less real ones score"
        answers.append(beside("samples", f"{question}: FID", why))
    return answers


def _beside_floor(score: Mapping[str, Any]) -> str:
    floor = "" if score["floor"] is None else f", real pictures {short(score['floor'])}"
    return f"{score['name']} {short(score['value'])}{floor}"
