"""Every `triptych` command that a page of the documentation shows is typed, with a small run and budget.

Commands that train are followed until data would be loaded: model, preset and every flag have been read then.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from triptych import cli
from triptych.cli._flags import parse
from triptych.comparison import duel
from triptych.evaluation.evaluate import evaluate_run
from triptych.models.registry import model_names
from triptych.training import runner

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(
    page.relative_to(DOCS).as_posix()
    for page in DOCS.rglob("*.md")
    if page.parent.name != "adding"  # test_docs.py and test_adding.py follow these
)
SETTINGS: dict[str, dict[str, Any]] = {
    "vae": {"preset": "map"},
    "dcgan": {},
    "diffusion": {},
    "stylegan": {},
}
SCORED = ("dcgan", "stylegan")  # both conditional: their scores may be compared
CHEAP = {
    "evaluate": ["--samples", "40", "--quick"],
    "directions": ["--samples", "200", "--effect-samples", "0"],
    "sweep": ["--samples", "40"],
}


def commands(page: str) -> list[str]:
    """The commands of a page in their order: lines of code blocks, and code within the text."""
    text = re.sub(
        r"^```(python|text|json)\n.*?^```$", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.S | re.M
    )
    found = re.findall(r"^(triptych [a-z].*?)(?:\s+#.*)?$|`(triptych [a-z][^`]*)`", text, flags=re.M)
    return [block or inline for block, inline in found]


def settings_shown(page: str) -> list[str]:
    """Flags that a page shows alone: `--beta 4`, to be added to a `triptych train`."""
    return re.findall(r"\| `(--[^`]*)` \|", (DOCS / page).read_text(encoding="utf-8"))


class WouldStartError(Exception):
    """The command line was read, and work would begin."""


@pytest.fixture(scope="module")
def small_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two steps of each model that a command needs; two runs are scored."""
    home = tmp_path_factory.mktemp("runs")
    runs = {}
    for model, settings in SETTINGS.items():
        given: dict[str, Any] = {"steps": 2, "batch": 4, "precision": "fp32", **settings}
        runs[model] = str(runner.train(model, "digits", runs=home, **given).path)
    for model in SCORED:
        evaluate_run(runs[model], 40, "random-conv", detailed=False)
    return runs


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: Any, **__: Any) -> None:
        raise WouldStartError

    monkeypatch.setattr(runner, "load_data", reached)
    monkeypatch.setattr(duel, "load_data", reached)


def reads(words: list[str]) -> bool:
    """Whether a command that trains is read without a complaint."""
    try:
        cli.main(words)
    except WouldStartError:
        return True
    return False


def with_run(words: list[str], runs: dict[str, str]) -> list[list[str]]:
    """The command with a run for RUN: that of the model it names, else each there is."""
    named = [re.fullmatch(r"runs/\d+-([a-z_]+)-.*", word) for word in words]
    models = {match[1] for match in named if match}
    if models:
        return [[runs[match[1]] if match else word for word, match in zip(words, named, strict=True)]]
    if words.count("RUN") > 1:  # compare
        scored = iter(runs[model] for model in SCORED)
        return [[next(scored) if word == "RUN" else word for word in words]]
    return [[runs[model] if word == "RUN" else word for word in words] for model in runs]


def cheaper(words: list[str]) -> list[str]:
    extra = [flag for name, flags in CHEAP.items() if name in words[:3] for flag in flags]
    if "evaluate" in words and "--features" not in words:
        extra += ["--features", "random-conv"]
    return [*words, *extra]


def works(words: list[str]) -> bool:
    try:
        return cli.main(words) == 0
    except SystemExit as stop:  # --help
        return not stop.code


@pytest.mark.parametrize("page", PAGES)
def test_commands_of(
    page: str,
    small_runs: dict[str, str],
    no_data: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in commands(page):
        verb, *words = [word.replace("ACT", "map") for word in shlex.split(line)[1:]]
        assert verb in cli.VERBS, line
        if not words:  # a verb that is only named
            continue
        if verb in ("train", "duel") and "--help" not in words:
            assert reads([verb, *words]), (line, capsys.readouterr().err)
        elif verb in ("demo", "conformance", "resume") or "--sensitivity" in words or "inception" in words:
            assert parse(words, cli.VERBS[verb].flags, verb) is not None
        else:
            tries = with_run([verb, *words], small_runs)
            assert any(works(cheaper(one)) for one in tries), (line, capsys.readouterr().err)


@pytest.mark.parametrize("page", [page for page in PAGES if settings_shown(page)])
def test_settings_of(page: str, no_data: None, capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that a table shows alone is one of the first model that the page trains, or of some model."""
    trained = re.search(r"triptych train (\w+)", (DOCS / page).read_text(encoding="utf-8"))
    for flags in settings_shown(page):
        models = [trained[1]] if trained and page.startswith("exercises/") else model_names()
        assert any(reads(["train", model, *shlex.split(flags)]) for model in models), flags
