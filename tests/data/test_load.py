from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.core.errors import DataError, UsageError
from triptych.data.files import split_by_content
from triptych.data.inspect import inspect
from triptych.data.load import load


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (20, 16), **options: object) -> Path:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path, **options)
    return path


def album(folder: Path, count: int = 20) -> Path:
    for k in range(count):
        write_image(folder / f"{k:02d}.png", k)
    return folder


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data = head + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIPTYCH_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "sets"


def test_idx_files_are_padded_and_not_resized(home: Path) -> None:
    rng = np.random.default_rng(0)
    for stem, count, end in (("train", 30, ".gz"), ("t10k", 10, "")):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(home / "mnist" / f"{stem}-images-idx3-ubyte{end}", pixels)
        write_idx(
            home / "mnist" / f"{stem}-labels-idx1-ubyte{end}", rng.integers(0, 10, count).astype(np.uint8)
        )
    mnist = load("mnist")
    assert mnist.content_box == (2, 2, 30, 30) and mnist.spec.size == 32
    assert np.array_equal(mnist.test.pixels[:, 2:30, 2:30, 0], pixels)
    assert mnist.test.pixels[:, :2].max() == 0
    assert load("mnist", size=28).test.pixels.shape == (10, 28, 28, 1)
    assert load("mnist", size=16).content_box is None


def test_a_truncated_idx_file_is_named(home: Path) -> None:
    for stem in ("train", "t10k"):
        write_idx(home / "mnist" / f"{stem}-images-idx3-ubyte", np.zeros((5, 28, 28), np.uint8))
        write_idx(home / "mnist" / f"{stem}-labels-idx1-ubyte", np.zeros(5, np.uint8))
    spoilt = home / "mnist" / "t10k-images-idx3-ubyte"
    spoilt.write_bytes(spoilt.read_bytes()[:-9])
    with pytest.raises(DataError, match="truncated"):
        load("mnist")


def test_cifar_binary_archive_is_read_and_the_pickled_one_is_not(home: Path, tmp_path: Path) -> None:
    folder = home / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "data_batch_1").write_bytes(b"a pickle")
    monkey = pytest.MonkeyPatch()
    monkey.setattr("triptych.data.datasets.published.fetch", _offline)
    with pytest.raises(DataError, match="pickles can run code"):
        load("cifar10")
    monkey.undo()
    rows = np.random.default_rng(0).integers(0, 256, (3, 3073), dtype=np.uint8)
    rows[:, 0] = [0, 9, 4]
    inner = tmp_path / "cifar-10-batches-bin"
    inner.mkdir()
    for name in [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]:
        (inner / name).write_bytes(rows.tobytes())
    with tarfile.open(home / "cifar10" / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(inner, "cifar-10-batches-bin")
    cifar = load("cifar10")
    assert len(cifar.train) == 15 and cifar.test.labels is not None
    assert cifar.test.labels.tolist() == [0, 9, 4]
    assert np.array_equal(cifar.test.pixels[0, :, :, 1].ravel(), rows[0, 1 + 1024 : 1 + 2048])


def _offline(*_: object) -> None:
    raise OSError("no network")


def test_offline_error_names_the_search_paths_and_digits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.data.datasets.published.fetch", _offline)
    with pytest.raises(DataError, match="digits") as error:
        load("mnist")
    assert str(home) in str(error.value) and "cache" in str(error.value) and "https://" in str(error.value)


def test_a_download_with_a_wrong_checksum_is_deleted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "triptych.data.datasets.published.fetch", lambda url, target: target.write_bytes(b"not it")
    )
    with pytest.raises(DataError, match="MD5"):
        load("mnist")
    cache = Path(os.environ["TRIPTYCH_CACHE"])
    assert not [p for p in cache.rglob("*") if p.is_file()]


def test_parquet_with_class_names_and_captions(home: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = [write_image(tmp_path / f"{k}.png", k) for k in range(12)]
    images = [{"bytes": f.read_bytes(), "path": f.name} for f in files]
    features = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}
    table = pa.table({"image": images, "label": [0, 1] * 6, "text": [f"no {k}" for k in range(12)]})
    table = table.replace_schema_metadata({b"huggingface": json.dumps(features).encode()})
    pq.write_table(table, tmp_path / "own.parquet")
    own = load(f"parquet:{tmp_path / 'own.parquet'}", size=16)
    assert own.class_names == ("cat", "dog") and own.spec.captions
    assert len(own.train) + len(own.test) == 12 and len(own.test) >= 1
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load(f"parquet:{tmp_path / 'bad.parquet'}")


