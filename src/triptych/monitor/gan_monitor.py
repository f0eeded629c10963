"""Looks at a game of two players while it is trained: draws a few samples, notes what they show.

A look changes nothing in the training: it draws from a copy, at fixed seeds, from the raw weights, in
which a disease shows first (the averaged ones, which are shown to people, remember better days). Its
time is no training time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from triptych.core.errors import RunError, TrainingError
from triptych.inference.pipeline import Pipeline
from triptych.monitor.diagnosis import Diagnosis, diagnose
from triptych.monitor.postmortem import write_post_mortem
from triptych.monitor.rollback_candidates import candidates
from triptych.monitor.sample_statistics import Reference, look_at
from triptych.monitor.thresholds import FEWEST_LOOKS, FEWEST_PICTURES
from triptych.runs.run import Run
from triptych.viz import grids as pictures

if TYPE_CHECKING:
    from triptych.core.objectives import AdversarialSpec, Objective
    from triptych.data.dataset import Split
    from triptych.models.registry import AnyModel
    from triptych.runs.options import Options, Plan

PLANNED = 32  # looks in a run
APART_PICTURES = 2000  # trained on between two looks, so that looking stays cheap beside training, ...
SHORT = 12  # ... but a short run gets so many looks all the same, ...
APART_STEPS = 10  # ... if there are so many steps between them
DETAILED = 64  # samples drawn once more with their random detail, where the family has any
SHOWN = 16  # samples kept as a picture of each look
SHOWN_PX = 64
GOOD_STATES = 8  # of a run at most: how often a healthy state is set aside
PROBED = 64  # weights of each player that are noted at each look, to see whether it moves at all


class GivenUp(TrainingError):  # noqa: N818 - a verdict rather than a mistake
    """A game that the watch gives up."""


class MonitoredTraining(Protocol):
    """What the monitor sees of a training, whoever runs it."""

    step: int

    @property
    def model(self) -> AnyModel:
        """The model with its raw weights."""

    @property
    def split(self) -> Split:
        """The training images."""

    @property
    def options(self) -> Options:
        """What was asked for."""

    @property
    def plan(self) -> Plan:
        """What will be done."""

    @property
    def objectives(self) -> list[Objective]:
        """Who learns, in the order of their turns."""


class GanMonitor:
    """The watch over one training."""

    def __init__(self, training: MonitoredTraining, run: Run, shown: Pipeline) -> None:
        game = training.model.adversarial
        assert game is not None
        self.training, self.run, self.shown, self.game = training, run, shown, game
        self.every = looks_every(training.plan.steps, training.options.batch)
        enough = len(training.split) >= FEWEST_PICTURES
        self.worthwhile = enough and training.plan.steps // self.every >= FEWEST_LOOKS
        self.looked_at = -1
        self.reference: Reference | None = None  # made at the first look: a short run has none
        self.diagnosis = self.diagnose()

    def due(self, step: int, ends: bool = False) -> bool:
        """Whether it is time for a look: a function of the step, but where the clock ends a training."""
        return self.worthwhile and (step % self.every == 0 or ends)

    def wants_state(self) -> bool:
        """Whether the state of this step should be set aside as a good one to come back to.

        Only where a look was taken, as an earlier one says nothing of now; and well apart from the one
        before, as a disease has begun some time before it is seen.
        """
        if self.looked_at != self.training.step or not self.diagnosis.sound:
            return False
        since = self.training.step - max(self.run.healthy_states(), default=0)
        return since >= self.training.plan.steps / GOOD_STATES

    def start_again(self) -> None:
        """Forget what was seen after the step that the training went back to."""
        self.looked_at, self.diagnosis = -1, self.diagnose()

    def look(self, ends: bool = False) -> Diagnosis:
        """Look once, write what was seen to the run, and say what it means.

        ends: this is the training's last step. Raises GivenUp when the verdict is fatal and the options
        say not to go on.
        """
        began, last = time.perf_counter(), self.diagnosis
        self._see(began)
        found = self.diagnosis
        news = found.fatal and (not last.fatal or found.verdict != last.verdict)
        if news or (ends and found.sick):
            write_post_mortem(self.run, found, self.game, candidates(self.run, found))
        policy = self.training.options.on_collapse
        if found.fatal and (policy == "rollback" or (policy == "stop" and not ends)):
            raise GivenUp(found.line())
        return found

    def look_at_start(self) -> None:
        """Look at the untrained generator: how bad pictures can be.

        A run that was too short for looks and was made longer has trained since: its first state is seen.
        """
        training = self.training
        try:
            first = self.run.load_state(0, only=("weights",))[0]["weights"]
        except RunError:
            return  # nothing is left of it: the watch does without
        step, now = training.step, {k: v.clone() for k, v in training.model.state_dict().items()}
        training.step = 0
        training.model.load_state_dict(first)
        self._see(time.perf_counter())
        training.step = step
        training.model.load_state_dict(now)

    def fail(self, error: TrainingError) -> Diagnosis:
        """Note that the training cannot go on, and write its post-mortem."""
        if not isinstance(error, GivenUp):
            step = self.training.step + 1  # after any state that was saved: a resumed run forgets it
            said = {"verdict": "not finite", "since": step}
            self.run.append_look({"step": step, "failure": str(error), **said})
            self.diagnosis = self.diagnose()
            kept = candidates(self.run, self.diagnosis)
            write_post_mortem(self.run, self.diagnosis, self.game, kept)
        return self.diagnosis

    def _see(self, began: float) -> None:
        training = self.training
        if self.reference is None:
            # the source's classes, of which an unconditional family is told none
            self.reference = Reference(training.split, len(self.run.card.data.class_names))
        self.shown.model.load_state_dict(training.model.state_dict())
        seeds = range(self.reference.samples)
        # without random detail: grain would hide that samples repeat each other
        drawn, labels = (
            self.shown.sample(seeds, **self.shown.model.deterministic_controls),
            self.shown.labels_for(seeds),
        )
        before = self.run.looks()
        told = None if labels is None else labels.numpy()
        plain = self.shown.model.deterministic_controls
        detailed = self.shown.sample(seeds[:DETAILED]) if plain else None  # grain is what a person sees
        seen = look_at(self.reference, drawn, told, before[-1] if before else None, detailed)
        probes = {player.name: probe(player) for player in training.objectives}
        turns = {p.name: len(range(0, training.step, p.interval)) for p in training.objectives}
        record = {"step": training.step, **seen, "turns": turns, "weights": probes}
        if training.step == 0:
            record["scales"] = {player.name: scales(player) for player in training.objectives}
        self.diagnosis = self.diagnose([*before, record])
        self.looked_at = training.step
        self._keep_picture(drawn[:SHOWN])
        said = {"verdict": self.diagnosis.verdict, "since": self.diagnosis.since}
        self.run.append_look({**record, **said, "seconds": round(time.perf_counter() - began, 4)})

    def diagnose(self, looks: Sequence[dict[str, Any]] | None = None) -> Diagnosis:
        """What the log and the looks so far mean."""
        seen = self.run.looks() if looks is None else looks
        return diagnose(self.run.log(), seen, self.game, self.training.plan.steps)

    def _keep_picture(self, drawn: np.ndarray) -> None:
        home = self.run.path / "watch"
        home.mkdir(exist_ok=True)
        step_px = max(1, drawn.shape[1] // SHOWN_PX)
        if drawn.shape[3] not in (1, 3) or drawn.shape[1] < 4:
            return  # points: there is no picture to see
        sheet = pictures.grid(drawn[:, ::step_px, ::step_px], scale=max(1, 32 // drawn.shape[1]))
        pictures.write_png(home / f"step-{self.training.step:08d}.png", sheet)


def diagnosis_of(run: Run, game: AdversarialSpec) -> Diagnosis:
    """What a run's log and looks mean, told from its directory."""
    steps, images = run.card.plan.steps, run.card.data.train
    found = diagnose(run.log(), run.looks(), game, steps)
    if found.sick or run.looks():
        return found
    why = f"the run of {steps:,} steps is too short for {FEWEST_LOOKS} looks at its samples"
    if images < FEWEST_PICTURES:
        why = f"the samples are not looked at: {images} training images are fewer than {FEWEST_PICTURES}"
    return replace(found, evidence=(why,))


