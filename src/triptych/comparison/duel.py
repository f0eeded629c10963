"""A contest under one protocol: the same data in the same order, equal budgets, several seeds, one judge.

A duel is a directory: `duel.json` says what was agreed, `runs/` holds one run a contestant and seed, and
whatever is there already is not done again, so that an interrupted duel goes on where it stopped. Every
run is looked at several times on its course. Looks are scored against one half of the test pictures
(to choose by) and against the other (to report): a score that was chosen for being good flatters itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from triptych.runs.run import Run, numbered, open_run

SPLITS: tuple[SplitName, ...] = ("selection", "report")
BUDGETS = ("minutes", "images", "flops")
FAIR = 0.02  # budgets may differ by this share; where they do not, the report says so

Say = Callable[[str], None]


class Contestant(Record):
    """A family with its flags, as it takes part in every round."""

    label: str
    family: str
    flags: tuple[str, ...]


class Rules(Record):
    """What was agreed before the first step: the content of duel.json."""

    triptych: str
    created: str
    data: str
    size: int | None
    budget: str  # one of BUDGETS
    amount: float  # of the budget, for each training
    contestants: tuple[Contestant, ...]
    seeds: tuple[int, ...]
    samples: int  # drawn at each look
    features: str = "auto"
    precision: str = "auto"  # of every training, also of those that begin later or elsewhere
    threads: int | None = None  # likewise


@dataclass(frozen=True)
class Duel:
    """A duel's directory and its rules."""

    path: Path
    rules: Rules

    def rounds(self) -> Iterator[tuple[Contestant, int]]:
        """(contestant, seed) in the order of training: seed by seed, the first to begin changing each time.

        A machine that grows slower then slows all of them alike.
        """
        players = self.rules.contestants
        for turn, seed in enumerate(self.rules.seeds):
            for place in range(len(players)):
                yield players[(place + turn) % len(players)], seed

    def run_of(self, contestant: Contestant, seed: int) -> Run | None:
        """The run of a contestant and a seed, finished or not; None before it has begun."""
        found = sorted((self.path / "runs").glob(f"[0-9]*[0-9]-{_run_name(contestant, seed)}"))
        return open_run(found[-1]) if found else None  # one killed before its first save is begun anew

    def runs(self, contestant: Contestant) -> list[Run]:
        """A contestant's runs that were trained to their end, in the order of the seeds."""
        known = [self.run_of(contestant, seed) for seed in self.rules.seeds]
        return [run for run in known if run is not None and finished(run)]

    def files(self) -> tuple[str, ...]:
        """The .py files that the contestants' families live in."""
        return tuple(c.family for c in self.rules.contestants if c.family.endswith(".py"))


