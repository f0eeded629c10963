"""Drives a training: plans it, logs, draws, saves, watches the clock and the keyboard, resumes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.averages import named_under
from triptych.configure import check_reads_labels, configure, spec_told, suggestion
from triptych.core import device as devices
from triptych.core import images as pictures
from triptych.core.errors import UsageError
from triptych.core.scatter import is_points
from triptych.data import IN_MEMORY, Dataset, reopen
from triptych.data import load as load_data
from triptych.lookout import Lookout
from triptych.model import Model, build, load_user_family
from triptych.plan import Options, Plan, make_plan, versions
from triptych.postmortem import newest_post_mortem
from triptych.rescue import candidates, go_back, rescue_meta, rescued, take_up
from triptych.run import Run, RunError, create, open_run
from triptych.selection import Selector
from triptych.train import Step, Training, TrainingError, fresh_copy, timer
from triptych.watch import Diagnosis

LOG_LINES = 400  # about so many in a run
GRID_PICTURES, CLOUD_POINTS = 36, 1000
LOOKS = 6  # grids are drawn and averages kept at the end, half-way, a quarter of the way, ...
SAVE_SECONDS = 60.0


class Interrupted(KeyboardInterrupt):
    """Stopped by the user with the state saved; the message says how to go on."""


@dataclass(frozen=True)
class Progress:
    """What a watcher is told after every step."""

    run: Run
    step: int
    steps: int
    images_per_second: float
    losses: Callable[[], dict[str, float]]  # read only when asked: reading waits for the device
    news: str = ""  # what the watch has to say that cannot wait


Watcher = Callable[[Progress], None]


def train(
    family: str,
    data: Any = "digits",
    *,
    preset: str | None = None,
    runs: Path | str = "runs",
    name: str | None = None,
    watch: Watcher | None = None,
    announce: Callable[[str], None] = lambda line: None,
    command: str = "",
    **settings: Any,
) -> Run:
    """Train a family from scratch and return its run.

    family: a name, or a path to a .py file that holds one. data: as `triptych.data.load` takes it.
    announce: is given lines on what is about to be done, how long it takes and which preset suits the source
    better, before the first step.
    preset: a name in the family's `presets`; None: "fast", where the family has it. settings: fields of
    `Options` (steps=200, seed=0, ...) and of the family's Config, over those of the preset. Raises ValueError
    for unfit settings or data, TrainingError when a loss or weight is not finite, Interrupted (a
    KeyboardInterrupt) when stopped.
    """
    kind = load_user_family(family)
    source = data if isinstance(data, str) else IN_MEMORY
    preset, config, options = configure(kind, preset, settings, source)
    dataset = load_data(data, size=options.size, colour=options.colour)
    card: dict[str, Any] = {
        "triptych": versions()["triptych"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "family": family,
        "title": kind.title,
        "preset": preset,
        "config": config.model_dump(mode="json"),
        "data": data_card(dataset, options),
        "spec": asdict(spec_told(dataset.spec, options.conditional)),
        "options": options.model_dump(mode="json"),
        "versions": versions(),
    }
    model = build(card, family)  # before anything costs time: a size that does not fit is found here
    check_reads_labels(model, options.conditional)
    if hint := suggestion(kind, preset, dataset.spec, len(dataset.train)):
        announce(hint)
    card["conditional"] = model.conditional
    try:
        measure = timer(model, dataset.train, options)
        plan, timing = make_plan(options, len(dataset.train), measure, kind.channels_last)
    except TrainingError as error:
        raise TrainingError(
            f"in the timed start {error}; no run was made. {remedy(options.precision)}"
        ) from error
    card["plan"] = plan.model_dump(mode="json")
    card["cost"] = {**parameters(model), **timing._asdict()}
    announce(plan.words(options.batch, timing.seconds_per_step))
    torch.manual_seed(options.seed)
    training = Training(fresh_copy(model), dataset.train, options, plan)
    training.family.fit(training.batches())
    run = create(Path(runs), name or f"{Path(family).stem}-{dataset.name}", card)
    with run.writing():
        drive(training, run, Clock(), watch, dataset)
    return run


def resume(
    path: Path | str,
    steps: int | None = None,
    *,
    watch: Watcher | None = None,
    announce: Callable[[str], None] = lambda line: None,
    family: str | None = None,
    data: Any = None,
) -> Run:
    """Go on with a run from its newest whole state, to the same bits as if it had never stopped.

    steps: a new total (learning-rate schedules then run over it). announce: as in `train`. data:
    needed when the pictures were given from Python. Raises RunError when it is finished or damaged,
    DataError when its data have changed.
    """
    run = open_run(path)
    options, plan = Options.model_validate(run.card["options"]), Plan.model_validate(run.card["plan"])
    with run.writing():
        tensors, meta, complaints = run.load_state(tell="training goes on from step {}")
        if steps is not None and (steps != plan.steps or plan.limit_seconds is not None):
            plan = plan.model_copy(update={"steps": steps, "limit_seconds": None, "budget": f"{steps} steps"})
        if steps is not None and meta["step"] >= steps:
            raise UsageError(f"{path} is already at step {meta['step']}: --steps must be larger, got {steps}")
        if meta["step"] >= plan.steps:
            raise RunError(
                f"{path} is finished: {meta['step']} of {plan.steps} steps. "
                "To train it longer, give a larger total with --steps"
            )
        if plan.limit_seconds is not None and meta["seconds"] > plan.limit_seconds:
            raise RunError(
                f"{path} is finished: its {plan.budget} were over at step {meta['step']} of {plan.steps}. "
                "To train it longer, give a total with --steps"
            )
        dataset = reopen(run.card["data"], run.path, data)
        torch.set_num_threads(plan.threads)
        training = Training(build(run.card, family), dataset.train, options, plan)
        training.restore(meta["step"], tensors)
        take_up(training, run, meta)
        run.cut_log(meta["step"])
        resumed = {"step": meta["step"], "passed_over": complaints, "versions": versions()}
        run.update_card(plan=plan.model_dump(mode="json"), resumed=[*run.card.get("resumed", []), resumed])
        left = plan.model_copy(update={"steps": plan.steps - meta["step"]})
        pace = meta["seconds"] / meta["step"] if meta["step"] else None
        announce(f"from step {meta['step']:,} on, {left.words(options.batch, pace)}")
        drive(training, run, Clock(meta), watch, dataset, meta)
    return run


def drive(
    training: Training,
    run: Run,
    clock: Clock,
    watch: Watcher | None,
    dataset: Dataset,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Train to the plan's end, to the clock's, or until asked to stop; the state is saved in any case.

    A training that fails, or that the watch gives up, goes back to its last good state where asked to.
    """
    shown = Model(fresh_copy(training.family).to(training.device), run, run.card["data"].get("class_counts"))
    selector = Selector(training, shown, dataset, meta)
    lookout = Lookout(training, run, shown) if training.family.game else None
    with stop_signals() as stop_asked:
        while True:
            try:
                stopped = stretch(training, run, clock, selector, lookout, watch, stop_asked)
                break
            except TrainingError as error:
                found = None if lookout is None else lookout.fail(error)
                meta = go_back(training, run, found, str(error), clock.seconds)
                if meta is None:
                    raise TrainingError(explain_failure(error, run, found)) from error
                clock.go_back(meta)
                selector.go_back(meta)
                if lookout is not None:
                    lookout.start_again()
    if stopped:
        raise Interrupted(
            f"stopped at step {training.step} of {training.plan.steps}, state saved. "
            f"Go on with: triptych resume {run.path}"
        )


