"""The table of verbs: every name in it is in --help, and every verb prints a help text of its own."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from triptych.cli import VERBS, main
from triptych.cli._flags import _attribute_docstrings, parse
from triptych.cli.compare import CompareFlags
from triptych.cli.steer import ACTS
from triptych.core.errors import UsageError

CLASSES = {
    **{name: verb.flags for name, verb in VERBS.items()},
    **{name: act.flags for name, act in ACTS.items()},
}


def test_help_lists_every_verb_with_a_description(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for verb in ("demo", "train", "resume", "duel", "sample", "steer", "evaluate", "check", "compare"):
        assert f"\n  {verb} " in printed, verb


@pytest.mark.parametrize("name", CLASSES)
def test_every_flag_has_a_help_text_and_every_verb_a_description(name: str) -> None:
    flags: type[Any] = CLASSES[name]
    texts = _attribute_docstrings(flags)
    assert [field.name for field in dataclasses.fields(flags) if not texts.get(field.name)] == []
    assert "(" not in str(flags.__doc__).split(" ")[0]  # not the signature that dataclass writes


def test_parse_returns_the_verbs_own_class() -> None:
    flags = parse(["a", "b", "--each-run"], CompareFlags, "compare")
    assert isinstance(flags, CompareFlags) and flags.each_run and list(map(str, flags.paths)) == ["a", "b"]
    assert not parse(["a"], CompareFlags, "compare").each_run
    with pytest.raises(UsageError, match="Did you mean --each-run"):
        parse(["a", "--each-rum"], CompareFlags, "compare")
    with pytest.raises(UsageError, match="has no flag --no-each-run"):  # off unless given
        parse(["a", "--no-each-run"], CompareFlags, "compare")


def test_help_may_come_before_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["help", "compare"])
    assert not stop.value.code and "--each-run" in capsys.readouterr().out


def test_help_lists_own_flags_first_and_shared_ones_last(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    printed = capsys.readouterr().out
    order = [printed.index(f"--{flag}") for flag in ("samples", "quick", "weights", "model-file", "json")]
    assert order == sorted(order)


def test_train_takes_only_the_presets_of_its_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "dcgan", "--preset", "papr"]) == 2
    assert "Did you mean paper?" in capsys.readouterr().err
