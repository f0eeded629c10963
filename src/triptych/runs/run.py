"""The run directory: everything one training leaves behind, and the only code that writes there.

    runs/0007-dcgan-mnist/
      run.json        the RunCard: all options, the plan made from them, data, versions
      log.jsonl       one line a logged step; cut back to the checkpoint's step on resume
      monitor.jsonl   one line an observation of the GAN monitor; cut back like the log
      metrics.jsonl   one line an evaluation
      samples/        sample grids by step, fixed seeds
      checkpoints/    step-00000000/ ...: safetensors and JSON, each file with its SHA-256
      ema/            EMA and raw weights of what samples, at a few log-spaced steps
      monitor/        a few samples of the raw weights at each observation
      lock            held while somebody writes

A checkpoint is written under a temporary name, synced and renamed: it is there whole or not at all. Names of
former versions are read too, and renamed when somebody writes.
"""

from __future__ import annotations

import errno
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych._version import __version__
from triptych.core.atomic import Tensors, put_back, read_checkpoint_dir, steps_in, write_checkpoint_dir
from triptych.core.errors import RunError
from triptych.core.files import drop_half_line, locked, read_jsonl, write_atomically
from triptych.core.nearest import nearest
from triptych.runs.card import FORMAT, RunCard
from triptych.runs.checkpoint import Checkpoint, CheckpointMeta, Snapshot, SnapshotMeta, plainly
from triptych.runs.numbering import numbered
from triptych.runs.older_runs import (
    checked_card,
    former_files,
    log_line_in_present_form,
    meta_in_present_form,
    path_of,
    rename_to_present,
    tensors_in_present_form,
)

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

LOG, OBSERVATIONS, METRICS = "log.jsonl", "monitor.jsonl", "metrics.jsonl"
CHECKPOINTS, SNAPSHOTS, MONITOR, SAMPLES = "checkpoints", "ema", "monitor", "samples"