def begin(
    families: Sequence[str],
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
    """Agree on the rules and make the duel's directory; nothing is trained yet.

    families: names, each alone (it is then trained with its default preset) or with flags of `train`:
    "dcgan --preset paper". budget: "minutes", "images" or "flops", the same amount for
    each training. Raises UsageError for what cannot be.
    """
    if len(families) < 2:
        raise UsageError(f"a duel needs at least two contestants, got {len(families)}")
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
        contestants=tuple(_contestants(families)),
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
        return Duel(path, Rules.model_validate_json((path / "duel.json").read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise RunError(f"{path} is not a duel: it has no duel.json") from error
    except (OSError, ValidationError) as error:
        raise RunError(f"{path}/duel.json cannot be read ({_first(error)}): begin the duel anew") from error


def is_duel(path: Path | str) -> bool:
    """Whether a directory holds a duel."""
    return (Path(path) / "duel.json").is_file()


def fight(duel: Duel, say: Say, files: Sequence[str] = ()) -> int:
    """Do what is not done yet: train every round, then look at every run. Returns an exit code.

    A training that fails or is interrupted ends the duel with its code; the same call goes on later.
    files: the .py files of families that the user named just now: duel.json may name others, and no code
    runs because a file names it. Raises RunError where one is missing.
    """
    duel = Duel(duel.path, with_files(duel.rules, files))
    rules = duel.rules
    waiting = sum(1 for c, s in duel.rounds() if (run := duel.run_of(c, s)) is None or not finished(run))
    if waiting:
        amount = f"{rules.amount:,.10g} {rules.budget.replace('flops', 'FLOPs')}"
        lasts = f", {duration(60 * waiting * rules.amount)} in all" if rules.budget == "minutes" else ""
        say(f"{waiting} training{'s' * (waiting != 1)} of {amount}{lasts}, then looks and a report")
    for contestant, seed in duel.rounds():
        run = duel.run_of(contestant, seed)
        if run is not None and finished(run):
            continue
        begun = run is not None and bool(run.checkpoints())
        words = _go_on(contestant, run) if run and begun else _begin(duel, contestant, seed)
        say(f"$ {shlex.join(['triptych', *words])}")
        code, _ = run_apart(words)
        if code:
            own = f" --model-file {shlex.quote(','.join(files))}" if files else ""
            say(f"the duel stopped; go on with: triptych resume {duel.path}{own}")
            return code
    dataset = load_data(rules.data, size=rules.size)
    for contestant, seed in duel.rounds():
        run = duel.run_of(contestant, seed)
        assert run is not None
        look_back(run, contestant, dataset, rules, say)
    return 0


def with_files(rules: Rules, files: Sequence[str]) -> Rules:
    """The rules with each contestant's own .py file replaced by the user's: of the same path, or else name.

    Raises RunError for a contestant whose file the user did not name, UsageError for a file of no contestant.
    """
    wanted = dict.fromkeys(c.family for c in rules.contestants if c.family.endswith(".py"))
    chosen = {
        path: next((f for f in files if f == path), None)
        or next((f for f in files if f not in wanted and Path(f).name == Path(path).name), None)
        for path in wanted
    }
    if missing := [path for path, file in chosen.items() if file is None]:
        raise RunError(
            f"families of this duel live in files, {', '.join(missing)}, and their code runs only when you "
            f"name them: check them, then add --model-file {shlex.quote(','.join(wanted))}"
        )
    if unknown := [file for file in files if file not in chosen.values()]:
        there_are = f": it has {', '.join(wanted)}" if wanted else ""
        raise UsageError(f"no contestant of this duel lives in {unknown[0]}{there_are}")
    contestants = (
        c.model_copy(update={"family": chosen.get(c.family) or c.family}) for c in rules.contestants
    )
    return rules.model_copy(update={"contestants": tuple(contestants)})


def look_back(run: Run, contestant: Contestant, dataset: Dataset, rules: Rules, say: Say) -> None:
    """Draw from each of a run's snapshots and score them on both halves, where that was not done before.

    Scores are then in the run's metrics.jsonl, one line a look and half, the earliest look first.
    """
    judge = extractor_for(dataset, rules.features, throttled_progress(say))
    own = contestant.family if contestant.family.endswith(".py") else None
    done = {(look.step, look.scores[0].card.split, look.sampling.n) for look in evaluations(run)}
    for step in run.snapshots():
        missing = [s for s in SPLITS if (step, f"{s} half of test", rules.samples) not in done]
        if missing:
            say(f"{run.path.name}: looking at step {step}")
            model = load(run.path, step=step, model_file=own)
            drawn = draw(model, rules.samples)
            for split in missing:  # the report half last, and at the end of the run more closely
                ends = split == "report" and step == run.snapshots()[-1]
                score_samples(model, dataset, judge, drawn, split, detailed=ends)


def _first(error: OSError | ValidationError) -> str:
    """What is wrong, or the first of many things, in a few words."""
    if not isinstance(error, ValidationError):
        return error.strerror or str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}".lstrip(": ")


def finished(run: Run) -> bool:
    """Whether a run was trained to the end of its plan, or of its time."""
    plan, states = run.card.plan, run.checkpoints()
    if not states:
        return False
    meta = run.checkpoint_meta()
    limit = plan.limit_seconds
    return meta.step >= plan.steps or (limit is not None and meta.seconds >= limit)


def unfair(duel: Duel) -> list[str]:
    """Sentences on trainings whose spent budget is more than 2 % from the median of all; none: fair."""
    spent = []
    for contestant in duel.rules.contestants:
        for run in duel.runs(contestant):
            meta = run.checkpoint_meta()
            flops = meta.step * run.card.cost.flops_per_step
            used = {"minutes": meta.seconds / 60, "images": meta.images, "flops": flops}
            spent.append((run.path.name, float(used[duel.rules.budget])))
    if not spent:
        return []
    middle = sorted(amount for _, amount in spent)[len(spent) // 2]
    return [
        f"{name} spent {amount:.4g} {duel.rules.budget}, the others about {middle:.4g}"
        for name, amount in spent
        if abs(amount / middle - 1) > FAIR
    ]


def _contestants(families: Sequence[str]) -> Iterator[Contestant]:
    """Each word string as a contestant with a label of its own. Raises UsageError for unknown families
    and presets."""
    seen: list[str] = []
    for text in families:
        try:
            family, *flags = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{text!r} is not a family and its flags: {error}") from error
        kind = load_user_model_class(family)
        preset_values(kind, preset_in_arguments(flags))
        title = kind.title
        label = title if not flags else f"{title} {' '.join(flags)}"
        if label in seen:
            raise UsageError(f"{text!r} takes part twice: give one of them other flags, or more --repeats")
        seen.append(label)
        yield Contestant(label=label, family=family, flags=tuple(flags))


def _run_name(contestant: Contestant, seed: int) -> str:
    slug = readable_name(contestant.label, marks="._", most_bytes=MOST_BYTES - 20)  # room for the seed
    return f"{slug}-seed{seed}"


def _go_on(contestant: Contestant, run: Run) -> list[str]:
    own = ["--model-file", contestant.family] if contestant.family.endswith(".py") else []
    return ["resume", str(run.path), *own]


def _begin(duel: Duel, contestant: Contestant, seed: int) -> list[str]:
    rules = duel.rules
    amount = int(rules.amount) if rules.budget == "images" else f"{rules.amount:g}"
    words = ["train", contestant.family, "--data", rules.data, f"--{rules.budget}", str(amount)]
    words += [] if rules.size is None else ["--size", str(rules.size)]
    if rules.threads is not None and "--device" not in contestant.flags:  # its own flags come after
        words += ["--precision", rules.precision, "--threads", str(rules.threads)]
    words += [*contestant.flags, "--seed", str(seed), "--runs", str(duel.path / "runs")]
    return [*words, "--name", _run_name(contestant, seed)]


def as_dict(duel: Duel) -> dict[str, Any]:
    """What `--json` prints."""
    runs = {c.label: [str(run.path) for run in duel.runs(c)] for c in duel.rules.contestants}
    return {"duel": str(duel.path), "runs": runs, "unfair": unfair(duel)}
