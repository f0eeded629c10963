"""Are rates and betas as configured, and did every player move: its optimiser and its weights are asked."""

from __future__ import annotations

import math
from typing import Any

import torch

from triptych.checklist.answers import Answer, beside, judged, unknown
from triptych.core.errors import RunError
from triptych.core.objectives import Objective
from triptych.models.registry import saved_config
from triptych.monitor.records import observations
from triptych.runs.checkpoint import CheckpointMeta
from triptych.runs.run import Run
from triptych.training.trainer import Trainer

CHAPTER = "optimiser"
PAPER = {"lr": 2e-4, "betas": (0.5, 0.999)}  # DCGAN's (Radford et al. 2015, section 4)
COUNTING = (torch.optim.Adam, torch.optim.RMSprop)  # they note their steps, unless they made none
FEW_TURNS = 10  # with fewer, tensors behind others that start at zero may not have had a gradient yet


def optimisers(training: Trainer, run: Run, meta: CheckpointMeta) -> list[Answer]:
    """Learning rates, betas and whether each player moved. meta: what the run noted beside its state."""
    answers = []
    for player in training.objectives:
        answers += [_rate(training, player, run, meta), _moves(training, player, run)]
        if (betas := _betas(player, saved_config(run.card))) is not None:
            answers.append(betas)
    return answers


def _rate(training: Trainer, player: Objective, run: Run, meta: CheckpointMeta) -> Answer:
    """Whether the rate that the run last moved a player at is the configured one, as scheduled."""
    config, game = saved_config(run.card), training.model.adversarial
    wanted = config.get("lr")
    if game is not None and player.name == game.critic and config.get("critic_lr") is not None:
        wanted = config["critic_lr"]
    found, schedule, ease = training.base_lrs[player.name], 1.0, 1.0
    if training.step and player.name in meta.learning_rates:
        found = meta.learning_rates[player.name]
        moved = (training.step - 1) // player.interval * player.interval  # the player's last turn
        schedule, ease = player.lr_schedule(moved / meta.total_steps), meta.lr_scale
    question = f"is the {player.name}'s learning rate as configured"
    if 0 in found and schedule != 0:  # a schedule may begin or end there
        return judged(CHAPTER, question, False, f"{_list(found)}: at 0 nothing moves")
    if wanted is None:
        return beside(CHAPTER, question, f"the family configures none; it is {_list(found)}")
    words = f"{_list(found)}, configured {wanted:g}"
    if game is not None:
        words += f", the DCGAN paper's {PAPER['lr']:g}"
    if schedule != 1.0:
        words += f"; times {schedule:.3g} by its schedule"
    if past := run.card.rollbacks:
        words += f"; times {past[-1].lr_scale:g} since the way back to step {past[-1].to_step}"
    good = all(math.isclose(rate, wanted * schedule * ease, rel_tol=1e-6) for rate in found)
    return judged(CHAPTER, question, good, words)


def _betas(player: Objective, config: dict[str, Any]) -> Answer | None:
    question = f"are the {player.name}'s betas as configured"
    groups = player.optimizer.param_groups
    kind = type(player.optimizer).__name__
    if "betas" not in groups[0]:
        return beside(CHAPTER, question, f"{kind} has none")
    found = groups[0]["betas"]
    if "beta1" not in config:
        return beside(CHAPTER, question, f"the family configures none; {kind} has {tuple(found)}")
    good = all(math.isclose(group["betas"][0], config["beta1"]) for group in groups)
    words = f"{kind}, {tuple(found)}, configured beta1 {config['beta1']:g}"
    words += f", the DCGAN paper's {PAPER['betas']}"
    return judged(CHAPTER, question, good, words)


def _moves(training: Trainer, player: Objective, run: Run) -> Answer:
    """Whether a player moved: by its optimiser's count, its weights' start, and the watch's last two looks.

    The count alone would not do: an optimiser counts a step at learning rate 0 too.
    """
    question = f"did the {player.name} move in each of its turns"
    if training.step == 0:
        return unknown(CHAPTER, question, "not trained yet")
    signs = [
        _counted(training, player),
        _left_the_start(training, player, run),
        _between_looks(player, run),
    ]
    known = [sign for sign in signs if sign is not None]
    if not known:
        kind = type(player.optimizer).__name__
        return unknown(CHAPTER, question, f"{kind} counts no steps, and no earlier weights are kept")
    return judged(CHAPTER, question, all(good for good, _ in known), "; ".join(told for _, told in known))


def _counted(training: Trainer, player: Objective) -> tuple[bool, str] | None:
    """None for an optimiser that counts no steps."""
    states = [player.optimizer.state.get(p, {}) for _, p in _free(training, player)]
    if not isinstance(player.optimizer, COUNTING) and not any("step" in state for state in states):
        return None
    counts = [int(state.get("step", 0)) for state in states]
    turns = _turns(training, player)
    return set(counts) <= {turns}, f"{min(counts, default=0):,} steps in {turns:,} turns"


def _left_the_start(training: Trainer, player: Objective, run: Run) -> tuple[bool, str] | None:
    """None where the state before training cannot be read, or is another network's."""
    try:
        start = run.load_checkpoint(0, only=("weights",))[0]["weights"]
    except RunError:
        return None
    free = _free(training, player)
    if any(name not in start or start[name].shape != p.shape for name, p in free):
        return None
    moved = sum(not torch.equal(p.detach().cpu(), start[name].to(p.dtype)) for name, p in free)
    good = moved == len(free) or (moved > 0 and _turns(training, player) < FEW_TURNS)
    return good, f"{moved} of {len(free)} tensors are no longer as before training"


def _between_looks(player: Objective, run: Run) -> tuple[bool, str] | None:
    """None without two looks, or where the player had no turn between them."""
    looks = [look for look in observations(run) if look.get("weight_probes", {}).get(player.name)][-2:]
    if len(looks) < 2:
        return None
    before, after = (look["weight_probes"][player.name] for look in looks)
    turns = [look.get("updates", {}).get(player.name, look["step"]) for look in looks]
    if len(before) != len(after) or turns[0] >= turns[1]:
        return None
    moved = sum(a != b for a, b in zip(before, after, strict=True))
    between = f"between the looks at steps {looks[0]['step']:,} and {looks[1]['step']:,}"
    return moved > 0, f"{moved} of {len(after)} probed weights moved {between}"


def _free(training: Trainer, player: Objective) -> list[tuple[str, torch.nn.Parameter]]:
    """The parameters that a player may move, by name, without those that the settings freeze."""
    own = {id(p) for p in player.parameters()}
    return [(n, p) for n, p in training.model.named_parameters() if id(p) in own]


def _turns(training: Trainer, player: Objective) -> int:
    return len(range(0, training.step, player.interval))


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in dict.fromkeys(values))
