from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from run_cards import a_card

from triptych.core import atomic
from triptych.core.atomic import sha256
from triptych.core.errors import RunError
from triptych.runs import run as runs
from triptych.runs.checkpoint import CheckpointMeta, SnapshotMeta
from triptych.runs.run import Run

CARD = a_card()
FILES = {"weights": {"a": torch.arange(6.0).reshape(2, 3)}}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runs.create(tmp_path / "runs", "Some Name!", CARD)


def test_runs_are_numbered_and_named(run: Run) -> None:
    assert run.path.name == "0001-some-name"
    assert runs.create(run.path.parent, "b", CARD).path.name == "0002-b"
    assert runs.open_run(run.path).card == CARD


def test_a_checkpoint_is_read_as_it_was_written(run: Run) -> None:
    turned = {"weights": {"a": torch.arange(6.0).reshape(2, 3).t()}}  # not contiguous
    run.save_checkpoint(5, turned, CheckpointMeta(step=5))
    tensors, meta, complaints = run.load_checkpoint()
    assert torch.equal(tensors["weights"]["a"], turned["weights"]["a"]) and meta.step == 5
    assert not complaints


def test_old_checkpoints_are_deleted_but_the_first_and_the_newest(run: Run) -> None:
    for step in (0, 10, 20, 30):
        run.save_checkpoint(step, FILES, CheckpointMeta(step=step))
    assert run.checkpoints() == [0, 20, 30]


@pytest.mark.parametrize("spoil", ["flip", "cut", "remove", "manifest", "no manifest"])
def test_a_damaged_checkpoint_is_skipped_and_named(
    run: Run, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    run.save_checkpoint(10, FILES, CheckpointMeta(step=10))
    run.save_checkpoint(20, FILES, CheckpointMeta(step=20))
    file = run.checkpoint_path(20) / ("manifest.json" if "manifest" in spoil else "weights.safetensors")
    data = bytearray(file.read_bytes())
    if spoil in ("remove", "no manifest"):
        file.unlink()
    elif spoil == "flip":
        data[-1] ^= 1
        file.write_bytes(data)
    else:
        file.write_bytes(data[: len(data) // 2])
    _, meta, complaints = run.load_checkpoint()
    assert meta.step == 10
    assert len(complaints) == 1 and "step 20 is damaged (" in complaints[0]
    assert "Errno" not in complaints[0]
    (message,) = caplog.messages
    assert message == f"{run.path}: {complaints[0]}: using that of step 10"
    caplog.clear()
    assert run.load_checkpoint(warning=None)[2] == complaints and run.load_checkpoint(10)[2] == []
    assert not caplog.messages


def test_checkpoints_have_the_permissions_of_the_umask(run: Run) -> None:
    before = os.umask(0o027)
    try:
        run.save_checkpoint(5, FILES, CheckpointMeta(step=5))
    finally:
        os.umask(before)
    modes = {file.name: file.stat().st_mode & 0o777 for file in run.checkpoint_path(5).iterdir()}
    assert "weights.safetensors" in modes and set(modes.values()) == {0o640}


def test_where_nobody_may_write_is_said(run: Run) -> None:
    (run.path / "lock").mkdir()
    with pytest.raises(RunError, match=r"some-name cannot be written: [^/]*\. Allow it"), run.writing():
        pass
    (run.path / "metrics.jsonl").mkdir()
    with pytest.raises(RunError, match=r"Mend it, then: triptych evaluate .*some-name$"):
        run.append_metrics({})


def test_a_run_without_checkpoints_says_so(run: Run) -> None:
    with pytest.raises(RunError, match="no checkpoint that can be opened"):
        run.load_checkpoint()


def test_a_half_written_last_line_is_left_out(run: Run) -> None:
    run.append_log({"step": 1})
    run.append_log({"step": 2})
    with (run.path / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert [line["step"] for line in run.log()] == [1, 2]
    run.cut_lines_after(1)
    run.append_log({"step": 2, "again": True})
    assert run.log() == [{"step": 1}, {"step": 2, "again": True}]


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "no run.json"), ("{", "cannot be read"), ('{"family": 1}', "lacks config")],
)
def test_what_is_no_run_is_said(run: Run, text: str | None, message: str) -> None:
    (run.path / "run.json").unlink()
    if text is not None:
        (run.path / "run.json").write_text(text)
    with pytest.raises(RunError, match=message):
        runs.open_run(run.path)


def test_a_misspelt_path_names_the_nearest(run: Run) -> None:
    with pytest.raises(RunError, match=r"Did you mean .*0001-some-name"):
        runs.open_run(run.path.parent / "0001")


def test_two_writers_are_one_too_many(run: Run) -> None:
    with run.writing(), pytest.raises(RunError, match="another process"), runs.open_run(run.path).writing():
        pass
    with run.writing():
        pass


def test_a_full_disk_loses_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.save_checkpoint(10, FILES, CheckpointMeta(step=10))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"disk is full.*step 10 is whole.*triptych resume"):
        run.save_checkpoint(20, FILES, CheckpointMeta(step=20))
    assert run.checkpoints() == [10]
    assert [p.name for p in (run.path / "checkpoints").iterdir()] == ["step-00000010"]
    assert run.load_checkpoint()[1].step == 10


def test_what_was_given_up_is_forgotten_whole(run: Run) -> None:
    for step in (0, 10, 20):
        run.save_checkpoint(step, FILES, CheckpointMeta(step=step), keep=9)
        run.save_snapshot(step, FILES["weights"], SnapshotMeta())
        run.append_log({"step": step})
        for home in ("samples", "monitor"):
            (run.path / home).mkdir(exist_ok=True)
            (run.path / home / f"step-{step:08d}.png").touch()
    run.discard_after(10)
    assert run.checkpoints() == run.snapshots() == [line["step"] for line in run.log()] == [0, 10]
    for home in ("samples", "monitor"):
        assert sorted(p.stem for p in (run.path / home).iterdir()) == ["step-00000000", "step-00000010"]


@pytest.mark.parametrize("broke_off", ["before the second rename", "after it"])
def test_a_checkpoint_written_again_is_never_lost(
    run: Run, monkeypatch: pytest.MonkeyPatch, broke_off: str
) -> None:
    run.save_checkpoint(10, FILES, CheckpointMeta(step=10, images=1))
    rename = Path.rename

    def cut(path: Path, target: Path) -> None:
        if not path.name.startswith(".partial-"):
            rename(path, target)
            return
        if broke_off == "after it":
            rename(path, target)
        monkeypatch.setattr(atomic, "put_back", lambda *_: None)  # a killed process tidies nothing up
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "rename", cut)
        run.save_checkpoint(10, FILES, CheckpointMeta(step=10, images=2))
    monkeypatch.undo()
    with run.writing():
        assert run.checkpoint_meta(10).images == (1 if broke_off == "before the second rename" else 2)
        assert run.load_checkpoint(10)[1].step == 10
        assert [p.name for p in (run.path / "checkpoints").iterdir()] == ["step-00000010"]


def test_a_pickle_in_a_checkpoint_is_never_opened(run: Run) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (exec, ("raise SystemExit('the pickle ran')",))

    run.save_checkpoint(10, FILES, CheckpointMeta(step=10))
    file = run.checkpoint_path(10) / "weights.safetensors"
    file.write_bytes(pickle.dumps(Trap()))
    sums = {name: sha256(run.checkpoint_path(10) / name) for name in ("weights.safetensors", "meta.json")}
    (run.checkpoint_path(10) / "manifest.json").write_text(json.dumps(sums))
    with pytest.raises(RunError, match="damaged"):
        run.load_checkpoint()
