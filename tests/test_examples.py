"""Every example runs, in two steps, as a person would start it."""

from __future__ import annotations

import json
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


def test_the_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its code cells run one after the other; its stored outputs are those of a run without an error."""
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "first_model.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    assert sum("image/png" in output.get("data", ()) for output in outputs) >= 4
    program = "\n".join("".join(cell["source"]) for cell in cells)
    for full, small in (
        ("steps=600", "steps=2"),
        ("samples=1000", "samples=30"),
        ("pixels[:100]", "pixels[:4]"),
    ):
        assert full in program
        program = program.replace(full, small)
    exec(compile(program, "first_model.ipynb", "exec"), {})
    assert "FID" in capsys.readouterr().out
