"""Learning rates and betas as configured, and weights that changed: from optimizers and checkpoints."""

from __future__ import annotations

import math
from typing import Any

import torch

from triptych.checklist.answers import Answer, not_applicable, pass_or_fail, unknown
from triptych.core.errors import RunError
from triptych.core.objectives import Objective
from triptych.models.registry import saved_config
from triptych.monitor.records import observations
from triptych.runs.checkpoint import CheckpointMeta
from triptych.runs.run import Run
from triptych.training.trainer import Trainer

CHAPTER = "optimizer"
PAPER = {"lr": 2e-4, "betas": (0.5, 0.999)}  # DCGAN's (Radford et al. 2015, section 4)
COUNTING = (torch.optim.Adam, torch.optim.RMSprop)  # they count their steps, unless they took none
FEW_UPDATES = 10  # with fewer, tensors behind others that start at zero may not have had a gradient yet


def optimizers(training: Trainer, run: Run, meta: CheckpointMeta) -> list[Answer]:
    """Answer whether learning rates and betas are as configured, and whether all weights were updated.

    Args:
        training: The training, restored from the checkpoint.
        run: The run.
        meta: Of the checkpoint.

    Returns:
        The answers.
    """
    answers = []
    for objective in training.objectives:
        answers += [_learning_rate(training, objective, run, meta), _updated(training, objective, run)]
        if (betas := _betas(objective, saved_config(run.card))) is not None:
            answers.append(betas)
    return answers


def _learning_rate(training: Trainer, objective: Objective, run: Run, meta: CheckpointMeta) -> Answer:
    """Whether the learning rate of the last step is the configured one, as scheduled."""
    config, spec = saved_config(run.card), training.model.adversarial
    configured = config.get("lr")
    if spec is not None and objective.name == spec.critic and config.get("critic_lr") is not None:
        configured = config["critic_lr"]
    lrs, schedule, lr_scale = training.base_lrs[objective.name], 1.0, 1.0
    if training.step and objective.name in meta.learning_rates:
        lrs = meta.learning_rates[objective.name]
        updated = (training.step - 1) // objective.interval * objective.interval  # the last update's step
        schedule, lr_scale = objective.lr_schedule(updated / meta.total_steps), meta.lr_scale
    question = f"is the {objective.name}'s learning rate as configured"
    if 0 in lrs and schedule != 0:  # a schedule may begin or end there
        return pass_or_fail(CHAPTER, question, False, f"{_list(lrs)}: at 0 no weight changes")
    if configured is None:
        return not_applicable(CHAPTER, question, f"the model configures none; it is {_list(lrs)}")
    evidence = f"{_list(lrs)}, configured {configured:g}"
    if spec is not None:
        evidence += f", the DCGAN paper's {PAPER['lr']:g}"
    if schedule != 1.0:
        evidence += f"; times {schedule:.3g} by its schedule"
    if past := run.card.rollbacks:
        evidence += f"; times {past[-1].lr_scale:g} since the rollback to step {past[-1].to_step}"
    good = all(math.isclose(lr, configured * schedule * lr_scale, rel_tol=1e-6) for lr in lrs)
    return pass_or_fail(CHAPTER, question, good, evidence)


def _betas(objective: Objective, config: dict[str, Any]) -> Answer | None:
    question = f"are the {objective.name}'s betas as configured"
    groups = objective.optimizer.param_groups
    name = type(objective.optimizer).__name__
    if "betas" not in groups[0]:
        return not_applicable(CHAPTER, question, f"{name} has none")
    betas = groups[0]["betas"]
    if "beta1" not in config:
        return not_applicable(CHAPTER, question, f"the model configures none; {name} has {tuple(betas)}")
    good = all(math.isclose(group["betas"][0], config["beta1"]) for group in groups)
    evidence = f"{name}, {tuple(betas)}, configured beta1 {config['beta1']:g}"
    evidence += f", the DCGAN paper's {PAPER['betas']}"
    return pass_or_fail(CHAPTER, question, good, evidence)


def _updated(training: Trainer, objective: Objective, run: Run) -> Answer:
    """Whether weights were updated: by the optimizer's count, their start, and the last two observations.

    The count alone would not do: an optimizer counts a step at learning rate 0 too.
    """
    question = f"was the {objective.name} updated in every step it should be"
    if training.step == 0:
        return unknown(CHAPTER, question, "not trained yet")
    signs = [
        _counted(training, objective),
        _changed_since_start(training, objective, run),
        _changed_between_observations(objective, run),
    ]
    available = [sign for sign in signs if sign is not None]
    if not available:
        name = type(objective.optimizer).__name__
        return unknown(CHAPTER, question, f"{name} counts no steps, and no earlier weights are kept")
    return pass_or_fail(
        CHAPTER,
        question,
        all(good for good, _ in available),
        "; ".join(evidence for _, evidence in available),
    )


def _counted(training: Trainer, objective: Objective) -> tuple[bool, str] | None:
    """None for an optimizer that counts no steps."""
    states = [objective.optimizer.state.get(p, {}) for _, p in _free(training, objective)]
    if not isinstance(objective.optimizer, COUNTING) and not any("step" in state for state in states):
        return None
    counts = [int(state.get("step", 0)) for state in states]
    due = _updates(training, objective)
    return set(counts) <= {due}, f"{min(counts, default=0):,} optimizer steps, {due:,} expected"


def _changed_since_start(training: Trainer, objective: Objective, run: Run) -> tuple[bool, str] | None:
    """None where the checkpoint of step 0 cannot be read, or is another network's."""
    try:
        start = run.load_checkpoint(0, only=("weights",))[0]["weights"]
    except RunError:
        return None
    free = _free(training, objective)
    if any(name not in start or start[name].shape != p.shape for name, p in free):
        return None
    changed = sum(not torch.equal(p.detach().cpu(), start[name].to(p.dtype)) for name, p in free)
    good = changed == len(free) or (changed > 0 and _updates(training, objective) < FEW_UPDATES)
    return good, f"{changed} of {len(free)} tensors differ from those before training"


def _changed_between_observations(objective: Objective, run: Run) -> tuple[bool, str] | None:
    """None without two observations, or without an update between them."""
    records = [record for record in observations(run) if record.get("weight_probes", {}).get(objective.name)][
        -2:
    ]
    if len(records) < 2:
        return None
    before, after = (record["weight_probes"][objective.name] for record in records)
    updates = [record.get("updates", {}).get(objective.name, record["step"]) for record in records]
    if len(before) != len(after) or updates[0] >= updates[1]:
        return None
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    between = f"between the observations at steps {records[0]['step']:,} and {records[1]['step']:,}"
    return changed > 0, f"{changed} of {len(after)} probed weights changed {between}"


def _free(training: Trainer, objective: Objective) -> list[tuple[str, torch.nn.Parameter]]:
    """The parameters that an objective may update, by name, without those that the settings freeze."""
    own = {id(p) for p in objective.parameters()}
    return [(n, p) for n, p in training.model.named_parameters() if id(p) in own]


def _updates(training: Trainer, objective: Objective) -> int:
    return len(range(0, training.step, objective.interval))


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in dict.fromkeys(values))
