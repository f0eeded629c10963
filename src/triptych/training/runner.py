"""Starts and resumes trainings: checks the options, plans, writes run.json, then trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from triptych.core import device as devices
from triptych.core.busy import busy_cores, thread_advice
from triptych.core.errors import RunError, TrainingError, UsageError
from triptych.data.dataset import Dataset
from triptych.data.datasets.memory import IN_MEMORY
from triptych.data.load import load as load_data
from triptych.data.load import reopen
from triptych.models.configure import check_uses_labels, configure, model_spec, suggest_preset
from triptych.models.registry import build, load_user_model_class
from triptych.runs.card import Cost, DataCard, Resumption, RunCard
from triptych.runs.environment import versions
from triptych.runs.options import Options, Plan
from triptych.runs.run import Run, create, open_run
from triptych.training.clock import StepCallback
from triptych.training.components import component_card, open_components
from triptych.training.planning import make_plan
from triptych.training.preprocessing import training_split
from triptych.training.rollback import resume_rollback
from triptych.training.session import Session, divergence_advice
from triptych.training.timing import timing_function
from triptych.training.trackers import Tracker, check_trackers, tracking
from triptych.training.trainer import Trainer

WORTH_ADVICE_SECONDS = 60.0


def train(
    model: str,
    data: Any = "digits",
    *,
    preset: str | None = None,
    runs: Path | str = "runs",
    name: str | None = None,
    on_step: StepCallback | None = None,
    announce: Callable[[str], None] = lambda line: None,
    trackers: Sequence[Tracker] = (),
    components: Mapping[str, Path | str] = MappingProxyType({}),
    force_first_stage: bool = False,
    command: str = "",
    **settings: Any,
) -> Run:
    """Train a model from newly initialized weights.

    Unknown models, presets and settings raise UsageError, and unusable data DataError, before anything costs
    time. A stop by the user raises `Interrupted`, a KeyboardInterrupt, with a checkpoint saved.

    Args:
        model: The name of a model, or the path of a .py file that defines one.
        data: A source by name, or images, as `triptych.data.load.load` takes it.
        preset: A name in the model's `presets`; None: "fast", if the model has it.
        runs: The folder in which the run directory is made.
        name: Follows the run's number in the directory's name; None: model and data.
        on_step: Called after each step.
        announce: Called, before the first step, with sentences on what will be done and how long it takes.
        trackers: Objects with the methods of accelerate's trackers (`triptych.training.trackers`), beside
            those that the option `track` names.
        components: Run directories of the models that this one is built on, by the names in its class's
            `components`: "first_stage".
        force_first_stage: Accept a first stage whose reconstructions are poor.
        command: The command line, for run.json.
        **settings: Fields of `Options` (steps=200, seed=0, ...) and the model's Config (lr=1e-4, ...). They
            override the preset's.

    Returns:
        The run.

    Raises:
        TrainingError: If a loss or weight is not finite.
    """
    model_class = load_user_model_class(model)
    source = data if isinstance(data, str) else IN_MEMORY
    preset, config, options = configure(model_class, preset, settings, source)
    check_trackers(options.track, trackers)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    dataset = load_data(data, size=options.size, color=options.color)
    if dataset.color_rule:
        announce(dataset.color_rule)
    spec = model_spec(dataset.spec, options.conditional)
    parts = open_components(model_class, components, dataset, announce, force_first_stage)
    models = {name: part.model for name, part in parts.items()}
    untrained = model_class(config, spec, models)  # early: an image size that does not fit is found here
    check_uses_labels(untrained, options.conditional)
    if hint := suggest_preset(model_class, preset, dataset.spec, len(dataset.train)):
        announce(hint)
    try:
        split = training_split(untrained, dataset, options.flip, devices.choose(options.device))
        measure = timing_function(untrained, split, options)
        plan, timing = make_plan(options, len(dataset.train), measure, model_class.channels_last)
    except TrainingError as error:
        raise TrainingError(
            f"in the timed start {error}; no run was made. {divergence_advice(options.precision)}"
        ) from error
    announce(plan.words(options.batch, timing.seconds_per_step))
    if advice := advise_threads(plan, plan.steps, timing.seconds_per_step):
        announce(advice)
    torch.manual_seed(options.seed)
    trainer = Trainer(model_class(config, spec, models), split, options, plan)
    trainer.model.fit_preprocessing(trainer.batches())
    card = RunCard(
        triptych=versions()["triptych"],
        created=began,
        command=command,
        model=model,
        title=model_class.title,
        preset=preset,
        config=config.model_dump(mode="json"),
        conditional=untrained.conditional,
        components={name: component_card(part) for name, part in parts.items()},
        data=data_card(dataset, options),
        image_spec=spec,
        options=options,
        plan=plan,
        cost=Cost(**parameter_counts(untrained), **timing._asdict()),
        versions=versions(),
    )
    run = create(Path(runs), name or f"{Path(model).stem}-{dataset.name}", card)
    with run.writing(), tracking(run, options.track, trackers, 0) as group:
        Session.begin(trainer, run, dataset, on_step, group).train()
    return run


def resume(
    path: Path | str,
    steps: int | None = None,
    *,
    on_step: StepCallback | None = None,
    announce: Callable[[str], None] = lambda line: None,
    model_file: str | None = None,
    data: Any = None,
    trackers: Sequence[Tracker] = (),
) -> Run:
    """Go on with a run from its newest intact checkpoint, to the same bits as without an interruption.

    Data that have changed raise DataError; failures and stops raise as in `train`.

    Args:
        path: The run directory.
        steps: A new total number of steps, over which learning-rate schedules then run; None: as planned.
        on_step: Called after each step.
        announce: As `train` takes it.
        model_file: The path of the model's .py file, if it is one of the user's own.
        data: The images, if they were given from Python.
        trackers: Objects, as `train` takes them; those that the run's options name go on by themselves.

    Returns:
        The run.

    Raises:
        RunError: If the run is finished or damaged.
        UsageError: If `steps` is not larger than the steps done.
    """
    check_trackers((), trackers)
    run = open_run(path)
    options, plan = run.card.options, run.card.plan
    with run.writing():
        tensors, meta, complaints = run.load_checkpoint(warning="training goes on from step {}")
        done = meta.step
        if steps is not None and (steps != plan.steps or plan.limit_seconds is not None):
            plan = plan.model_copy(update={"steps": steps, "limit_seconds": None, "budget": f"{steps} steps"})
        if steps is not None and done >= steps:
            raise UsageError(f"{path} is already at step {done}: --steps must be larger, got {steps}")
        if done >= plan.steps:
            raise RunError(
                f"{path} is finished: {done} of {plan.steps} steps. "
                "To train it longer, give a larger total with --steps"
            )
        if plan.limit_seconds is not None and meta.seconds > plan.limit_seconds:
            raise RunError(
                f"{path} is finished: its {plan.budget} were over at step {done} of {plan.steps}. "
                "To train it longer, give a total with --steps"
            )
        dataset = reopen(run.card.data, run.path, data)
        torch.set_num_threads(plan.threads)
        model = build(run.card, model_file)
        if model.preprocesses:
            model.load_state_dict(tensors["weights"])  # the components' among them
        split = training_split(model, dataset, options.flip, torch.device(plan.device))
        trainer = Trainer(model, split, options, plan)
        trainer.restore(done, tensors)
        resume_rollback(trainer, run, meta)
        run.cut_lines_after(done)
        resumption = Resumption(step=done, passed_over=tuple(complaints), versions=versions())
        run.update_card(plan=plan, resumed=(*run.card.resumed, resumption))
        remaining = plan.model_copy(update={"steps": plan.steps - done})
        seconds_per_step = meta.seconds / done if done else None
        announce(f"from step {done:,} on, {remaining.words(options.batch, seconds_per_step)}")
        if advice := advise_threads(plan, remaining.steps, seconds_per_step):
            announce(advice)
        with tracking(run, options.track, trackers, done) as group:
            Session.begin(trainer, run, dataset, on_step, group, meta).train()
    return run


def advise_threads(plan: Plan, steps: int, seconds_per_step: float | None) -> str:
    """Advise on the number of threads, for trainings of a minute or more on a CPU.

    Args:
        plan: Device and number of threads.
        steps: Steps still to be done.
        seconds_per_step: None where it is not known.

    Returns:
        A sentence, or "" where there is nothing to advise.
    """
    if seconds_per_step is None or steps * seconds_per_step < WORTH_ADVICE_SECONDS or plan.device != "cpu":
        return ""
    return thread_advice(plan.threads, busy_cores(), os.cpu_count() or 1)


def data_card(dataset: Dataset, options: Options) -> DataCard:
    """Describe the data set for run.json.

    Args:
        dataset: The images.
        options: The size and color that the user asked for.

    Returns:
        The card's entry.
    """
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


def parameter_counts(model: torch.nn.Module) -> dict[str, int]:
    """Count all parameters, and those that sampling uses."""
    counts = {name: p.numel() for name, p in model.named_parameters()}
    sampling = [n for name, n in counts.items() if name.split(".")[0] in getattr(model, "ema_modules", ())]
    return {"parameters": sum(counts.values()), "sampling_parameters": sum(sampling)}
