"""A duel: models trained under one protocol, on the same data in the same order, with equal budgets.

A duel is a directory: `duel.json` holds the rules, `runs/` one run for each contestant and seed. What is
there already is not done again: an interrupted duel goes on where it stopped. Every run is evaluated at
several snapshots. They are scored against one half of the test images, to select one, and against the other,
to report: a score that was selected for being good is biased.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError

from triptych._version import __version__
from triptych.comparison.subprocess_runs import run_apart
from triptych.core.config import Record
from triptych.core.device import bf16_pays, choose
from triptych.core.errors import RunError, UsageError
from triptych.core.filenames import MOST_BYTES, readable_name
from triptych.core.files import write_atomically
from triptych.core.time_left import duration, throttled_progress
from triptych.data.dataset import Dataset
from triptych.data.load import load as load_data
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.evaluate import check_sample_count, draw, score_samples
from triptych.evaluation.records import evaluations
from triptych.evaluation.selection import SplitName
from triptych.inference.pipeline import load
from triptych.models.configure import preset_in_arguments, preset_values
from triptych.models.registry import load_user_model_class
from triptych.runs.numbering import numbered
from triptych.runs.older_runs import duel_in_present_form
from triptych.runs.run import Run, open_run

FORMAT: Literal[1] = 1
SPLITS: tuple[SplitName, ...] = ("selection", "report")
BUDGETS = ("minutes", "images", "flops")
TOLERANCE = 0.02  # budgets may differ by this share; where they differ by more, the report says so

Announce = Callable[[str], None]


class Contestant(Record):
    """A model with its flags, trained once for each seed."""

    label: str
    model: str
    """Name of the model, or the path of the user's own .py file."""
    flags: tuple[str, ...]

    @property
    def model_file(self) -> str | None:
        """The path of the user's own .py file; None for a model that comes with Triptych."""
        return self.model if self.model.endswith(".py") else None


class Rules(Record):
    """What was agreed before the first step: the content of duel.json."""

    format: Literal[1] = FORMAT
    triptych: str
    """The version that made the duel."""
    created: str
    data: str
    size: int | None
    budget: str
    """One of BUDGETS."""
    amount: float
    """Of the budget, for each training."""
    contestants: tuple[Contestant, ...]
    seeds: tuple[int, ...]
    samples: int
    """Samples for each evaluation."""
    features: str = "auto"
    precision: str = "auto"
    """Of every training, also of those that begin later or elsewhere."""
    threads: int | None = None
    """Likewise."""


@dataclass(frozen=True)
class Duel:
    """A duel's directory and its rules."""

    path: Path
    rules: Rules

    def trainings(self) -> Iterator[tuple[Contestant, int]]:
        """Yield (contestant, seed) in the order of training: seed by seed, rotating who is trained first.

        A machine that grows slower then slows all of them alike.
        """
        contestants = self.rules.contestants
        for number, seed in enumerate(self.rules.seeds):
            for place in range(len(contestants)):
                yield contestants[(place + number) % len(contestants)], seed

    def run_of(self, contestant: Contestant, seed: int) -> Run | None:
        """Open the run of a contestant and a seed.

        Args:
            contestant: One of the rules'.
            seed: One of the rules'.

        Returns:
            The run, finished or not; None before it has begun.
        """
        paths = sorted((self.path / "runs").glob(f"[0-9]*[0-9]-{_run_name(contestant, seed)}"))
        return open_run(paths[-1]) if paths else None  # one killed before its first save is begun anew

    def runs(self, contestant: Contestant) -> list[Run]:
        """A contestant's runs that were trained to their end, in the order of the seeds."""
        found_runs = [self.run_of(contestant, seed) for seed in self.rules.seeds]
        return [run for run in found_runs if run is not None and finished(run)]

    def model_files(self) -> tuple[str, ...]:
        """The .py files that the contestants' models live in."""
        return tuple(c.model_file for c in self.rules.contestants if c.model_file)


