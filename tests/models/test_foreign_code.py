"""A run or a duel that was received is data: no verb executes a .py file because it names one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import triptych
from triptych import cli
from triptych.cli import VERBS
from triptych.comparison import duel
from triptych.core.errors import RunError, UsageError

OPTIONS: dict[str, Any] = {"steps": 2, "batch": 32, "threads": 1, "precision": "fp32", "width": 4}
STEERED = {  # the acts of `steer` and what they ask beside the run
    "interpolate": [],
    "traverse": ["--seed", "0"],
    "truncate": [],
    "sweep": ["--control", "truncation"],
    "mix": ["--donors", "0-1", "--bases", "2-3"],
    "directions": ["--out", "d"],
    "invert": ["--images", "x.png"],
    "edit": ["--images", "x.png", "--direction", "d"],
    "map": [],
}
WORDS: dict[str, list[list[str]]] = {
    "sample": [["RUN", "--out", "g.png"], ["RUN", "--help"]],
    "resume": [["RUN"], ["RUN", "--steps", "5"]],
    "evaluate": [["RUN", "--samples", "40"], ["RUN", "--samples", "40", "--quick"]],
    "check": [["RUN"]],
    "compare": [["RUN", "RUN"]],
    "report": [["RUN", "--out", "r.html"], ["RUN", "RUN", "--out", "r.html"]],
    "steer": [["RUN", act, *more] for act, more in STEERED.items()],
}
WITHOUT = {"demo", "train", "duel", "data", "conformance"}  # verbs that are given no run


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return triptych.train("dcgan", runs=tmp_path_factory.mktemp("runs"), **OPTIONS).path


def trap(folder: Path) -> Path:
    """A whole model in a file that leaves a mark when it is executed."""
    own = folder / "own.py"
    own.write_text(
        f"import pathlib\npathlib.Path({str(folder / 'mark')!r}).touch()\n"
        "from triptych.models.dcgan import Dcgan\nclass Own(Dcgan):\n    title = 'Own'\n"
    )
    return own


@pytest.fixture
def received(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose run.json names a file."""
    monkeypatch.chdir(tmp_path)
    run = Path(shutil.copytree(sound, tmp_path / "sent"))
    card = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**card, "model": str(trap(tmp_path))}))
    return run


def test_every_verb_that_takes_a_run_is_covered() -> None:
    assert set(VERBS) == set(WORDS) | WITHOUT


@pytest.mark.parametrize(
    ("verb", "words"),
    [pytest.param(v, w, id=f"{v} {' '.join(w)}") for v, all_of in WORDS.items() for w in all_of],
)
def test_no_verb_runs_the_file_that_a_run_names(
    verb: str, words: list[str], received: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = cli.main([verb, *(str(received) if word == "RUN" else word for word in words)])
    except SystemExit as stop:  # the flags of an act are the run's model's
        code = int(stop.code or 0)
    error_message = capsys.readouterr().err
    assert not (received.parent / "mark").exists()
    if verb not in ("report", "compare"):  # these show what the run holds: its code is not needed
        assert code in (1, 2) and error_message.count("\n") <= 2
    if code == 1:
        assert f"--model-file {received.parent / 'own.py'}" in error_message or "is finished" in error_message


def test_a_model_file_that_the_user_names_is_executed(
    received: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model-file", str(received.parent / "own.py")]
    assert cli.main(["resume", str(received), "--steps", "4", *words]) == 0
    assert (received.parent / "mark").exists()
    assert "GAN monitor:" in capsys.readouterr().err


def test_a_report_of_a_received_run_is_written(received: Path) -> None:
    assert cli.main(["report", str(received), "--out", "r.html"]) == 0
    page = Path("r.html").read_text()
    assert "generator/loss" in page and "runs only when you name it" in page


@pytest.fixture
def received_duel(tmp_path: Path) -> duel.Duel:
    """A duel whose duel.json names a file."""
    small = "vae --width 4 --latent 2 --batch 32"
    created = duel.create_duel(
        [small, f"{small} --prior normal"], "digits", budget="images", amount=64, home=tmp_path
    )
    rules = json.loads((created.path / "duel.json").read_text())
    rules["contestants"][0]["model"] = str(trap(tmp_path))
    (created.path / "duel.json").write_text(json.dumps(rules))
    return duel.open_duel(created.path)


@pytest.mark.parametrize("verb", ["resume", "report"])
def test_no_verb_runs_the_file_that_a_duel_names(
    verb: str, received_duel: duel.Duel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([verb, str(received_duel.path)]) == 1
    assert not (tmp_path / "mark").exists() and not list((received_duel.path / "runs").iterdir())
    if verb == "resume":
        assert f"add --model-file {tmp_path / 'own.py'}" in capsys.readouterr().err


def test_a_duel_runs_the_files_that_the_user_names(received_duel: duel.Duel) -> None:
    rules, (theirs,) = received_duel.rules, received_duel.model_files()
    for file in (theirs, "elsewhere/own.py"):  # the same path, or the same name
        assert duel.with_files(rules, [file]).contestants[0].model == file
    with pytest.raises(RunError, match="runs only when you name"):
        duel.with_files(rules, ["other.py"])
    with pytest.raises(UsageError, match=r"no contestant of this duel lives in other\.py: it has /"):
        duel.with_files(rules, [theirs, "other.py"])
    twins = [rules.contestants[0].model_copy(update={"model": f"{home}/own.py"}) for home in "ab"]
    both = rules.model_copy(update={"contestants": tuple(twins)})
    assert duel.with_files(both, ["b/own.py", "a/own.py"]) == both
    with pytest.raises(RunError, match=r"live in files, b/own\.py"):
        duel.with_files(both, ["a/own.py"])
