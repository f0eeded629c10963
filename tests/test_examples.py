"""Every example runs, in two steps, as a person would start it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from triptych.models.registry import model_names

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_every_model_has_an_example() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} >= set(model_names())


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_example(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--steps", "2"])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert capsys.readouterr().out.strip()
    for image in (f"{name}.png", f"{name}.svg"):
        if image in (EXAMPLES / f"{name}.py").read_text(encoding="utf-8"):
            assert (tmp_path / image).stat().st_size > 500