def stretch(
    training: Training,
    run: Run,
    clock: Clock,
    selector: Selector,
    lookout: Lookout | None,
    watch: Watcher | None,
    stop_asked: Callable[[], bool],
) -> bool:
    """Train until the end, or until asked to stop: returns whether it stopped before the end.

    Raises TrainingError when a loss is not finite, or when the watch gives the game up.
    """
    plan, every = training.plan, training.options.save_every
    log_every, looks = max(1, plan.steps // LOG_LINES), looks_of(plan.steps)
    if training.step == 0:
        save(training, run, clock, selector, lookout)
    if lookout is not None and lookout.due(0) and not run.looks():
        lookout.look_at_start()
    clock.go_on()
    for step in training.steps():
        clock.lap(training, step)
        late = plan.limit_seconds is not None and clock.seconds > plan.limit_seconds
        ends, stops = step.step >= plan.steps or late, stop_asked()
        if step.step % log_every == 0 or ends:
            run.append_log({**clock.line(step.step), **rescued(training, run)})
        if step.step in looks or ends or stops:
            selector.compare()
        if step.step in looks or ends:
            draw(training, run, selector)
            raw, seen = named_under(training.family, training.family.shown), {"seconds": clock.seconds}
            run.save_average(step.step, training.average.tensors, {**seen, **selector.meta()}, raw)
        if lookout is not None and lookout.due(step.step, ends):
            lookout.look(ends)
        keeps = lookout is not None and lookout.wants_state()
        if ends or stops or keeps or clock.save_due(step.step, every):
            save(training, run, clock, selector, lookout)
        if watch is not None:
            watch(clock.progress(run, step, plan, lookout))
        clock.go_on()
        if ends or stops:
            return stops and not ends
    raise AssertionError("batches never end")


def save(
    training: Training, run: Run, clock: Clock, selector: Selector, lookout: Lookout | None = None
) -> None:
    """Write the whole state, and what the clock, the log and the watch need to go on."""
    meta = {
        "step": training.step,
        "images": training.step * training.options.batch,
        "peak_memory_bytes": devices.peak_memory_bytes(training.device),
        "rates": {p.name: [group["lr"] for group in p.optimizer.param_groups] for p in training.players},
        "planned": training.plan.steps,  # schedules ran over them
        "healthy": lookout is not None and lookout.wants_state(),
        **selector.meta(),
        **rescue_meta(training, run),
        **clock.meta(),
    }
    run.save_state(training.step, training.files(), meta)
    clock.saved_at = time.perf_counter()


def looks_of(steps: int) -> set[int]:
    """The steps of a run at which one looks back later: its end, half-way, a quarter of the way, ..."""
    return {max(1, steps >> k) for k in range(LOOKS)}


def draw(training: Training, run: Run, selector: Selector) -> None:
    """Write a grid of pictures at fixed seeds, from the weights that are shown."""
    shown = selector.load(selector.compare())
    points = is_points(training.split.pixels)
    seeds = range(CLOUD_POINTS if points else GRID_PICTURES)
    labels = [seed % shown.spec.classes for seed in seeds] if shown.family.conditional else None
    behind = np.asarray(training.split.pixels[:CLOUD_POINTS]) if points else None
    drawn = shown.sample(seeds, labels)
    sheet = pictures.grid(drawn, scale=max(1, 64 // shown.spec.size), behind=behind)
    pictures.write_png(run.path / "samples" / f"step-{training.step:08d}.png", sheet)


def explain_failure(error: TrainingError, run: Run, found: Diagnosis | None) -> str:
    """What a run that became not finite leaves, and what may help."""
    kept = candidates(run, found)
    state = f"The last good state, of step {max(kept)}, is kept" if kept else "No state was saved yet"
    page = newest_post_mortem(run)
    more = f" What happened, and what may help: {page}" if page else ""
    return f"{error}. {state} in {run.path}. {remedy(run.card['plan']['precision'])}{more}"


def remedy(precision: str) -> str:
    """What helps most often when numbers run away."""
    return f"A smaller --rate often helps{'' if precision == 'fp32' else ', or --precision fp32'}."


class Clock:
    """Training time, drawing and saving left out; and the running means of what the log shows next."""

    def __init__(self, meta: Mapping[str, Any] | None = None) -> None:
        meta = meta or {"seconds": 0.0, "sums": {}, "counts": {}, "logged": [0, 0.0]}
        self.seconds: float = meta["seconds"]
        self.sums: dict[str, Any] = dict(meta["sums"])  # numbers, or scalars still on the device
        self.counts: dict[str, int] = dict(meta["counts"])
        self.logged: list[Any] = list(meta["logged"])  # step and seconds of the last line
        self.batch, self.saved_at, self.started = 0, time.perf_counter(), time.perf_counter()
        self.pace = 0.0

    def go_on(self) -> None:
        """Start counting again."""
        self.started = time.perf_counter()

    def go_back(self, meta: Mapping[str, Any]) -> None:
        """Take up the running means of an earlier state, but not its time."""
        self.sums, self.counts, self.logged = dict(meta["sums"]), dict(meta["counts"]), list(meta["logged"])

    def lap(self, training: Training, step: Step) -> None:
        """Count the time of one step and take in what it showed."""
        spent = time.perf_counter() - self.started
        self.seconds, self.batch = self.seconds + spent, training.options.batch
        self.pace = spent if self.pace == 0 else 0.9 * self.pace + 0.1 * spent
        for name, value in step.values.items():
            # float32 sums on the device: a resumed run adds the same numbers in the same order
            self.sums[name] = value.float() + self.sums.get(name, 0.0)
            self.counts[name] = self.counts.get(name, 0) + 1

    def line(self, step: int) -> dict[str, Any]:
        """The log's next line: means since the line before."""
        means = {name: number(self.sums[name]) / self.counts[name] for name in sorted(self.sums)}
        seconds = self.seconds - self.logged[1]
        images = (step - self.logged[0]) * self.batch
        self.sums, self.counts, self.logged = {}, {}, [step, self.seconds]
        pace = {"seconds": round(self.seconds, 3), "images_per_second": round(images / max(seconds, 1e-9), 1)}
        return {"step": step, "images": step * self.batch, **pace, **means}

    def meta(self) -> dict[str, Any]:
        """What `Clock` needs to go on from a saved state."""
        sums = {name: number(value) for name, value in self.sums.items()}
        return {"seconds": self.seconds, "sums": sums, "counts": self.counts, "logged": self.logged}

    def save_due(self, step: int, every: int | None) -> bool:
        """Whether it is time for a state: by steps if asked, else by the clock."""
        return step % every == 0 if every else time.perf_counter() - self.saved_at > SAVE_SECONDS

    def progress(self, run: Run, step: Step, plan: Plan, lookout: Lookout | None) -> Progress:
        """What a watcher is told."""

        def losses() -> dict[str, float]:
            return {name: number(value) for name, value in step.values.items() if name.endswith("/loss")}

        return Progress(run, step.step, plan.steps, self.batch / max(self.pace, 1e-9), losses, news(lookout))


def news(lookout: Lookout | None) -> str:
    """What the watch has to say that cannot wait, in one line."""
    found = None if lookout is None else lookout.diagnosis
    return f"the watch: {found.line()}" if found is not None and found.fatal else ""


def number(value: Tensor | float) -> float:
    """A scalar as a Python number."""
    return float(value)


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


def data_card(dataset: Dataset, options: Options) -> dict[str, Any]:
    """What run.json says of the data."""
    return {
        "source": dataset.source,
        "name": dataset.name,
        "size": options.size,
        "colour": options.colour,
        "fingerprint": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        "class_counts": [int(count) for count in dataset.class_counts],
        "train": len(dataset.train),
        "test": len(dataset.test),
        "split_rule": dataset.split_rule,
        "credit": dataset.credit,
        "skipped": len(dataset.skipped),
    }


def parameters(model: torch.nn.Module) -> dict[str, int]:
    """Parameters in all, and of the part that draws."""
    counts = {name: p.numel() for name, p in model.named_parameters()}
    shown = [n for name, n in counts.items() if name.split(".")[0] in getattr(model, "shown", ())]
    return {"parameters": sum(counts.values()), "shown_parameters": sum(shown)}
