"""Observes a GAN while it is trained: draws a few samples now and then and records what they show.

An observation changes nothing in the training: it draws from a copy, at fixed seeds, with the raw weights, in
which a problem shows first (EMA weights, which people are shown, lag behind). Its time is not training time.
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
from triptych.monitor.diagnosis import diagnose
from triptych.monitor.postmortem import write_post_mortem
from triptych.monitor.records import append_observation, observations
from triptych.monitor.rollback_candidates import rollback_candidates
from triptych.monitor.sample_statistics import Reference, observe_samples
from triptych.monitor.thresholds import MIN_OBSERVATIONS, MIN_TRAINING_IMAGES
from triptych.monitor.verdicts import Diagnosis
from triptych.runs.run import Run
from triptych.viz import grids

if TYPE_CHECKING:
    from triptych.core.objectives import AdversarialSpec, Objective
    from triptych.data.dataset import Split
    from triptych.models.registry import AnyModel
    from triptych.runs.options import Options, Plan

PLANNED_OBSERVATIONS = 32  # of a run
IMAGES_BETWEEN = 2000  # trained on between two observations, so that they stay cheap beside training, ...
MIN_PLANNED = 12  # ... but a short run gets so many all the same, ...
STEPS_BETWEEN = 10  # ... if there are so many steps between them
DETAILED_SAMPLES = 64  # drawn once more with their random detail, where the model has any
KEPT_SAMPLES = 16  # kept as an image of each observation
KEPT_PX = 64
HEALTHY_CHECKPOINTS = 8  # of a run at most: how often a healthy checkpoint is kept
PROBED_WEIGHTS = 64  # of each network, recorded at each observation, to see whether it moves at all


class StoppedByMonitor(TrainingError):  # noqa: N818 - a verdict rather than a mistake
    """The GAN monitor stopped a training that will not recover."""


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
        """The options of the training."""

    @property
    def plan(self) -> Plan:
        """The plan made from them."""

    @property
    def objectives(self) -> list[Objective]:
        """The objectives, in the order of their updates."""


class GanMonitor:
    """The monitor of one training.

    Args:
        training: The training.
        run: Where observations are written to.
        pipeline: A copy of the model to draw from; its weights are overwritten.
    """

    def __init__(self, training: MonitoredTraining, run: Run, pipeline: Pipeline) -> None:
        spec = training.model.adversarial
        assert spec is not None
        self.training, self.run, self.pipeline, self.spec = training, run, pipeline, spec
        self.interval = observation_interval(training.plan.steps, training.options.batch)
        enough_images = len(training.split) >= MIN_TRAINING_IMAGES
        self.enabled = enough_images and training.plan.steps // self.interval >= MIN_OBSERVATIONS
        self.observed_step = -1
        self.reference: Reference | None = None  # made at the first observation: a short run has none
        self.diagnosis = self.diagnose()

    def due(self, step: int, ends: bool = False) -> bool:
        """Whether to observe now: a function of the step, unless a time budget ends the training.

        Args:
            step: Steps done.
            ends: This is the training's last step.

        Returns:
            Whether `observe` should be called.
        """
        return self.enabled and (step % self.interval == 0 or ends)

    def should_keep_checkpoint(self) -> bool:
        """Whether the checkpoint of this step should be kept as a healthy one to roll back to.

        Only where an observation was made, as an earlier one says nothing of now; and well apart from the
        previous one, as a problem has begun some time before it is seen.
        """
        if self.observed_step != self.training.step or not self.diagnosis.clean:
            return False
        since = self.training.step - max(self.run.healthy_checkpoints(), default=0)
        return since >= self.training.plan.steps / HEALTHY_CHECKPOINTS

    def reset(self) -> None:
        """Forget what was observed after the step that the training rolled back to."""
        self.observed_step, self.diagnosis = -1, self.diagnose()

    def observe(self, ends: bool = False) -> Diagnosis:
        """Observe the generator, write the observation to the run, and diagnose the training.

        Args:
            ends: This is the training's last step.

        Returns:
            The diagnosis.

        Raises:
            StoppedByMonitor: The verdict is fatal and the options say not to go on.
        """
        began, last = time.perf_counter(), self.diagnosis
        self._observe(began)
        diagnosis = self.diagnosis
        news = diagnosis.fatal and (not last.fatal or diagnosis.verdict != last.verdict)
        if news or (ends and diagnosis.is_problem):
            write_post_mortem(self.run, diagnosis, self.spec, rollback_candidates(self.run, diagnosis))
        policy = self.training.options.on_collapse
        if diagnosis.fatal and (policy == "rollback" or (policy == "stop" and not ends)):
            raise StoppedByMonitor(diagnosis.summary())
        return diagnosis

    def observe_untrained(self) -> None:
        """Observe the untrained generator, which later observations are compared with.

        A run that was too short for observations and was made longer has trained since: its first checkpoint
        is observed.
        """
        training = self.training
        try:
            first = self.run.load_checkpoint(0, only=("weights",))[0]["weights"]
        except RunError:
            return  # it is gone: the monitor does without
        step, now = training.step, {k: v.clone() for k, v in training.model.state_dict().items()}
        training.step = 0
        training.model.load_state_dict(first)
        self._observe(time.perf_counter())
        training.step = step
        training.model.load_state_dict(now)

    def record_failure(self, error: TrainingError) -> Diagnosis:
        """Record that the training cannot go on, write its post-mortem, and return the diagnosis."""
        if not isinstance(error, StoppedByMonitor):
            step = self.training.step + 1  # after any checkpoint that was saved: a resumed run forgets it
            verdict = {"verdict": "non-finite values", "since": step}
            append_observation(self.run, {"step": step, "failure": str(error), **verdict})
            self.diagnosis = self.diagnose()
            kept = rollback_candidates(self.run, self.diagnosis)
            write_post_mortem(self.run, self.diagnosis, self.spec, kept)
        return self.diagnosis

    def _observe(self, began: float) -> None:
        training, pipeline = self.training, self.pipeline
        if self.reference is None:
            # the data set's classes, which an unconditional model does not know
            self.reference = Reference(training.split, len(self.run.card.data.class_names))
        pipeline.model.load_state_dict(training.model.state_dict())
        seeds = range(self.reference.samples)
        # without random detail: grain would hide that samples repeat each other
        controls = pipeline.model.deterministic_controls
        drawn, drawn_labels = pipeline.sample(seeds, **controls), pipeline.labels_for(seeds)
        before = observations(self.run)
        labels = None if drawn_labels is None else drawn_labels.numpy()
        detailed = pipeline.sample(seeds[:DETAILED_SAMPLES]) if controls else None  # people see the grain
        measured = observe_samples(self.reference, drawn, labels, before[-1] if before else None, detailed)
        updates = {p.name: len(range(0, training.step, p.interval)) for p in training.objectives}
        probes = {p.name: weight_probe(p) for p in training.objectives}
        record = {"step": training.step, **measured, "updates": updates, "weight_probes": probes}
        if training.step == 0:
            record["weight_scales"] = {p.name: weight_scales(p) for p in training.objectives}
        self.diagnosis = self.diagnose([*before, record])
        self.observed_step = training.step
        self._keep_images(drawn[:KEPT_SAMPLES])
        verdict = {"verdict": self.diagnosis.verdict, "since": self.diagnosis.since}
        seconds = round(time.perf_counter() - began, 4)
        append_observation(self.run, {**record, **verdict, "seconds": seconds})

    def diagnose(self, records: Sequence[dict[str, Any]] | None = None) -> Diagnosis:
        """Diagnose from the log and the observations so far; `records` instead of the run's, where given."""
        known = observations(self.run) if records is None else records
        return diagnose(self.run.log(), known, self.spec, self.training.plan.steps)

    def _keep_images(self, drawn: np.ndarray) -> None:
        folder = self.run.monitor_folder
        folder.mkdir(exist_ok=True)
        stride = max(1, drawn.shape[1] // KEPT_PX)
        if drawn.shape[3] not in (1, 3) or drawn.shape[1] < 4:
            return  # 2-D points are no images
        sheet = grids.grid(drawn[:, ::stride, ::stride], scale=max(1, 32 // drawn.shape[1]))
        grids.write_png(folder / f"step-{self.training.step:08d}.png", sheet)


def diagnose_run(run: Run, spec: AdversarialSpec) -> Diagnosis:
    """Diagnose a run from its directory.

    Args:
        run: The run.
        spec: The names of the model's two networks, and what the critic's output means.

    Returns:
        The diagnosis; "too early", with the reason, for a run that is too short to be observed.
    """
    steps, images = run.card.plan.steps, run.card.data.train
    records = observations(run)
    diagnosis = diagnose(run.log(), records, spec, steps)
    if diagnosis.is_problem or records:
        return diagnosis
    reason = f"{steps:,} steps are too few for the {MIN_OBSERVATIONS} observations that a diagnosis needs"
    if images < MIN_TRAINING_IMAGES:
        reason = f"a diagnosis needs {MIN_TRAINING_IMAGES} training images or more, this run has {images}"
    return replace(diagnosis, evidence=(reason,))


def last_problem_step(run: Run) -> int:
    """The step of the last observation with a problem, or of the last rollback; 0 without any."""
    steps = [
        record["step"]
        for record in observations(run)
        if Diagnosis(record.get("verdict", "too early")).is_problem
    ]
    return max([*steps, *(rollback.at_step for rollback in run.card.rollbacks)], default=0)


def observation_interval(steps: int, batch: int) -> int:
    """Choose how many steps lie between two observations.

    Args:
        steps: Planned for the whole run.
        batch: Images per step.

    Returns:
        Steps, at least 1.
    """
    cheap = min(math.ceil(IMAGES_BETWEEN / batch), max(math.ceil(steps / MIN_PLANNED), STEPS_BETWEEN))
    return max(math.ceil(steps / PLANNED_OBSERVATIONS), cheap)


def weight_probe(objective: Objective) -> list[float]:
    """A few weights of an objective's network, evenly over all of them."""
    picked = [tensor.flatten()[place] for tensor, place in _probed(objective)]
    return [float(f"{x:.6g}") for x in torch.stack(picked).float().cpu().tolist()]


def weight_scales(objective: Objective) -> list[float]:
    """For each of the same weights the root mean square of its tensor; 1 for a tensor of zeros."""
    sizes = [tensor.square().mean().sqrt() for tensor, _ in _probed(objective)]
    return [float(f"{x:.6g}") or 1.0 for x in torch.stack(sizes).float().cpu().tolist()]


def _probed(objective: Objective) -> list[tuple[torch.Tensor, int]]:
    """The tensors, and the place in each, of the weights that are recorded."""
    owned = [parameter.detach() for parameter in objective.parameters()]
    ends = np.cumsum([tensor.numel() for tensor in owned])
    places = np.unique(np.linspace(0, ends[-1] - 1, PROBED_WEIGHTS).astype(np.int64))
    which = np.searchsorted(ends, places, side="right")
    return [
        (owned[k], int(place - (ends[k] - owned[k].numel()))) for k, place in zip(which, places, strict=True)
    ]