class Run:
    """One run directory, opened for reading; writing needs `writing()`. See `create` and `open_run`."""

    def __init__(self, path: Path, card: RunCard) -> None:
        self.path, self.card = path, card

    # --- lines -----------------------------------------------------------------------------

    def log(self) -> list[dict[str, Any]]:
        """The logged steps in order; a half-written last line (a kill) is left out.

        Returns:
            One mapping for each line: step, images, seconds and the logged values by name.

        Raises:
            RunError: If a line was written by a later version.
        """
        lines = read_jsonl(self.path / LOG)
        for line in lines:
            version = line.pop("format", FORMAT)
            if version != FORMAT:
                raise RunError(
                    f"{self.path}/{LOG} has a line of format {version}, and this version ({__version__}) "
                    f"reads formats up to {FORMAT}: open the run with the version that wrote it."
                )
        return [log_line_in_present_form(line) for line in lines]

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, oldest first: read them with `evaluation.records.evaluations`."""
        return read_jsonl(self.path / METRICS)

    def monitor_lines(self) -> list[dict[str, Any]]:
        """The lines of monitor.jsonl, in order: read them with `monitor.records.observations`."""
        return read_jsonl(path_of(self.path, OBSERVATIONS))

    def append_log(self, record: Mapping[str, Any]) -> None:
        """Add one line to log.jsonl."""
        self._append(LOG, {"format": FORMAT, **record})

    def append_monitor_line(self, record: Mapping[str, Any]) -> None:
        """Add one line to monitor.jsonl."""
        self._append(OBSERVATIONS, record)

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl. Raises RunError where it cannot be written."""
        self._append(METRICS, record, f"triptych evaluate {self.path}")

    def cut_lines_after(self, step: int) -> None:
        """Drop what was logged and observed after `step`: a resumed run writes it again."""
        for name in (LOG, OBSERVATIONS):
            file = path_of(self.path, name)
            kept = [line for line in read_jsonl(file) if line["step"] <= step]
            if kept or file.exists():
                write_atomically(file, "".join(json.dumps(line) + "\n" for line in kept))

    def _append(self, name: str, record: Mapping[str, Any], again: str = "") -> None:
        with self._explained(f"{name} line", again), path_of(self.path, name).open("a+b") as file:
            drop_half_line(file)
            file.write(json.dumps(record).encode() + b"\n")

    def update_card(self, **changes: Any) -> None:
        """Replace fields of run.json: the plan of a longer training, for one."""
        self.card = RunCard.model_validate({**dict(self.card), **changes})
        with self._explained("run.json"):
            write_atomically(self.path / "run.json", _as_json(self.card))

    # --- checkpoints -----------------------------------------------------------------------

    def checkpoints(self) -> list[int]:
        """The steps of the checkpoints that were written whole, in order."""
        return steps_in(path_of(self.path, CHECKPOINTS))

    def checkpoint_path(self, step: int) -> Path:
        """The folder of the checkpoint of a step."""
        return path_of(self.path, CHECKPOINTS) / f"step-{step:08d}"

    def save_checkpoint(
        self, step: int, files: Mapping[str, Tensors], meta: CheckpointMeta, keep: int = 2
    ) -> None:
        """Write a checkpoint, then delete older ones.

        Step 0, the `keep` newest checkpoints and the `keep` newest healthy ones stay. Where it cannot be
        written, a RunError says why, and everything that was there before is untouched.

        Args:
            step: Steps done.
            files: File name without suffix -> tensors by name.
            meta: What training needs beside the tensors to go on.
            keep: Number of checkpoints kept of each kind.
        """
        with self._explained("checkpoint"):
            write_checkpoint_dir(self.checkpoint_path(step), files, meta.model_dump(mode="json"))
        kept = {0, *self.healthy_checkpoints()[-keep:]}
        for old in self.checkpoints()[:-keep]:
            if old not in kept:
                shutil.rmtree(self.checkpoint_path(old), ignore_errors=True)

    def healthy_checkpoints(self) -> list[int]:
        """The steps of the checkpoints at which the GAN monitor found nothing wrong, in order."""
        healthy = []
        for step in self.checkpoints():
            try:
                if self.checkpoint_meta(step).healthy:
                    healthy.append(step)
            except RunError:  # damaged: nobody will want it back
                continue
        return healthy

    def discard_after(self, step: int) -> None:
        """Delete what came after `step`, from where a rollback goes on: checkpoints, images, lines."""
        for folder in (CHECKPOINTS, SNAPSHOTS):
            home = path_of(self.path, folder)
            for later in steps_in(home):
                if later > step:
                    shutil.rmtree(home / f"step-{later:08d}", ignore_errors=True)
        for folder in (SAMPLES, MONITOR):
            for image in path_of(self.path, folder).glob("step-*.png"):
                if int(image.stem.removeprefix("step-")) > step:
                    image.unlink(missing_ok=True)
        self.cut_lines_after(step)

    def checkpoint_meta(self, step: int | None = None) -> CheckpointMeta:
        """Read what was noted beside a checkpoint's tensors.

        Args:
            step: Which checkpoint; None: the newest one.

        Returns:
            The content of its meta.json.

        Raises:
            RunError: If there is no checkpoint, or its meta cannot be read.
        """
        steps = self.checkpoints()
        if not steps:
            raise RunError(f"{self.path} has no checkpoint yet: it was stopped before its first save.")
        step = steps[-1] if step is None else step
        try:
            text = (self.checkpoint_path(step) / "meta.json").read_text(encoding="utf-8")
            return CheckpointMeta.model_validate(meta_in_present_form(json.loads(text), step))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.path}: the checkpoint of step {step} is damaged ({plainly(error)})."
            ) from error

    def load_checkpoint(
        self,
        step: int | None = None,
        only: tuple[str, ...] | None = None,
        warning: str | None = "using that of step {}",
    ) -> Checkpoint:
        """Read a checkpoint and check it against its checksums.

        Args:
            step: Which one; None: the newest whole one. Damaged newer ones are passed over, and named in the
                result and in a warning to the log.
            only: The files of tensors to read and check; None: all.
            warning: How the warning ends, with a place for the step; None: no warning.

        Returns:
            The checkpoint, and a sentence for each one that was passed over.

        Raises:
            RunError: If no checkpoint is left.
        """
        wanted = [step] if step is not None else self.checkpoints()[::-1]
        complaints: list[str] = []
        for candidate in wanted:
            try:
                read, meta = read_checkpoint_dir(self.checkpoint_path(candidate), former_files(only))
                checked = CheckpointMeta.model_validate(meta_in_present_form(meta, candidate))
            except (OSError, ValueError) as error:
                complaints.append(f"the checkpoint of step {candidate} is damaged ({plainly(error)})")
                continue
            if complaints and warning is not None:
                log.warning("%s: %s: %s", self.path, "; ".join(complaints), warning.format(candidate))
            return Checkpoint(tensors_in_present_form(read), checked, complaints)
        why = "; ".join(complaints) or "it was stopped before its first save"
        raise RunError(f"{self.path} has no checkpoint that can be opened: {why}. Train it again.")

    # --- snapshots -------------------------------------------------------------------------

    def snapshots(self) -> list[int]:
        """The steps at which EMA and raw weights were kept for later evaluation, in order."""
        return steps_in(path_of(self.path, SNAPSHOTS))

    def save_snapshot(self, step: int, ema: Tensors, meta: SnapshotMeta, raw: Tensors | None = None) -> None:
        """Keep the EMA and the raw weights of a step for later evaluation; a RunError where that fails.

        Args:
            step: Steps done.
            ema: The EMA weights by name.
            meta: Training time so far, and how the two compare.
            raw: The raw weights of the same names; None: not kept.
        """
        files = {"ema": ema} | ({} if raw is None else {"raw": raw})
        with self._explained("snapshot"):
            write_checkpoint_dir(self._snapshot_path(step), files, meta.model_dump(mode="json"))

    def load_snapshot(self, step: int) -> Snapshot:
        """The weights kept at a step. Raises RunError, naming the steps there are."""
        try:
            tensors, meta = read_checkpoint_dir(self._snapshot_path(step), None)
            checked = SnapshotMeta.model_validate(meta_in_present_form(meta))
        except (OSError, ValueError) as error:
            raise self._no_snapshot(step, error) from error
        return Snapshot(tensors_in_present_form(tensors), checked)

    def snapshot_meta(self, step: int) -> SnapshotMeta:
        """What was noted beside the weights of a step. Raises RunError, naming the steps there are."""
        try:
            text = (self._snapshot_path(step) / "meta.json").read_text(encoding="utf-8")
            return SnapshotMeta.model_validate(meta_in_present_form(json.loads(text)))
        except (OSError, ValueError) as error:
            raise self._no_snapshot(step, error) from error

    def _snapshot_path(self, step: int) -> Path:
        return path_of(self.path, SNAPSHOTS) / f"step-{step:08d}"

    def _no_snapshot(self, step: int, error: Exception) -> RunError:
        there = ", ".join(map(str, self.snapshots())) or "none"
        return RunError(
            f"{self.path} has no usable snapshot of step {step} ({plainly(error)}). Snapshots: {there}"
        )

    # --- images ----------------------------------------------------------------------------

    @property
    def samples_folder(self) -> Path:
        """The folder of the sample grids."""
        return self.path / SAMPLES

    @property
    def monitor_folder(self) -> Path:
        """The folder of the samples that the GAN monitor drew."""
        return path_of(self.path, MONITOR)

    # --- one writer at a time ---------------------------------------------------------------

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
            steps = self.checkpoints()
            good = f"the checkpoint of step {steps[-1]} is whole" if steps else "no checkpoint yet"
            raise RunError(
                f"could not write a {what} to {self.path}: {reason}. Nothing was lost: {good}. "
                f"Mend it, then: triptych resume {self.path}"
            ) from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run's lock; files and folders of a former version get the present names.

        Raises:
            RunError: If another process holds it, or nobody may write here.
        """
        with ExitStack() as stack:
            try:
                acquired = stack.enter_context(locked(self.path / "lock", wait=False))
            except OSError as error:
                raise RunError(
                    f"{self.path} cannot be written: {error.strerror or error}. "
                    "Allow it, or go on with a copy of the run that you may write"
                ) from error
            if not acquired:
                raise RunError(
                    f"{self.path} is being written by another process. Wait for it, or stop it first."
                )
            for former in self.path.glob("*/.former-step-*"):  # a kill between two renames left it
                put_back(former, former.with_name(former.name.removeprefix(".former-")))
            if rename_to_present(self.path):
                self.update_card()
            yield


def create(home: Path, name: str, card: RunCard) -> Run:
    """Make the next numbered run directory and write its run.json.

    Args:
        home: The folder of all runs; it is made where it is missing.
        name: What the directory is called after its number.
        card: The content of run.json.

    Returns:
        The run, open for reading.

    Raises:
        RunError: If the directory cannot be made.
    """
    path = numbered(home, name)
    try:
        (path / SAMPLES).mkdir()
        write_atomically(path / "run.json", _as_json(card))
    except OSError as error:
        raise RunError(
            f"cannot make a run under {home}: {error.strerror or error}. Choose another --runs."
        ) from error
    return Run(path, card)


def open_run(path: Path | str) -> Run:
    """Open a run directory. Raises RunError when it is none, or its run.json is missing or broken."""
    path = Path(path)
    if not path.is_dir():
        beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        if path.is_file():
            raise RunError(f"{path} is a file, not a run: expected the directory of a run.")
        near = next((name for name in beside if path.name and path.name in name), None)
        near = near or nearest(path.name, beside)
        hint = f" Did you mean {path.parent / near}?" if near else ""
        raise RunError(f"there is no run at {path}.{hint}")
    try:
        card = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"{path} is not a run: it has no run.json. Expected a directory that triptych train wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}/run.json cannot be read ({error}): the run's options are lost.") from error
    return Run(path, checked_card(card, path))


def _as_json(card: RunCard) -> str:
    return json.dumps(card.model_dump(mode="json"), indent=2) + "\n"
