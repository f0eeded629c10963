"""A tiny set in CelebA's official layout, whole and in pieces."""

from __future__ import annotations

import errno
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych import cli
from triptych.core.errors import DataError, UsageError
from triptych.data.inspect import inspect
from triptych.data.load import load

NAMES = [f"{k:06d}.jpg" for k in range(1, 21)]
PARTITION = [0] * 12 + [1] * 3 + [2] * 5
SMILING = [1, -1] * 10


def face(k: int, size: tuple[int, int] = (178, 218)) -> bytes:
    """A white square of 148 pixels whose gray level in the middle is 10 k, on black."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[35:183, 15:163] = (10 * k, 60, 90)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def write_lists(folder: Path) -> None:
    rows = [f"{n} {s:2d} -1  1" for n, s in zip(NAMES, SMILING, strict=True)]
    text = "\n".join([str(len(rows)), "Smiling Bald 5_o_Clock_Shadow ", *rows])
    (folder / "list_attr_celeba.txt").write_text(text + "\n")
    lines = [f"{n} {p}" for n, p in zip(NAMES, PARTITION, strict=True)]
    (folder / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIPTYCH_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "sets"


@pytest.fixture
def faces(home: Path) -> Path:
    folder = home / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    for k, name in enumerate(NAMES, 1):
        (folder / "img_align_celeba" / name).write_bytes(face(k))
    write_lists(folder)
    return folder


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_center_crop_of_148_pixels_in_the_published_split(faces: Path) -> None:
    dataset = load("celeba")
    assert dataset.spec.size == 64 and dataset.spec.channels == 3 and dataset.spec.classes == 0
    assert (len(dataset.train), len(dataset.test)) == (15, 5)
    reds = dataset.test.pixels[..., 0].reshape(5, -1).astype(int)
    for k, red in zip(range(16, 21), reds, strict=True):
        assert red.min() > 10 * k - 12, "the black border is cut away"
        assert abs(red.mean() - 10 * k) < 3
    assert "nothing here is tuned" in dataset.split_rule and not dataset.skipped


def test_attributes_are_factors(faces: Path) -> None:
    dataset = load("celeba", size=16)
    assert set(dataset.train.factors) == {"Smiling", "Bald", "5_o_Clock_Shadow"}
    smiling = dataset.test.factors["Smiling"]
    assert smiling.dtype == np.int64 and smiling.tolist() == [0, 1, 0, 1, 0]
    assert dataset.train.factors["Smiling"].tolist() == [1, 0] * 7 + [1]
    assert dataset.train.factors["Bald"].sum() == 0 and dataset.train.factors["5_o_Clock_Shadow"].all()


def test_gray_other_sizes_and_the_official_folders(faces: Path) -> None:
    color = load("celeba", size=32)
    for name, inside in (("list_attr_celeba.txt", "Anno"), ("list_eval_partition.txt", "Eval")):
        (faces / inside).mkdir()
        (faces / name).rename(faces / inside / name)
    (faces / "Img").mkdir()
    (faces / "img_align_celeba").rename(faces / "Img" / "img_align_celeba")
    assert load("celeba", size=32).fingerprint == color.fingerprint
    (faces / "Img" / "img_align_celeba").rename(faces / "inner")
    (faces / "Img" / "img_align_celeba").mkdir()
    (faces / "inner").rename(faces / "Img" / "img_align_celeba" / "img_align_celeba")  # unpacked twice
    assert load("celeba", size=32).fingerprint == color.fingerprint
    assert load("celeba", size=200, color="gray").train.pixels.shape == (15, 200, 200, 1)


def test_the_zip_file_is_enough(faces: Path) -> None:
    unpacked = load("celeba", size=16)
    with zipfile.ZipFile(faces / "img_align_celeba.zip", "w") as archive:
        for path in sorted((faces / "img_align_celeba").iterdir()):
            archive.write(path, f"img_align_celeba/{path.name}")
    shutil.rmtree(faces / "img_align_celeba")
    assert load("celeba", size=16).fingerprint == unpacked.fingerprint
    whole = (faces / "img_align_celeba.zip").read_bytes()
    (faces / "img_align_celeba.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"img_align_celeba\.zip is not a complete zip"):
        load("celeba", size=16)


@pytest.mark.parametrize("spoilt", ["half a file", "another size", "no file"])
def test_a_few_broken_images_are_skipped_with_their_attributes(faces: Path, spoilt: str) -> None:
    own, whole = faces / "img_align_celeba" / NAMES[1], load("celeba", size=16)
    if spoilt == "no file":
        own.unlink()
    else:
        own.write_bytes(face(2)[:400] if spoilt == "half a file" else face(2, (300, 300)))
        (faces / "list_attr_celeba.txt").touch()
        (
            faces / "img_align_celeba" / "a note"
        ).touch()  # an image changed in place has the same modification time
    dataset = load("celeba", size=16)
    assert len(dataset.train) == 14 and [b.file for b in dataset.skipped] == [NAMES[1]]
    kept = [0, *range(2, 15)]
    assert np.array_equal(dataset.train.pixels, whole.train.pixels[kept])
    assert np.array_equal(dataset.train.factors["Smiling"], whole.train.factors["Smiling"][kept])


def test_missing_data_error_names_the_search_paths_and_the_files(home: Path) -> None:
    with pytest.raises(DataError, match="CelebA project page") as error:
        load("celeba")
    message = str(error.value)
    assert str(home / "celeba") in message and "cache" in message and "--data folder:PATH" in message
    assert all(name in message for name in ("img_align_celeba.zip", "list_attr", "list_eval_partition"))
    with pytest.raises(UsageError, match="Did you mean celeba"):
        load("celebs")


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba"])
def test_a_missing_part_is_named(faces: Path, name: str) -> None:
    (faces / name).rename(faces / "elsewhere")
    with pytest.raises(DataError, match=f"lacks {name}"):
        load("celeba")


def test_a_partial_folder_is_refused_before_work_begins(faces: Path) -> None:
    for name in NAMES[10:]:
        (faces / "img_align_celeba" / name).unlink()
    with pytest.raises(
        DataError, match=r"contains 10 of the 20 images .* lists; 000011.jpg is missing"
    ) as error:
        load("celeba")
    assert f"--data folder:{faces / 'img_align_celeba'}" in str(error.value)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("list_attr_celeba.txt", "20\n", "21\n", "declares 21 rows and has 20"),
        ("list_attr_celeba.txt", "20\n", "", "must begin with a count"),
        ("list_attr_celeba.txt", "000002.jpg -1", "000002.jpg", "line 4: expected a file name and 3 times"),
        ("list_attr_celeba.txt", "000002.jpg -1", "000002.jpg 0", "line 4: expected a file name and 3 times"),
        ("list_attr_celeba.txt", "000002.jpg", "999999.jpg", "lacks 1 of the 20 images"),
        ("list_eval_partition.txt", "000002.jpg 0", "000002.jpg 7", "line 2: expected a file name and 0, 1"),
        ("list_eval_partition.txt", " 2", " 1", None),
    ],
)
def test_malformed_lists_are_named(faces: Path, file: str, old: str, new: str, message: str | None) -> None:
    if message is None:  # nothing to test on
        (faces / file).write_text((faces / file).read_text().replace(" 2\n", " 1\n"))
        message = "none for testing"
    else:
        rewrite(faces / file, old, new)
    with pytest.raises(DataError, match=message) as error:
        load("celeba")
    assert str(faces / file) in str(error.value)


def test_a_blank_line_among_attributes_is_named(faces: Path) -> None:
    rewrite(faces / "list_attr_celeba.txt", "20\n", "21\n")
    rewrite(faces / "list_attr_celeba.txt", "000002.jpg", "\n000002.jpg")
    with pytest.raises(DataError, match="line 4: expected a file name and 3 times -1 or 1, got ''"):
        load("celeba")


def test_more_than_a_tenth_of_another_size_is_refused(faces: Path) -> None:
    for k in (1, 2, 3):
        (faces / "img_align_celeba" / NAMES[k]).write_bytes(face(k, (250, 250)))
    with pytest.raises(DataError, match=r"3 of 20 images .* 000002.jpg: is 250x250, expected 178x218"):
        load("celeba")


def test_a_full_disk_is_one_sentence(faces: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("triptych.data.datasets.celeba._write_header", full)
    with pytest.raises(DataError, match=r"the disk is full\. Free space, or set TRIPTYCH_CACHE to another"):
        load("celeba")
    assert not [path for path in (home.parent / "cache").rglob("*") if path.is_file()]


def test_inspect_counts_the_attributes(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect("celeba").attributes == {"Smiling": 10, "Bald": 0, "5_o_Clock_Shadow": 20}
    assert not inspect("digits").attributes
    assert cli.main(["data", "inspect", "celeba"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert (
        "3 attributes: 5_o_Clock_Shadow 20 (100%) Bald 0 (0%) Smiling 10 (50%)" in output
        and "center-cropped" in output
    )
    assert "of 148 pixels" in output