def last_sick(run: Run) -> int:
    """The step of the last look that named a disease, or at which the run last went back; 0 without any."""
    seen = [look["step"] for look in run.looks() if Diagnosis(look.get("verdict", "too early")).sick]
    return max([*seen, *(rollback.at_step for rollback in run.card.rollbacks)], default=0)


def looks_every(steps: int, batch: int) -> int:
    """Steps between two looks."""
    cheap = min(math.ceil(APART_PICTURES / batch), max(math.ceil(steps / SHORT), APART_STEPS))
    return max(math.ceil(steps / PLANNED), cheap)


def probe(player: Objective) -> list[float]:
    """A few of a player's weights, evenly over all of them."""
    picked = [tensor.flatten()[place] for tensor, place in _probed(player)]
    return [float(f"{x:.6g}") for x in torch.stack(picked).float().cpu().tolist()]


def scales(player: Objective) -> list[float]:
    """For each of the same weights the root mean square of its tensor; 1 for a tensor of zeros."""
    sizes = [tensor.square().mean().sqrt() for tensor, _ in _probed(player)]
    return [float(f"{x:.6g}") or 1.0 for x in torch.stack(sizes).float().cpu().tolist()]


def _probed(player: Objective) -> list[tuple[torch.Tensor, int]]:
    """Tensors, and the place in each, of the weights that are noted."""
    owned = [parameter.detach() for parameter in player.parameters()]
    ends = np.cumsum([tensor.numel() for tensor in owned])
    places = np.unique(np.linspace(0, ends[-1] - 1, PROBED).astype(np.int64))
    which = np.searchsorted(ends, places, side="right")
    return [
        (owned[k], int(place - (ends[k] - owned[k].numel()))) for k, place in zip(which, places, strict=True)
    ]
