"""The way back: a training that failed goes on from its last good state, more gently.

A step's randomness is a function of (seed, step), so what changes the course is the learning rate: all
players' rates are lowered from there on. The factor is part of the state: a resumed run goes the same way.
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

GENTLER = 0.5  # factor on all learning rates, each time, ...
MUCH_GENTLER = 0.1  # ... and where weights ran away: a rate that does that is far too high
MOST = 3  # times that one run goes back


def go_back(
    training: Trainer, run: Run, found: Diagnosis | None, why: str, seconds: float
) -> CheckpointMeta | None:
    """Restore the last good state at gentler rates; returns its meta, None when there is no way back.

    found: what the watch says; None for families without a game, whose every saved state is good. seconds:
    trained so far, all spent, also those on the course that is given up.
    """
    past = run.card.rollbacks
    if training.options.on_collapse != "rollback" or len(past) >= MOST:
        return None
    for step in rollback_candidates(run, found):
        try:
            tensors, meta, _ = run.load_checkpoint(step)
        except RunError:
            continue
        factor = MUCH_GENTLER if found is not None and found.verdict == "divergence" else GENTLER
        ease = min(training.lr_scale, meta.lr_scale) * factor
        note = Rollback(
            at_step=training.step,
            to_step=step,
            reason=why,
            lr_scale=ease,
            verdict=None if found is None else found.verdict,
            evidence=() if found is None else found.evidence,
        )
        changes: dict[str, Any] = {"lr_scale": ease, "rollbacks": (*past, note), "seconds": seconds}
        changes["learning_rates"] = {}  # the next step's will be others
        changes["last_log"] = LogPosition(step=meta.last_log.step, seconds=seconds)
        meta = meta.model_copy(update=changes)
        run.discard_after(step)  # the sick states first: a kill from here on leads back to the good one
        run.save_checkpoint(step, tensors, meta)
        training.restore(step, tensors)
        take_up(training, run, meta)
        return meta
    return None


def take_up(training: Trainer, run: Run, meta: CheckpointMeta) -> None:
    """Go on at the rates that a state was saved with, and let run.json say how often the run went back."""
    training.lr_scale = meta.lr_scale
    if meta.rollbacks != run.card.rollbacks:
        run.update_card(rollbacks=meta.rollbacks)


def rescued(training: Trainer, run: Run) -> dict[str, float]:
    """The same for a line of the log."""
    past = run.card.rollbacks
    return {"rollbacks": len(past), "lr_scale": training.lr_scale} if past else {}