def create_duel(
    models: Sequence[str],
    data: str,
    *,
    budget: str = "minutes",
    amount: float = 5.0,
    seeds: Sequence[int] = (0,),
    samples: int = 1000,
    size: int | None = None,
    features: str = "auto",
    home: Path = Path("runs"),
    name: str | None = None,
) -> Duel:
    """Check the rules and make the duel's directory; nothing is trained yet.

    Args:
        models: Two or more names, each alone (it is then trained with its default preset) or with flags of
            `train`: "dcgan --preset paper".
        data: The data source.
        budget: "minutes", "images" or "flops".
        amount: Of the budget, for each training; above 0.
        seeds: One training of each model for each seed; all different.
        samples: Samples for each evaluation.
        size: Side of the images in pixels; None: the source's default.
        features: The feature extractor, as `evaluate` takes it.
        home: The folder that the duel's directory is made in.
        name: What the directory is called after its number; None: after the data.

    Returns:
        The duel.

    Raises:
        UsageError: For rules that cannot be.
    """
    if len(models) < 2:
        raise UsageError(f"a duel needs at least two contestants, got {len(models)}")
    if budget not in BUDGETS or not amount > 0:
        raise UsageError(f"a duel needs a budget above 0 of {', '.join(BUDGETS)}, got {amount:g} {budget}")
    if not seeds or len(set(seeds)) != len(seeds):
        raise UsageError(f"a duel needs one seed or several different ones, got {list(seeds)}")
    check_sample_count(samples)
    dataset = load_data(data, size=size)
    rules = Rules(
        triptych=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data=data,
        size=size,
        budget=budget,
        amount=amount,
        contestants=tuple(_contestants(models)),
        seeds=tuple(seeds),
        samples=samples,
        features=features,
        precision="bf16" if bf16_pays(choose("auto"))[0] else "fp32",
        threads=torch.get_num_threads(),
    )
    path = numbered(home, name or f"duel-{dataset.name}")
    (path / "runs").mkdir()
    write_atomically(path / "duel.json", rules.model_dump_json(indent=2) + "\n")
    return Duel(path, rules)


def open_duel(path: Path | str) -> Duel:
    """Open a duel's directory. Raises RunError when it is none or its rules cannot be read."""
    path = Path(path)
    try:
        content = json.loads((path / "duel.json").read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
            raise RunError(
                f"{path}/duel.json has format {content['format']}, made by Triptych "
                f"{content.get('triptych', '?')}, and this version ({__version__}) reads formats up to "
                f"{FORMAT}: open the duel with that version"
            )
        return Duel(path, Rules.model_validate(duel_in_present_form(content)))
    except FileNotFoundError as error:
        raise RunError(f"{path} is not a duel: it has no duel.json") from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}/duel.json cannot be read ({_reason(error)}): create the duel again"
        ) from error


def is_duel(path: Path | str) -> bool:
    """Whether a directory holds a duel."""
    return (Path(path) / "duel.json").is_file()


def run_duel(duel: Duel, announce: Announce, files: Sequence[str] = ()) -> int:
    """Do what is not done yet: train every run, then evaluate its snapshots.

    A training that fails or is interrupted ends the duel with its code; the same call goes on later. A
    model's file that was not named is a RunError.

    Args:
        duel: The duel, new or stopped.
        announce: Is called with each line of progress.
        files: The .py files of models that the user named just now: duel.json may name others, and no code
            runs because a file names it.

    Returns:
        The exit code: 0 when all is done.
    """
    duel = Duel(duel.path, with_files(duel.rules, files))
    rules = duel.rules
    waiting = sum(1 for c, s in duel.trainings() if (run := duel.run_of(c, s)) is None or not finished(run))
    if waiting:
        amount = f"{rules.amount:,.10g} {rules.budget.replace('flops', 'FLOPs')}"
        lasts = f", {duration(60 * waiting * rules.amount)} in all" if rules.budget == "minutes" else ""
        announce(
            f"{waiting} training{'s' * (waiting != 1)} of {amount}{lasts}, then evaluations and a report"
        )
    for contestant, seed in duel.trainings():
        run = duel.run_of(contestant, seed)
        if run is not None and finished(run):
            continue
        begun = run is not None and bool(run.checkpoints())
        arguments = (
            _resume_command(contestant, run) if run and begun else _train_command(duel, contestant, seed)
        )
        announce(f"$ {shlex.join(['triptych', *arguments])}")
        code, _ = run_apart(arguments)
        if code:
            own = f" --model-file {shlex.quote(','.join(files))}" if files else ""
            announce(f"the duel stopped; continue it with: triptych resume {duel.path}{own}")
            return code
    dataset = load_data(rules.data, size=rules.size)
    for contestant, seed in duel.trainings():
        run = duel.run_of(contestant, seed)
        assert run is not None
        evaluate_snapshots(run, contestant, dataset, rules, announce)
    return 0


def with_files(rules: Rules, files: Sequence[str]) -> Rules:
    """Replace each contestant's own .py file by the user's: of the same path, or else of the same name.

    Args:
        rules: The rules, as read from duel.json.
        files: The .py files that the user named.

    Returns:
        The rules, in which every .py file is one that the user named.

    Raises:
        RunError: For a contestant whose file the user did not name.
        UsageError: For a file of no contestant.
    """
    wanted = dict.fromkeys(c.model_file for c in rules.contestants if c.model_file)
    chosen = {
        path: next((f for f in files if f == path), None)
        or next((f for f in files if f not in wanted and Path(f).name == Path(path).name), None)
        for path in wanted
    }
    if missing := [path for path, file in chosen.items() if file is None]:
        raise RunError(
            f"models of this duel live in files, {', '.join(missing)}, and their code runs only when you "
            f"name them: check them, then add --model-file {shlex.quote(','.join(wanted))}"
        )
    if unknown := [file for file in files if file not in chosen.values()]:
        there_are = f": it has {', '.join(wanted)}" if wanted else ""
        raise UsageError(f"no contestant of this duel lives in {unknown[0]}{there_are}")
    contestants = (c.model_copy(update={"model": chosen.get(c.model) or c.model}) for c in rules.contestants)
    return rules.model_copy(update={"contestants": tuple(contestants)})


