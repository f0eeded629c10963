"""The table of verbs: every name in it is in --help, and every verb prints a help text of its own."""

from __future__ import annotations

import pytest

from triptych.cli import main


def test_help_lists_every_verb_with_a_description(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for verb in ("demo", "train", "resume", "duel", "sample", "steer", "evaluate", "check", "compare"):
        assert f"\n  {verb} " in printed, verb
