"""What the documents say is run as it stands, with smaller budgets."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych import cli

ROOT = Path(__file__).parent.parent
SMALL = ["--steps", "2", "--batch", "8", "--precision", "fp32", "--threads", "1"]


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [inner for name, inner in fenced if name == language]


def commands(text: str) -> list[list[str]]:
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("triptych ")]


def cheaper(words: list[str]) -> list[str]:
    if words[0] != "train":
        return words
    for budget in ("--minutes", "--steps"):
        if budget in words:
            words = words[: words.index(budget)] + words[words.index(budget) + 2 :]
    return [*words, *SMALL]


def test_readme_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-photos").mkdir()
    for k in range(20):
        image = np.random.default_rng(k).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "my-photos" / f"{k}.png")
    command_lines = [words for block in blocks("README.md", "") for words in commands(block)]
    assert command_lines
    for words in command_lines:
        assert cli.main(cheaper(words)) == 0, words


def test_commands_of_the_page_about_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("docs/scores.md", "")
    for words in commands(block):
        assert cli.main(cheaper(words)) == 0, words


def test_readme_names_every_verb() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = set(re.findall(r"^\| `triptych (\w+)", text, flags=re.MULTILINE))
    assert table == set(cli.VERBS)


def test_readme_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = blocks("README.md", "python")
    assert "steps=200" in program and "samples=1000" in program
    program = program.replace("steps=200", 'steps=2, precision="fp32"').replace("samples=1000", "samples=30")
    namespace: dict[str, object] = {}
    exec(compile(program, "README.md", "exec"), namespace)
    assert getattr(namespace["images"], "shape", None) == (64, 16, 16, 1)


def test_the_model_of_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = blocks("docs/adding/model.md", "python")
    (tmp_path / "mean.py").write_text(program)
    (block,) = blocks("docs/adding/model.md", "")
    command_lines = commands(block)
    assert len(command_lines) == 2
    for words in command_lines:
        assert cli.main(cheaper(words)) == 0, words
    assert (tmp_path / "mean.png").is_file()


def test_config_fields_may_not_reuse_a_name_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = blocks("docs/adding/model.md", "python")
    for old, new in (("lr:", "batch:"), ("temperature:", "noise:")):
        (tmp_path / "clash.py").write_text(program.replace(old, new))
        assert cli.main(["train", "clash.py", *SMALL]) == 2
        assert repr(new[:-1]) in capsys.readouterr().err
