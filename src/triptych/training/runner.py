"""Drives a training: plans it, logs, draws, saves, watches the clock and the keyboard, resumes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.core import device as devices
from triptych.core.busy import busy_cores, thread_advice
from triptych.core.errors import RunError, TrainingError, UsageError
from triptych.core.images import is_points
from triptych.core.weights import named_under
from triptych.data.dataset import Dataset
from triptych.data.datasets.memory import IN_MEMORY
from triptych.data.load import load as load_data
from triptych.data.load import reopen
from triptych.evaluation.selection import Selector
from triptych.inference.pipeline import Pipeline
from triptych.models.configure import check_reads_labels, configure, spec_told, suggestion
from triptych.models.registry import build, load_user_model_class
from triptych.monitor.gan_monitor import GanMonitor
from triptych.monitor.postmortem import newest_post_mortem
from triptych.monitor.rollback_candidates import rollback_candidates
from triptych.monitor.verdicts import Diagnosis
from triptych.runs.card import Cost, DataCard, Resumption, RunCard
from triptych.runs.checkpoint import CheckpointMeta, SnapshotMeta
from triptych.runs.environment import versions
from triptych.runs.options import Options, Plan
from triptych.runs.run import Run, create, open_run
from triptych.training.clock import StepTimer, Watcher
from triptych.training.planning import make_plan
from triptych.training.rollback import go_back, rescued, take_up
from triptych.training.timing import timer
from triptych.training.trackers import Following, Tracker, check_trackers, following
from triptych.training.trainer import Trainer, fresh_copy
from triptych.viz import grids as pictures

LOG_LINES = 400  # about so many in a run
GRID_PICTURES, CLOUD_POINTS = 36, 1000
LOOKS = 6  # grids are drawn and averages kept at the end, half-way, a quarter of the way, ...

WORTH_ADVICE_SECONDS = 60.0


class Interrupted(KeyboardInterrupt):
    """Stopped by the user with the state saved; the message says how to go on."""


def train(
    model: str,
    data: Any = "digits",
    *,
    preset: str | None = None,
    runs: Path | str = "runs",
    name: str | None = None,
    watch: Watcher | None = None,
    announce: Callable[[str], None] = lambda line: None,
    trackers: Sequence[Tracker] = (),
    command: str = "",
    **settings: Any,
) -> Run:
    """Train a model from scratch and return its run.

    model: a name, or a path to a .py file that holds one. data: as `triptych.data.load.load` takes it.
    trackers: beside those named by `track`, objects with accelerate's methods; see
    `triptych.training.trackers`. announce: is given lines on what is about to be done, how long it takes and
    which preset suits the source better, before the first step. preset: a name in the model's `presets`;
    None: "fast", where the model has it. settings: fields of `Options` (steps=200, seed=0, ...) and of the
    model's Config, over those of the preset. Raises ValueError for unfit settings or data, TrainingError
    when a loss or weight is not finite, Interrupted (a KeyboardInterrupt) when stopped.
    """
    kind = load_user_model_class(model)
    source = data if isinstance(data, str) else IN_MEMORY
    preset, config, options = configure(kind, preset, settings, source)
    check_trackers(options.track, trackers)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    dataset = load_data(data, size=options.size, color=options.color)
    if dataset.color_rule:
        announce(dataset.color_rule)
    spec = spec_told(dataset.spec, options.conditional)
    untrained = kind(config, spec)  # before anything costs time: a size that does not fit is found here
    check_reads_labels(untrained, options.conditional)
    if hint := suggestion(kind, preset, dataset.spec, len(dataset.train)):
        announce(hint)
    try:
        measure = timer(untrained, dataset.train, options)
        plan, timing = make_plan(options, len(dataset.train), measure, kind.channels_last)
    except TrainingError as error:
        raise TrainingError(
            f"in the timed start {error}; no run was made. {remedy(options.precision)}"
        ) from error
    announce(plan.words(options.batch, timing.seconds_per_step))
    if advice := threads_for(plan, plan.steps, timing.seconds_per_step):
        announce(advice)
    torch.manual_seed(options.seed)
    training = Trainer(fresh_copy(untrained), dataset.train, options, plan)
    training.model.fit_preprocessing(training.batches())
    card = RunCard(
        triptych=versions()["triptych"],
        created=began,
        command=command,
        model=model,
        title=kind.title,
        preset=preset,
        config=config.model_dump(mode="json"),
        conditional=untrained.conditional,
        data=data_card(dataset, options),
        image_spec=spec,
        options=options,
        plan=plan,
        cost=Cost(**parameters(untrained), **timing._asdict()),
        versions=versions(),
    )
    run = create(Path(runs), name or f"{Path(model).stem}-{dataset.name}", card)
    with run.writing(), following(run, options.track, trackers, 0) as followers:
        drive(training, run, StepTimer(), watch, followers, dataset)
    return run


def resume(
    path: Path | str,
    steps: int | None = None,
    *,
    watch: Watcher | None = None,
    announce: Callable[[str], None] = lambda line: None,
    model_file: str | None = None,
    data: Any = None,
    trackers: Sequence[Tracker] = (),
) -> Run:
    """Go on with a run from its newest whole state, to the same bits as if it had never stopped.

    steps: a new total (learning-rate schedules then run over it). announce: as in `train`. data:
    needed when the pictures were given from Python. trackers: objects, as `train` takes them; those named by
    `track` go on by themselves. Raises RunError when it is finished or damaged, DataError when its data have
    changed.
    """
    check_trackers((), trackers)
    run = open_run(path)
    options, plan = run.card.options, run.card.plan
    with run.writing():
        tensors, meta, complaints = run.load_checkpoint(warning="training goes on from step {}")
        if steps is not None and (steps != plan.steps or plan.limit_seconds is not None):
            plan = plan.model_copy(update={"steps": steps, "limit_seconds": None, "budget": f"{steps} steps"})
        if steps is not None and meta.step >= steps:
            raise UsageError(f"{path} is already at step {meta.step}: --steps must be larger, got {steps}")
        if meta.step >= plan.steps:
            raise RunError(
                f"{path} is finished: {meta.step} of {plan.steps} steps. "
                "To train it longer, give a larger total with --steps"
            )
        if plan.limit_seconds is not None and meta.seconds > plan.limit_seconds:
            raise RunError(
                f"{path} is finished: its {plan.budget} were over at step {meta.step} of {plan.steps}. "
                "To train it longer, give a total with --steps"
            )
        dataset = reopen(run.card.data, run.path, data)
        torch.set_num_threads(plan.threads)
        training = Trainer(build(run.card, model_file), dataset.train, options, plan)
        training.restore(meta.step, tensors)
        take_up(training, run, meta)
        run.cut_lines_after(meta.step)
        resumed = Resumption(step=meta.step, passed_over=tuple(complaints), versions=versions())
        run.update_card(plan=plan, resumed=(*run.card.resumed, resumed))
        left = plan.model_copy(update={"steps": plan.steps - meta.step})
        pace = meta.seconds / meta.step if meta.step else None
        announce(f"from step {meta.step:,} on, {left.words(options.batch, pace)}")
        if advice := threads_for(plan, left.steps, pace):
            announce(advice)
        with following(run, options.track, trackers, meta.step) as followers:
            drive(training, run, StepTimer(meta), watch, followers, dataset, meta)
    return run


def drive(
    training: Trainer,
    run: Run,
    clock: StepTimer,
    watch: Watcher | None,
    followers: Following,
    dataset: Dataset,
    meta: CheckpointMeta | None = None,
) -> None:
    """Train to the plan's end, to the clock's, or until asked to stop; the state is saved in any case.

    A training that fails, or that the watch gives up, goes back to its last good state where asked to.
    """
    shown = Pipeline(fresh_copy(training.model).to(training.device), run, run.card.data.class_counts)
    selector = Selector(training, shown, dataset, None if meta is None else meta.comparison)
    lookout = GanMonitor(training, run, shown) if training.model.adversarial else None
    with stop_signals() as stop_asked:
        while True:
            try:
                stopped = stretch(training, run, clock, selector, lookout, watch, stop_asked, followers)
                break
            except TrainingError as error:
                found = None if lookout is None else lookout.record_failure(error)
                meta = go_back(training, run, found, str(error), clock.seconds)
                if meta is None:
                    raise TrainingError(explain_failure(error, run, found)) from error
                clock.go_back(meta)
                selector.last = meta.comparison
                if lookout is not None:
                    lookout.reset()
    if stopped:
        raise Interrupted(
            f"stopped at step {training.step} of {training.plan.steps}, state saved. "
            f"Go on with: triptych resume {run.path}"
        )


def stretch(
    training: Trainer,
    run: Run,
    clock: StepTimer,
    selector: Selector,
    lookout: GanMonitor | None,
    watch: Watcher | None,
    stop_asked: Callable[[], bool],
    followers: Following,
) -> bool:
    """Train until the end, or until asked to stop: returns whether it stopped before the end.

    Raises TrainingError when a loss is not finite, or when the watch gives the game up.
    """
    plan, every = training.plan, training.options.save_every
    log_every, looks = max(1, plan.steps // LOG_LINES), looks_of(plan.steps)
    if training.step == 0:
        save(training, run, clock, selector, lookout)
    if lookout is not None and lookout.due(0) and not run.monitor_lines():
        lookout.observe_untrained()
    clock.go_on()
    for step in training.steps():
        clock.lap(training, step)
        late = plan.limit_seconds is not None and clock.seconds > plan.limit_seconds
        ends, stops = step.step >= plan.steps or late, stop_asked()
        if step.step % log_every == 0 or ends:
            line = {**clock.line(step.step), **rescued(training, run)}
            run.append_log(line)
            followers.line(line)
        if stops and not ends:  # before anything that takes time: a second Ctrl-C stops at once
            save(training, run, clock, selector, lookout)
        if step.step in looks or ends or stops:
            selector.compare()
        if step.step in looks or ends:
            followers.samples(draw(training, run, selector), step.step)
            raw = named_under(training.model, training.model.ema_modules)
            noted = SnapshotMeta(seconds=clock.seconds, comparison=selector.last)
            run.save_snapshot(step.step, training.ema.tensors, noted, raw)
        if lookout is not None and lookout.due(step.step, ends):
            lookout.observe(ends)
        keeps = lookout is not None and lookout.should_keep_checkpoint()
        if ends or stops or keeps or clock.save_due(step.step, every):
            save(training, run, clock, selector, lookout)
        if watch is not None:
            watch(clock.progress(run, step, plan, lookout))
        clock.go_on()
        if ends or stops:
            return stops and not ends
    raise AssertionError("batches never end")


def save(
    training: Trainer, run: Run, clock: StepTimer, selector: Selector, lookout: GanMonitor | None = None
) -> None:
    """Write the whole state, and what the clock, the log and the watch need to go on."""
    meta = CheckpointMeta(
        step=training.step,
        images=training.step * training.options.batch,
        seconds=clock.seconds,
        comparison=selector.last,
        total_steps=training.plan.steps,
        peak_memory_bytes=devices.peak_memory_bytes(training.device),
        learning_rates={
            objective.name: [group["lr"] for group in objective.optimizer.param_groups]
            for objective in training.objectives
        },
        lr_scale=training.lr_scale,
        healthy=lookout is not None and lookout.should_keep_checkpoint(),
        rollbacks=run.card.rollbacks,
        last_log=clock.last_log,
        log_accumulators=clock.accumulators(),
    )
    run.save_checkpoint(training.step, training.state_tensors(), meta)
    clock.saved_at = time.perf_counter()


def looks_of(steps: int) -> set[int]:
    """The steps of a run at which one looks back later: its end, half-way, a quarter of the way, ..."""
    return {max(1, steps >> k) for k in range(LOOKS)}


def draw(training: Trainer, run: Run, selector: Selector) -> Path:
    """Write a grid of images at fixed seeds, from the weights that are shown; returns the file."""
    shown = selector.load(selector.compare())
    points = is_points(training.split.pixels)
    seeds = range(CLOUD_POINTS if points else GRID_PICTURES)
    labels = [seed % shown.spec.classes for seed in seeds] if shown.model.conditional else None
    behind = np.asarray(training.split.pixels[:CLOUD_POINTS]) if points else None
    drawn = shown.sample(seeds, labels)
    sheet = pictures.grid(drawn, scale=max(1, 64 // shown.spec.size), behind=behind)
    file = run.path / "samples" / f"step-{training.step:08d}.png"
    pictures.write_png(file, sheet)
    return file


def threads_for(plan: Plan, steps: int, seconds_per_step: float | None) -> str:
    """Advice on the number of threads of a training of a minute or more; "" for none."""
    if seconds_per_step is None or steps * seconds_per_step < WORTH_ADVICE_SECONDS or plan.device != "cpu":
        return ""
    return thread_advice(plan.threads, busy_cores(), os.cpu_count() or 1)


def explain_failure(error: TrainingError, run: Run, found: Diagnosis | None) -> str:
    """What a run that became not finite leaves, and what may help."""
    kept = rollback_candidates(run, found)
    state = f"The last good state, of step {max(kept)}, is kept" if kept else "No state was saved yet"
    page = newest_post_mortem(run)
    more = f" What happened, and what may help: {page}" if page else ""
    return f"{error}. {state} in {run.path}. {remedy(run.card.plan.precision)}{more}"


def remedy(precision: str) -> str:
    """What helps most often when numbers run away."""
    return f"A smaller --lr often helps{'' if precision == 'fp32' else ', or --precision fp32'}."


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a wish that the loop grants after its step.

    A second Ctrl-C stops at once. Outside the main thread signals are left alone.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, frame: Any) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def data_card(dataset: Dataset, options: Options) -> DataCard:
    """What run.json says of the data."""
    return DataCard(
        source=dataset.source,
        name=dataset.name,
        size=options.size,
        color=options.color,
        fingerprint=dataset.fingerprint,
        class_names=tuple(dataset.class_names),
        class_counts=tuple(int(count) for count in dataset.class_counts),
        train=len(dataset.train),
        test=len(dataset.test),
        split_rule=dataset.split_rule,
        credit=dataset.credit,
        skipped=len(dataset.skipped),
        color_rule=dataset.color_rule,
    )


def parameters(model: torch.nn.Module) -> dict[str, int]:
    """Parameters in all, and of the part that draws."""
    counts = {name: p.numel() for name, p in model.named_parameters()}
    shown = [n for name, n in counts.items() if name.split(".")[0] in getattr(model, "ema_modules", ())]
    return {"parameters": sum(counts.values()), "sampling_parameters": sum(shown)}
