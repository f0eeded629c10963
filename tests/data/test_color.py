"""Gray albums with a colored image and the reverse: most decide, a sentence says so, --color goes first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych import cli
from triptych.data.inspect import inspect
from triptych.data.load import load, reopen
from triptych.runs.card import DataCard


def album(home: Path, gray: int, colored: int) -> str:
    home.mkdir()
    for k in range(gray + colored):
        draws = np.random.default_rng(k).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        pixels = draws if k < colored else np.repeat(draws[..., :1], 3, 2)  # gray ones are stored as RGB too
        Image.fromarray(pixels).save(home / f"{k:03d}.png")
    return f"folder:{home}"


@pytest.mark.parametrize(
    ("gray", "colored", "channels", "told"),
    [
        (29, 1, 1, "1 of 30 images have color, the others are gray: all are made gray (--color rgb"),
        (
            1,
            29,
            3,
            "1 of 30 images are gray, the others have color: all are kept as color images (--color gray",
        ),
        (5, 5, 3, "5 of 10 images are gray"),
        (6, 0, 1, ""),
        (0, 6, 3, ""),
    ],
)
def test_auto_color_follows_the_majority(
    gray: int, colored: int, channels: int, told: str, tmp_path: Path
) -> None:
    source = album(tmp_path / "album", gray, colored)
    for _ in range(2):  # prepared, and from the cache
        found = load(source, size=9)
        assert found.spec.channels == channels
        assert found.color_rule.startswith(told) and bool(found.color_rule) == bool(told)
    plan = inspect(source, size=9).plan
    assert (plan[0] == found.color_rule) == bool(told)
    images = [Image.open(file) for file in sorted((tmp_path / "album").iterdir())]
    assert load(images, size=9).color_rule == found.color_rule
    for color, asked in (("gray", 1), ("rgb", 3)):
        obeyed = load(source, size=9, color=color)
        assert (obeyed.spec.channels, obeyed.color_rule) == (asked, "")
        assert load(images, size=9, color=color).spec.channels == asked


def test_the_color_rule_is_printed_by_train_and_inspect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = album(tmp_path / "album", 11, 1)
    words = ["--steps", "1", "--batch", "4", "--precision", "fp32", "--threads", "1", "--size", "8"]
    for color, said in ((["--color", "rgb"], False), ([], True)):
        assert cli.main(["train", "vae", "--data", source, "--runs", str(tmp_path), *words, *color]) == 0
        assert ("1 of 12 images have color" in capsys.readouterr().err) == said
        assert cli.main(["data", "inspect", source, "--size", "8", *color]) == 0
        assert ("    1 of 12 images have color" in capsys.readouterr().out) == said


def test_runs_of_older_versions_reopen_their_data(tmp_path: Path) -> None:
    source = album(tmp_path / "album", 11, 1)
    before = load(source, size=9, color="rgb")
    seen = DataCard(source=source, name="a", size=9, fingerprint=before.fingerprint, train=1, test=1)
    assert reopen(seen, tmp_path).fingerprint == before.fingerprint
