from __future__ import annotations

from pathlib import Path

import pytest

from triptych.core.errors import UsageError
from triptych.core.files import fit_to_write


def test_what_can_be_written_leaves_no_trace(tmp_path: Path) -> None:
    fit_to_write(tmp_path / "new" / "deep" / "x.png", "--out")
    (tmp_path / "x.png").write_text("old")
    fit_to_write(tmp_path / "x.png", "--out")
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_a_folder_and_what_is_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--save .*x\.png cannot be written: .*file is a file"):
        fit_to_write(tmp_path / "file" / "x.png", "--save")
    with pytest.raises(UsageError, match="is a folder: name a file in it"):
        fit_to_write(tmp_path, "--out")


def test_a_folder_that_takes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "x")

    monkeypatch.setattr(Path, "touch", refused)
    with pytest.raises(UsageError, match=r"takes no file \(Permission denied\), name one in another folder"):
        fit_to_write(tmp_path / "x.png", "--out")