def shard(path: Path, labels: list[object], captions: list[str | None] | None = None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = [write_image(path.parent / "png" / f"{path.stem}-{k}.png", k) for k in range(len(labels))]
    images = [{"bytes": f.read_bytes(), "path": f.name} for f in files]
    columns = {"image": images, "label": labels, "text": captions}
    pq.write_table(pa.table({k: v for k, v in columns.items() if v is not None}), path)


@pytest.mark.parametrize(
    ("first", "second", "test", "classes"),
    [
        (["ant"] * 3, ["bee"] * 3, ["bee"] * 2, ("ant", "bee")),
        ([0, 1, 2], [0, 0, 1], [0, 1], ("0", "1", "2")),
        ([0, 1, 2], [0, 0, 1], [-1, -1], ()),  # a test split that keeps its labels back: there are no labels
        (["ant", None, "bee"], ["bee"] * 3, ["bee"] * 2, ()),
    ],
)
def test_parquet_in_several_files(
    home: Path, tmp_path: Path, first: list[object], second: list[object], test: list[object],
    classes: tuple[str, ...],
) -> None:  # fmt: skip
    names = ("train-0", "train-1", "test-0")
    for name, labels in zip(names, (first, second, test), strict=True):
        shard(tmp_path / f"{name}.parquet", labels, [None, *["a word"] * (len(labels) - 1)])
    dataset = load(f"parquet:{tmp_path}", size=8)
    assert dataset.class_names == classes and len(dataset.train) == 6 and len(dataset.test) == 2
    assert dataset.train.captions is not None and dataset.train.captions[:2] == ["", "a word"]
    if classes:
        train_classes = [classes[k] for k in np.asarray(dataset.train.labels)]
        assert train_classes == [str(label) for label in [*first, *second]]


def test_unknown_sources_name_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean mnist"):
        load("mnits")


# --- folders ---------------------------------------------------------------------------------


def test_class_folders_give_labels(tmp_path: Path) -> None:
    for k in range(12):
        write_image(tmp_path / "set" / ("a" if k % 2 else "b") / f"{k}.png", k)
    write_image(tmp_path / "set" / "lonely" / "one.png", 99)
    dataset = load(f"folder:{tmp_path / 'set'}", size=8)
    assert dataset.class_names == ("a", "b", "lonely")
    assert dataset.class_counts[2] == 1  # the single image of a class is trained on


def test_metadata_take_precedence_over_folder_names(tmp_path: Path) -> None:
    album(tmp_path / "set", 6)
    lines = ["file_name,text,label", *(f"{k:02d}.png,image {k},{'xy'[k % 2]}" for k in range(6))]
    (tmp_path / "set" / "metadata.csv").write_text("\n".join(lines))
    dataset = load(f"folder:{tmp_path / 'set'}", size=8)
    assert dataset.class_names == ("x", "y")
    assert dataset.train.captions is not None and dataset.train.captions[0].startswith("image")


@pytest.mark.parametrize("beside", [True, False])
def test_metadata_of_train_and_test(tmp_path: Path, beside: bool) -> None:
    for half in ("train", "test"):
        album(tmp_path / "set" / half, 4)

    def class_names(classes: str) -> tuple[str, ...]:
        for half in ("train", "test"):
            rows = [f"{f'{half}/' * beside}{k:02d}.png,{classes[k % len(classes)]}" for k in range(4)]
            file = tmp_path / "set" / ("" if beside else half) / "metadata.csv"
            head = file.read_text().splitlines() if beside and half == "test" else ["file_name,label"]
            file.write_text("\n".join([*head, *rows]))
        return load(f"folder:{tmp_path / 'set'}", size=8).class_names

    assert class_names("ab") == ("a", "b")
    assert class_names("xyz") == ("x", "y", "z")  # and not what had been prepared before


@pytest.mark.parametrize(
    ("marks", "labels", "test"),
    [
        ("f88", "aaa", [False, True, True]),  # copies of a file stay together, ...
        ("88f", "bba", [True, True, False]),  # ... whatever that costs where there is no other way
        ("8fee", "abbb", [False, False, True, True]),  # the only image of a class is in the training split
        ("888", "aaa", [True, False, False]),
    ],
)
def test_few_images_are_split_too(marks: str, labels: str, test: list[bool]) -> None:
    split = split_by_content([mark * 12 for mark in marks], list(labels), 0.1)
    assert split.tolist() == test


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    folder = album(tmp_path / "set", 5)
    before = load(f"folder:{folder}", size=8)
    assert load(f"folder:{folder}", size=8).fingerprint == before.fingerprint
    write_image(folder / "00.png", 77)
    assert load(f"folder:{folder}", size=8).fingerprint != before.fingerprint


def test_adding_an_image_moves_no_other_between_splits(tmp_path: Path) -> None:
    folder = album(tmp_path / "set", 40)
    before = {p.tobytes() for p in load(f"folder:{folder}", size=16).test.pixels}
    write_image(folder / "more.png", 1234)
    after = {p.tobytes() for p in load(f"folder:{folder}", size=16).train.pixels}
    assert not before & after


# --- bad input -------------------------------------------------------------------------------


def odd_files(folder: Path) -> None:
    """Unusual files that are images."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (30, 40, 4), dtype=np.uint8), "RGBA")
    folder.mkdir(parents=True, exist_ok=True)
    noise.save(folder / "rgba.png")
    noise.convert("RGB").convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.random.default_rng(2).integers(0, 65536, (9, 9), dtype=np.uint16)).save(
        folder / "deep.png"
    )
    noise.convert("RGB").quantize(16).save(folder / "palette.png", transparency=3)
    noise.convert("LA").save(folder / "la.png")
    Image.new("RGB", (1, 1), "red").save(folder / "tiny.png")
    Image.new("1", (12000, 9000)).save(folder / "huge.png")
    turned = Image.Exif()
    turned[274] = 6
    noise.convert("RGB").save(folder / "turned.jpg", exif=turned)
    noise.convert("P").save(folder / "film.gif", save_all=True, append_images=[Image.new("P", (40, 30))] * 2)


def spoilt_files(folder: Path) -> list[str]:
    """Files with image extensions that are no images."""
    whole = write_image(folder / "whole.png", 5).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("hello")
    (folder / "folder.png").mkdir()
    (folder / "lost.png").symlink_to(folder / "nowhere.png")
    return ["cut.png", "empty.png", "folder.png", "lost.png", "text.png"]


def test_unusual_images_are_read(tmp_path: Path) -> None:
    odd_files(tmp_path / "odd")
    dataset = load(f"folder:{tmp_path / 'odd'}", size=8)
    assert len(dataset.train) + len(dataset.test) == 9 and not dataset.skipped
    assert dataset.spec.channels == 3


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    left_dark = np.full((16, 16, 3), 255, np.uint8)
    left_dark[:, :8] = 0
    turned = Image.Exif()
    turned[274] = 6  # EXIF orientation: rotated by 90 degrees clockwise, the left becomes the top
    Image.fromarray(left_dark).save(tmp_path / "a.png", exif=turned)
    Image.fromarray(left_dark).save(tmp_path / "b.png", exif=turned)
    pixels = load(f"folder:{tmp_path}", size=16).train.pixels[0]
    assert pixels[:6].max() == 0 and pixels[-6:].min() == 255


def test_transparency_becomes_white(tmp_path: Path) -> None:
    for name in "ab":
        Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / f"{name}.png")
    assert load(f"folder:{tmp_path}", size=8).train.pixels.min() == 255


def test_a_few_broken_files_are_listed_and_skipped(tmp_path: Path) -> None:
    folder = album(tmp_path / "set", 60)
    names = spoilt_files(folder)
    dataset = load(f"folder:{folder}", size=8)
    assert sorted(broken.file for broken in dataset.skipped) == names
    assert all(broken.reason for broken in dataset.skipped)
    report = inspect(f"folder:{folder}")
    assert sorted(name for name, _ in report.broken) == names
    assert any("cut.png" in row for row in report.rows())


def test_more_than_a_tenth_broken_is_an_error(tmp_path: Path) -> None:
    folder = album(tmp_path / "set", 5)
    spoilt_files(folder)
    with pytest.raises(DataError, match=r"5 of 11 .* more than a tenth.*data inspect"):
        load(f"folder:{folder}", size=8)
    assert len(inspect(f"folder:{folder}").broken) == 5  # shown all the same


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "contains nothing: expected"),
        (["notes.txt"], "only notes.txt and the like"),
        (["one.png"], "at least 2 are needed"),
    ],
)
def test_folders_without_enough_images(tmp_path: Path, files: list[str], message: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name in files:
        write_image(folder / name) if name.endswith("png") else (folder / name).write_text("x")
    with pytest.raises(DataError, match=message):
        load(f"folder:{folder}")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        load(f"folder:{tmp_path / 'nowhere'}")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = album(tmp_path / "set", 5)
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match="disk is full"):
        load(f"folder:{folder}", size=8)
    assert not list((tmp_path / "cache" / "pixels").iterdir())


def test_arrays_and_iterables(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 3), dtype=np.uint8)
    assert load(array).spec.channels == 3
    assert load([Image.fromarray(p) for p in array], size=8).spec.size == 8
    with pytest.raises(DataError, match="uint8"):
        load(array.astype(np.float32))
    with pytest.raises(DataError, match="at least 2"):
        load(array[:1])


def test_two_processes_may_prepare_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from triptych.data import cache as sources

    folder = album(tmp_path / "set", 5)
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    store = sources._store

    def slow(dataset: object, home: Path) -> None:
        shutil.copytree(tmp_path / "cache" / "other", home) if (
            tmp_path / "cache" / "other"
        ).exists() else None
        store(dataset, home)  # type: ignore[arg-type]

    first = load(f"folder:{folder}", size=8)
    done = next((tmp_path / "cache" / "pixels").iterdir())
    shutil.move(done, tmp_path / "cache" / "other")
    monkeypatch.setattr(sources, "_store", slow)  # the other process finishes just before ours
    assert load(f"folder:{folder}", size=8).fingerprint == first.fingerprint
