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
    ("gray", "colored", "channels", "message"),
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
    gray: int, colored: int, channels: int, message: str, tmp_path: Path
) -> None:
    source = album(tmp_path / "album", gray, colored)
    for _ in range(2):  # prepared, and from the cache
        dataset = load(source, size=9)
        assert dataset.spec.channels == channels
        assert dataset.color_rule.startswith(message) and bool(dataset.color_rule) == bool(message)
    plan = inspect(source, size=9).plan
    assert (plan[0] == dataset.color_rule) == bool(message)
    images = [Image.open(file) for file in sorted((tmp_path / "album").iterdir())]
    assert load(images, size=9).color_rule == dataset.color_rule
    for color, channels_expected in (("gray", 1), ("rgb", 3)):
        obeyed = load(source, size=9, color=color)
        assert (obeyed.spec.channels, obeyed.color_rule) == (channels_expected, "")
        assert load(images, size=9, color=color).spec.channels == channels_expected


def test_the_color_rule_is_printed_by_train_and_inspect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = album(tmp_path / "album", 11, 1)
    words = ["--steps", "1", "--batch", "4", "--precision", "fp32", "--threads", "1", "--size", "8"]
    for color, printed in ((["--color", "rgb"], False), ([], True)):
        assert cli.main(["train", "vae", "--data", source, "--runs", str(tmp_path), *words, *color]) == 0
        assert ("1 of 12 images have color" in capsys.readouterr().err) == printed
        assert cli.main(["data", "inspect", source, "--size", "8", *color]) == 0
        assert ("    1 of 12 images have color" in capsys.readouterr().out) == printed


def test_runs_of_older_versions_reopen_their_data(tmp_path: Path) -> None:
    source = album(tmp_path / "album", 11, 1)
    before = load(source, size=9, color="rgb")
    card = DataCard(source=source, name="a", size=9, fingerprint=before.fingerprint, train=1, test=1)
    assert reopen(card, tmp_path).fingerprint == before.fingerprint
