"""Which checkpoints of a run a rollback may restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triptych.runs.run import Run

if TYPE_CHECKING:
    from triptych.monitor.diagnosis import Diagnosis


def candidates(run: Run, found: Diagnosis | None) -> list[int]:
    """The steps of the states to go back to, best first: newest first, those tried in vain last."""
    tried = {rollback.to_step for rollback in run.card.rollbacks}
    return sorted(_fit(run, found), key=lambda step: (step in tried, -step))


def _fit(run: Run, found: Diagnosis | None) -> list[int]:
    states = run.states()
    if found is None:
        return states
    good = [step for step in run.healthy_states() if found.since is None or step < found.since]
    if not good and found.verdict == "not finite":
        good = states  # saved only while every weight was finite, and nothing was said against the game
    return [*good, *(step for step in states if step == 0 and step not in good)]