def evaluate_snapshots(
    run: Run, contestant: Contestant, dataset: Dataset, rules: Rules, announce: Announce
) -> None:
    """Sample from each of a run's snapshots and score it on both halves, where that was not done before.

    The scores are then in the run's metrics.jsonl, one line for each snapshot and half, the earliest first.

    Args:
        run: A finished run.
        contestant: Whose run it is.
        dataset: The source.
        rules: Number of samples and feature extractor.
        announce: Is called with each line of progress.
    """
    extractor = extractor_for(dataset, rules.features, throttled_progress(announce))
    done = {
        (evaluation.step, evaluation.scores[0].card.split, evaluation.sampling.n)
        for evaluation in evaluations(run)
    }
    for step in run.snapshots():
        missing = [s for s in SPLITS if (step, f"{s} half of test", rules.samples) not in done]
        if missing:
            announce(f"{run.path.name}: evaluating step {step}")
            model = load(run.path, step=step, model_file=contestant.model_file)
            samples = draw(model, rules.samples)
            for split in missing:  # the report half last, and at the end of the run in detail
                ends = split == "report" and step == run.snapshots()[-1]
                score_samples(model, dataset, extractor, samples, split, detailed=ends)


def _reason(error: OSError | ValueError) -> str:
    """What is wrong, or the first of many things, in a few words."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}".lstrip(": ")
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def finished(run: Run) -> bool:
    """Whether a run was trained to the end of its plan, or of its time."""
    plan = run.card.plan
    if not run.checkpoints():
        return False
    meta = run.checkpoint_meta()
    limit = plan.limit_seconds
    return meta.step >= plan.steps or (limit is not None and meta.seconds >= limit)


def budget_mismatches(duel: Duel) -> list[str]:
    """Sentences on trainings whose spent budget is more than 2% from the median of all; none: equal."""
    spent = []
    for contestant in duel.rules.contestants:
        for run in duel.runs(contestant):
            meta = run.checkpoint_meta()
            flops = meta.step * run.card.cost.flops_per_step
            used = {"minutes": meta.seconds / 60, "images": meta.images, "flops": flops}
            spent.append((run.path.name, float(used[duel.rules.budget])))
    if not spent:
        return []
    median = sorted(amount for _, amount in spent)[len(spent) // 2]
    return [
        f"{name} spent {amount:.4g} {duel.rules.budget}, the others about {median:.4g}"
        for name, amount in spent
        if abs(amount / median - 1) > TOLERANCE
    ]


def _contestants(models: Sequence[str]) -> Iterator[Contestant]:
    """Each text as a contestant with a label of its own. Raises UsageError for unknown models and presets."""
    labels: list[str] = []
    for text in models:
        try:
            model, *flags = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{text!r} is not a model and its flags: {error}") from error
        model_class = load_user_model_class(model)
        preset_values(model_class, preset_in_arguments(flags))
        title = model_class.title
        label = title if not flags else f"{title} {' '.join(flags)}"
        if label in labels:
            raise UsageError(f"{text!r} takes part twice: give one of them other flags, or more --repeats")
        labels.append(label)
        yield Contestant(label=label, model=model, flags=tuple(flags))


def _run_name(contestant: Contestant, seed: int) -> str:
    slug = readable_name(
        contestant.label, marks="._", most_bytes=MOST_BYTES - 20
    )  # leaves bytes for the seed
    return f"{slug}-seed{seed}"


def _resume_command(contestant: Contestant, run: Run) -> list[str]:
    own = ["--model-file", contestant.model_file] if contestant.model_file else []
    return ["resume", str(run.path), *own]


def _train_command(duel: Duel, contestant: Contestant, seed: int) -> list[str]:
    rules = duel.rules
    amount = int(rules.amount) if rules.budget == "images" else f"{rules.amount:g}"
    arguments = ["train", contestant.model, "--data", rules.data, f"--{rules.budget}", str(amount)]
    arguments += [] if rules.size is None else ["--size", str(rules.size)]
    if rules.threads is not None and "--device" not in contestant.flags:  # its own flags come after
        arguments += ["--precision", rules.precision, "--threads", str(rules.threads)]
    arguments += [*contestant.flags, "--seed", str(seed), "--runs", str(duel.path / "runs")]
    return [*arguments, "--name", _run_name(contestant, seed)]


def as_dict(duel: Duel) -> dict[str, Any]:
    """What `--json` prints."""
    runs = {c.label: [str(run.path) for run in duel.runs(c)] for c in duel.rules.contestants}
    return {"duel": str(duel.path), "runs": runs, "budget_mismatches": budget_mismatches(duel)}
