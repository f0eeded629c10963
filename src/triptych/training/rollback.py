"""Rollback: a training that failed goes on from its newest healthy checkpoint, at lower learning rates.

The randomness of a step is a function of (seed, step), so without a change the training would fail again. The
factor on the learning rates is part of the checkpoint: a resumed run goes the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triptych.core.errors import RunError
from triptych.monitor.rollback_candidates import rollback_candidates
from triptych.runs.card import Rollback
from triptych.runs.checkpoint import CheckpointMeta, LogPosition
from triptych.runs.run import Run

if TYPE_CHECKING:
    from triptych.monitor.verdicts import Diagnosis
    from triptych.training.trainer import Trainer

LR_FACTOR = 0.5  # on all learning rates, at each rollback, ...
LR_FACTOR_DIVERGED = 0.1  # ... and where weights diverged: such a learning rate is far too high
MAX_ROLLBACKS = 3  # of one run


def roll_back(
    trainer: Trainer, run: Run, diagnosis: Diagnosis | None, reason: str, seconds: float
) -> CheckpointMeta | None:
    """Restore the newest healthy checkpoint and lower the learning rates.

    Args:
        trainer: The training that failed; its weights, optimizers and step are restored.
        run: Its run; later checkpoints are deleted.
        diagnosis: What the GAN monitor found; None for a model that is no GAN, whose checkpoints all count
            as healthy.
        reason: The error message, for run.json.
        seconds: Training time so far, including the steps that are given up.

    Returns:
        The meta of the restored checkpoint; None if there is none, if the run does not ask for rollbacks, or
        if it had `MAX_ROLLBACKS` already.
    """
    past = run.card.rollbacks
    if trainer.options.on_collapse != "rollback" or len(past) >= MAX_ROLLBACKS:
        return None
    for step in rollback_candidates(run, diagnosis):
        try:
            tensors, meta, _ = run.load_checkpoint(step)
        except RunError:
            continue
        diverged = diagnosis is not None and diagnosis.verdict == "divergence"
        lr_scale = min(trainer.lr_scale, meta.lr_scale)
        lr_scale *= LR_FACTOR_DIVERGED if diverged else LR_FACTOR
        entry = Rollback(
            at_step=trainer.step,
            to_step=step,
            reason=reason,
            lr_scale=lr_scale,
            verdict=None if diagnosis is None else diagnosis.verdict,
            evidence=() if diagnosis is None else diagnosis.evidence,
        )
        changes: dict[str, Any] = {"lr_scale": lr_scale, "rollbacks": (*past, entry), "seconds": seconds}
        changes["learning_rates"] = {}  # those of the next step will differ
        changes["last_log"] = LogPosition(step=meta.last_log.step, seconds=seconds)
        meta = meta.model_copy(update=changes)
        run.discard_after(step)  # first: a kill from here on leads back to the healthy checkpoint
        run.save_checkpoint(step, tensors, meta)
        trainer.restore(step, tensors)
        resume_rollback(trainer, run, meta)
        return meta
    return None


def resume_rollback(trainer: Trainer, run: Run, meta: CheckpointMeta) -> None:
    """Take the factor on the learning rates from a checkpoint, and list its rollbacks in run.json.

    Args:
        trainer: Whose `lr_scale` is set.
        run: Whose card is updated.
        meta: Of the checkpoint that training goes on from.
    """
    trainer.lr_scale = meta.lr_scale
    if meta.rollbacks != run.card.rollbacks:
        run.update_card(rollbacks=meta.rollbacks)


def rollback_log(trainer: Trainer, run: Run) -> dict[str, float]:
    """Build what a log line says of earlier rollbacks.

    Args:
        trainer: Whose `lr_scale` is logged.
        run: Whose rollbacks are counted.

    Returns:
        `lr_scale` and the number of `rollbacks`; empty if there were none.
    """
    past = run.card.rollbacks
    return {"rollbacks": len(past), "lr_scale": trainer.lr_scale} if past else {}
