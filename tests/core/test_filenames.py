from __future__ import annotations

import io
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from run_cards import a_card

from triptych import cli
from triptych.cli._registry import Verb
from triptych.core.filenames import MOST_BYTES, readable_name
from triptych.data.load import load
from triptych.runs.run import create, open_run


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Größe", "größe"),
        (unicodedata.normalize("NFD", "Größe"), "größe"),
        ("фото из отпуска", "фото-из-отпуска"),
        ("हिन्दी", "हिन्दी"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\\b:c*d?e", "a-b-c-d-e"),
        (".hidden", "hidden"),
        ("two\nlines\x07", "two-lines"),
        ("bad\udcff", "bad"),
        ("\u202eexe.gnp", "exe.gnp"),
        ("CON", "run-con"),
        ("nul.txt", "run-nul.txt"),
        ("DCGAN 2", "dcgan-2"),
        ("v1.0_x", "v1.0_x"),
        ("...", "run"),
        ("", "run"),
        ("📷", "run"),
    ],
)
def test_names_stay_readable_and_safe(text: str, name: str) -> None:
    assert readable_name(text) == name


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_makes_a_name_that_is_its_own_name(text: str) -> None:
    name = readable_name(text)
    assert 1 <= len(name.encode("utf-8")) <= MOST_BYTES
    assert name == unicodedata.normalize("NFC", name) and not name.startswith(".")
    assert not set(name) & set('/\\:*?"<>|') and not any(unicodedata.category(c)[0] in "CZ" for c in name
                                                       if c not in "\u200c\u200d")  # fmt: skip
    assert readable_name(name) == name


def test_long_names_are_cut_between_characters() -> None:
    assert readable_name("я" * 300) == "я" * (MOST_BYTES // 2)
    assert readable_name("яz" * 5, most_bytes=10) == "яzяzяz"


def test_runs_and_sources_keep_names_beyond_ascii(tmp_path: Path) -> None:
    folder = tmp_path / "фото"
    folder.mkdir()
    for k in range(4):
        Image.fromarray(np.full((8, 8), 60 * k, np.uint8)).save(folder / f"{k}.png")
    assert load(f"folder:{folder}", size=8).name == "folder-фото"
    card = a_card()
    run = create(tmp_path / "runs", "Größe 1", card)
    assert run.path.name == "0001-größe-1"
    assert open_run(run.path).card == card


def test_a_terminal_that_cannot_show_a_name_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", written)
    shows = Verb(object, lambda words: print("runs/0001-größe") or {}, "")  # type: ignore[func-returns-value]
    monkeypatch.setitem(cli.VERBS, "demo", shows)
    assert cli.main(["demo"]) == 0
    written.flush()
    assert written.buffer.getvalue() == rb"runs/0001-gr\xf6\xdfe" + b"\n"  # type: ignore[attr-defined]
