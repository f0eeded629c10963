"""The house's own rules: arrows only go down, one loop, one file for each thing that must stay in one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "triptych"
FLOORS = {
    "core": 0,
    "nets": 1, "noise": 1, "data": 1, "metrics": 1, "run": 1, "averages": 1, "weights": 1,
    "families": 2, "extractors": 2, "modes": 2, "self_supervised": 2,
    "model": 3, "judge": 3, "plan": 3, "figures": 3, "watch": 3,
    "postmortem": 4, "train": 4, "scoring": 4, "likelihood": 4, "traits": 4, "truth": 4, "usefulness": 4,
    "gallery": 4, "trackers": 4, "configure": 4, "subprocess_runs": 4, "rescue": 4,
    "lookout": 5, "selection": 5, "conformance": 5, "further": 5, "two_sample": 5,
    "clock": 6, "driver": 7, "check": 7, "closer": 6, "progress": 6, "evaluate": 7, "compare": 7,
    "steer": 8, "scoreboard": 8, "duel": 8, "probe": 8, "report": 9, "demo": 10, "cli": 11, "__main__": 12,
}  # fmt: skip
FILES = sorted(SRC.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms a file imports when it runs: what stands under `if TYPE_CHECKING` is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    rooms: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "triptych":
            rooms |= {alias.name for alias in node.names if alias.name in FLOORS}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("triptych."):
            rooms.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {a.name.split(".")[1] for a in node.names if a.name.startswith("triptych.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_arrows_only_go_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return  # the package's face looks at public functions, lazily
    assert room in FLOORS, f"{room} has no floor yet: give it one"
    for other in imported_rooms(path) - {room}:
        assert FLOORS[other] < FLOORS[room], f"{room} (floor {FLOORS[room]}) imports {other}"


def test_no_family_imports_another() -> None:
    for path in (SRC / "families").glob("*.py"):
        assert "triptych.families" not in path.read_text(encoding="utf-8")


def files_with(text: str) -> set[str]:
    return {str(p.relative_to(SRC)) for p in FILES if text in p.read_text(encoding="utf-8")}


def test_there_is_one_training_loop() -> None:
    # the networks that measure, and the inversion of an image, are no training of a family
    assert files_with(".backward(") == {
        "train.py",
        "judge.py",
        "self_supervised/training.py",
        "two_sample.py",
        "core/family.py",
    }


def test_a_step_is_read_in_25_lines() -> None:
    tree = ast.parse((SRC / "train.py").read_text(encoding="utf-8"))
    steps = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "steps")
    loop = next(n for n in steps.body if isinstance(n, ast.For))
    assert loop.end_lineno is not None
    assert loop.end_lineno - loop.lineno + 1 <= 25


def test_the_device_is_named_in_one_file() -> None:
    assert files_with('"cuda') == {"core/device.py"}


def test_grey_levels_are_scaled_in_one_file() -> None:
    assert files_with("127.5") == {"core/images.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420


def test_nothing_unpickles() -> None:
    """But for one published file of known SHA-256, and that only for tensors."""
    assert files_with("torch.load(") == {"metrics/inception_weights.py"}
    text = (SRC / "metrics" / "inception_weights.py").read_text(encoding="utf-8")
    assert text.count("torch.load(") == text.count("weights_only=True)") == 1
    assert files_with("allow_pickle=True") == set()
    assert files_with("import pickle") == set()
