"""The run directory: everything one training leaves behind, and the only code that writes there.

    runs/0007-dcgan-mnist/
      run.json        all options, the plan made from them, data, versions: written once
      log.jsonl       one line a logged step; cut back to the state's step on resume
      watch.jsonl     one line a look of the watch at a game of two players; cut back like the log
      metrics.jsonl   one line an evaluation
      samples/        picture grids by step, fixed seeds
      states/         step-00000000/ ...: safetensors and JSON, each file with its SHA-256
      averages/       EMA and raw weights of what samples, at a few log-spaced steps
      watch/          what the watch saw: a few samples of the raw weights at each look
      lock            held while somebody writes

A state is written under a temporary name, synced and renamed: it is there whole or not at all.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from triptych._version import __version__
from triptych.core.atomic import Tensors, put_back, read_checkpoint_dir, steps_in, write_checkpoint_dir
from triptych.core.errors import RunError
from triptych.core.filenames import readable_name
from triptych.core.files import drop_half_line, locked, read_jsonl, write_atomically
from triptych.core.nearest import nearest
from triptych.runs.card import FORMAT, RunCard
from triptych.runs.older_runs import REQUIRED, to_present_form

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


class Run:
    """One run directory, opened for reading; writing needs `writing()`. See `create` and `open_run`."""

    def __init__(self, path: Path, card: RunCard) -> None:
        self.path, self.card = path, card

    # --- log and metrics -------------------------------------------------------------------

    def log(self) -> list[dict[str, Any]]:
        """The logged steps in order; a half-written last line (a kill) is left out."""
        return read_jsonl(self.path / "log.jsonl")

    def metrics(self) -> list[dict[str, Any]]:
        """The evaluations made so far, oldest first."""
        return read_jsonl(self.path / "metrics.jsonl")

    def looks(self) -> list[dict[str, Any]]:
        """What the watch saw, in order; empty for families without a game."""
        return read_jsonl(self.path / "watch.jsonl")

    def append_look(self, record: Mapping[str, Any]) -> None:
        """Add one line to watch.jsonl."""
        self._append("watch.jsonl", record)

    def append_log(self, record: Mapping[str, Any]) -> None:
        """Add one line to log.jsonl."""
        self._append("log.jsonl", record)

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl. Raises RunError where it cannot be written."""
        self._append("metrics.jsonl", record, f"triptych evaluate {self.path}")

    def cut_log(self, step: int) -> None:
        """Forget what was logged and seen after `step`: a resumed run writes it again."""
        for name in ("log.jsonl", "watch.jsonl"):
            kept = [line for line in read_jsonl(self.path / name) if line["step"] <= step]
            if kept or (self.path / name).exists():
                text = "".join(json.dumps(line) + "\n" for line in kept)
                write_atomically(self.path / name, text)

    def update_card(self, **changes: Any) -> None:
        """Replace entries of run.json: a new total of steps, for one."""
        self.card = RunCard.model_validate({**dict(self.card), **changes})
        with self._explained("run.json"):
            write_atomically(self.path / "run.json", _as_json(self.card))

    def _append(self, name: str, record: Mapping[str, Any], again: str = "") -> None:
        with self._explained(f"{name} line", again), (self.path / name).open("a+b") as file:
            drop_half_line(file)
            file.write(json.dumps(record).encode() + b"\n")

    # --- states ----------------------------------------------------------------------------

    def states(self) -> list[int]:
        """The steps of the states that were written whole, in order."""
        return steps_in(self.path / "states")

    def state_path(self, step: int) -> Path:
        """Where the state of a step lives."""
        return self.path / "states" / f"step-{step:08d}"

    def save_state(
        self, step: int, files: Mapping[str, Tensors], meta: Mapping[str, Any], keep: int = 2
    ) -> None:
        """Write a state: `files` maps a name to its tensors, `meta` is JSON. Then drop older ones.

        Step 0, the `keep` newest states and the `keep` newest healthy ones stay. Raises RunError when it
        cannot be written, with everything that was there before untouched.
        """
        with self._explained("state"):
            write_checkpoint_dir(self.state_path(step), files, meta)
        spared = {0, *self.healthy_states()[-keep:]}
        for old in self.states()[:-keep]:
            if old not in spared:
                shutil.rmtree(self.state_path(old), ignore_errors=True)

    def healthy_states(self) -> list[int]:
        """The steps of the states whose meta says that the watch found the game healthy, in order."""
        found = []
        for step in self.states():
            try:
                if self.state_meta(step).get("healthy"):
                    found.append(step)
            except RunError:  # damaged: nobody will want it back
                continue
        return found

    def forget_after(self, step: int) -> None:
        """Drop what a run that goes on from `step` anew has not done: states, snapshots, pictures, lines."""
        for home in ("states", "averages"):
            for later in steps_in(self.path / home):
                if later > step:
                    shutil.rmtree(self.path / home / f"step-{later:08d}", ignore_errors=True)
        for home in ("samples", "watch"):
            for picture in (self.path / home).glob("step-*.png"):
                if int(picture.stem.removeprefix("step-")) > step:
                    picture.unlink(missing_ok=True)
        self.cut_log(step)

    def state_meta(self, step: int | None = None) -> dict[str, Any]:
        """What was noted beside a state's tensors (newest by default)."""
        steps = self.states()
        if not steps:
            raise RunError(f"{self.path} has no saved state yet: it was stopped before its first save.")
        try:
            meta = json.loads(
                (self.state_path(steps[-1] if step is None else step) / "meta.json").read_text()
            )
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.path}: the state of step {step or steps[-1]} is damaged ({plainly(error)})."
            ) from error
        return dict(meta)

    def load_state(
        self,
        step: int | None = None,
        only: tuple[str, ...] | None = None,
        tell: str | None = "using that of step {}",
    ) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any], list[str]]:
        """Read and check a state: its tensors by file name, its meta, and what was passed over.

        Without `step` the newest whole state is taken; damaged newer ones are passed over, named in the
        third value and in a warning to the log. only: the files of tensors to read and check, None all.
        tell: how the warning ends, None for no warning. Raises RunError when no state is left.
        """
        wanted = [step] if step is not None else self.states()[::-1]
        complaints: list[str] = []
        for candidate in wanted:
            try:
                tensors, meta = read_checkpoint_dir(self.state_path(candidate), only)
            except (OSError, ValueError) as error:
                complaints.append(f"the state of step {candidate} is damaged ({plainly(error)})")
                continue
            if complaints and tell is not None:
                log.warning("%s: %s: %s", self.path, "; ".join(complaints), tell.format(candidate))
            return tensors, meta, complaints
        why = "; ".join(complaints) or "it was stopped before its first save"
        raise RunError(f"{self.path} has no state that can be opened: {why}. Train it again.")

    # --- averages --------------------------------------------------------------------------

    def averages(self) -> list[int]:
        """The steps at which the averaged weights were set aside, in order."""
        return steps_in(self.path / "averages")

    def save_average(
        self, step: int, tensors: Tensors, meta: Mapping[str, Any], raw: Tensors | None = None
    ) -> None:
        """Set the EMA of a step aside, and the raw weights, for looking back at the run's course."""
        files = {"average": tensors} | ({} if raw is None else {"raw": raw})
        with self._explained("snapshot"):
            write_checkpoint_dir(self.path / "averages" / f"step-{step:08d}", files, meta)

    def load_average(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The averaged weights of a step and their meta. Raises RunError, naming the steps there are."""
        files, meta = self.load_snapshot(step)
        return files["average"], meta

    def load_snapshot(self, step: int) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """The snapshot of a step, "average" and "raw" (older versions kept the first alone), and its meta.

        Raises RunError, naming the steps there are.
        """
        try:
            tensors, meta = read_checkpoint_dir(self.path / "averages" / f"step-{step:08d}", None)
        except (OSError, ValueError) as error:
            there = ", ".join(map(str, self.averages())) or "none"
            raise RunError(
                f"{self.path} has no usable snapshot of step {step} ({plainly(error)}). Snapshots: {there}"
            ) from error
        return tensors, meta

    def average_meta(self, step: int) -> dict[str, Any]:
        """What was noted beside the averaged weights of a step: the seconds of training until then."""
        try:
            text = (self.path / "averages" / f"step-{step:08d}" / "meta.json").read_text(encoding="utf-8")
            return dict(json.loads(text))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path} has no usable snapshot of step {step} ({plainly(error)})") from error

    @contextmanager
    def _explained(self, what: str, again: str = "") -> Iterator[None]:
        """Say in a RunError what could not be written, and which command mends it: `again`, or resume."""
        try:
            yield
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
            if again:
                raise RunError(
                    f"could not write a {what} to {self.path}: {reason}. Mend it, then: {again}"
                ) from error
            good = f"the state of step {self.states()[-1]} is whole" if self.states() else "no state yet"
            raise RunError(
                f"could not write a {what} to {self.path}: {reason}. Nothing was lost: {good}. "
                f"Mend it, then: triptych resume {self.path}"
            ) from error

    # --- one writer at a time ---------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run's lock. Raises RunError when another process holds it, or nobody may write here."""
        with ExitStack() as stack:
            try:
                held = stack.enter_context(locked(self.path / "lock", wait=False))
            except OSError as error:
                raise RunError(
                    f"{self.path} cannot be written: {error.strerror or error}. "
                    "Allow it, or go on with a copy of the run that you may write"
                ) from error
            if not held:
                raise RunError(
                    f"{self.path} is being written by another process. Wait for it, or stop it first."
                )
            for former in self.path.glob("*/.former-step-*"):  # a kill between two renames left it
                put_back(former, former.with_name(former.name.removeprefix(".former-")))
            yield


def create(home: Path, name: str, card: RunCard) -> Run:
    """Make the next numbered run directory under `home` and write its run.json."""
    path = numbered(home, name)
    try:
        (path / "samples").mkdir()
        write_atomically(path / "run.json", _as_json(card))
    except OSError as error:
        raise RunError(
            f"cannot make a run under {home}: {error.strerror or error}. Choose another --runs."
        ) from error
    return Run(path, card)


def numbered(home: Path, name: str) -> Path:
    """Make the next numbered directory under `home`: home/0007-name. Raises RunError when it cannot."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / ".lock", wait=True):  # two processes at once get two numbers
            numbers = [int(m[1]) for p in home.iterdir() if (m := re.match(r"(\d+)-", p.name))]
            path = home / f"{max(numbers, default=0) + 1:04d}-{readable_name(name)}"
            path.mkdir()
    except OSError as error:
        raise RunError(
            f"cannot make a run under {home}: {error.strerror or error}. Choose another --runs."
        ) from error
    return path


def open_run(path: Path | str) -> Run:
    """Open a run directory. Raises RunError when it is none, or its run.json is missing or broken."""
    path = Path(path)
    if not path.is_dir():
        beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        near = next((name for name in beside if path.name and path.name in name), None)
        near = near or nearest(path.name, beside)
        hint = f" Did you mean {path.parent / near}?" if near else ""
        raise RunError(f"there is no run at {path}.{hint}")
    try:
        card = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is not a run: it has no run.json.") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}/run.json cannot be read ({error}): the run's options are lost.") from error
    return Run(path, _checked(card, path))


def _checked(card: Any, path: Path) -> RunCard:
    """A card of any version as a record. Raises RunError for what is none, or of a later version."""
    if not isinstance(card, dict):
        raise RunError(
            f"{path}/run.json holds {type(card).__name__}, not an object: the run's options are lost."
        )
    if card.get("format", FORMAT) != FORMAT:
        raise RunError(
            f"{path}/run.json has format {card['format']}, made by Triptych {card.get('triptych', '?')}, and "
            f"this version ({__version__}) reads formats up to {FORMAT}: open the run with that version."
        )
    card = to_present_form(card)
    if missing := sorted(set(REQUIRED) - set(card)):
        raise RunError(f"{path}/run.json lacks {', '.join(missing)}: not written by triptych train?")
    try:
        return RunCard.model_validate(card)
    except ValidationError as error:
        first = error.errors()[0]
        raise RunError(
            f"{path}/run.json, made by Triptych {card.get('triptych', '?')}, cannot be read "
            f"({'.'.join(map(str, first['loc']))}: {first['msg'].lower()})."
            " Mend that entry, or train the run again."
        ) from error


def _as_json(card: RunCard) -> str:
    return json.dumps(card.model_dump(mode="json"), indent=2) + "\n"


# --- files ---------------------------------------------------------------------------------


def plainly(error: Exception) -> str:
    """What went wrong, without an error number or a long path."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{Path(error.filename).name}: {error.strerror}"
    return str(error)
