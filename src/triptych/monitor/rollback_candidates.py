"""Which checkpoints of a run a rollback may restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triptych.runs.run import Run

if TYPE_CHECKING:
    from triptych.monitor.verdicts import Diagnosis


def rollback_candidates(run: Run, diagnosis: Diagnosis | None) -> list[int]:
    """List the checkpoints to roll back to, best first.

    Args:
        run: The run.
        diagnosis: What is wrong; None for a model that is not adversarial, whose every checkpoint is good.

    Returns:
        Steps: the newest first, those that a rollback has restored in vain last.
    """
    tried = {rollback.to_step for rollback in run.card.rollbacks}
    return sorted(_healthy(run, diagnosis), key=lambda step: (step in tried, -step))


def _healthy(run: Run, diagnosis: Diagnosis | None) -> list[int]:
    steps = run.checkpoints()
    if diagnosis is None:
        return steps
    healthy = [
        step for step in run.healthy_checkpoints() if diagnosis.since is None or step < diagnosis.since
    ]
    if not healthy and diagnosis.verdict == "non-finite values":
        healthy = steps  # saved only while every weight was finite, and no other problem was found
    return [*healthy, *(step for step in steps if step == 0 and step not in healthy)]
