"""Generated images as files of every format, and films of the generation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from triptych import cli
from triptych.core.types import ImageSpec
from triptych.inference.film import film_of
from triptych.inference.pipeline import Pipeline
from triptych.models.registry import load_model_class
from triptych.viz.gallery import captioned, write_images, write_sampling_animation
from triptych.viz.grids import grid

DRAWN = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def diffusion() -> Pipeline:
    model_class = load_model_class("diffusion")
    torch.manual_seed(0)
    return Pipeline(model_class(model_class.Config(channels=(8,)), ImageSpec(1, 8, 2)))


@pytest.mark.parametrize("end", [".png", ".jpg", ".JPEG", ".webp", ".gif"])
def test_a_grid_in_every_format(end: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / f"x{end}"
    for _ in range(2):  # a file that is there is replaced
        write_images(out, DRAWN, range(4), ["a", "b", "a", "b"])
    expected = captioned(DRAWN, range(4), ["a", "b", "a", "b"])
    with Image.open(out) as written:
        decoded = np.asarray(written.convert("RGB")).astype(int)
    assert decoded.shape == expected.shape
    off = np.abs(decoded - expected).mean()
    assert off == 0 if end in (".png", ".webp") else off < 30
    assert [p.name for p in out.parent.iterdir()] == [out.name]


def test_gray_images_are_kept_to_the_level_by_gif(tmp_path: Path) -> None:
    write_images(tmp_path / "x.gif", DRAWN[..., :1], range(4))
    with Image.open(tmp_path / "x.gif") as written:
        decoded = np.asarray(written.convert("L"))
    np.testing.assert_array_equal(decoded, captioned(DRAWN[..., :1], range(4))[..., 0])


def test_arrays_hold_seeds_and_labels(tmp_path: Path) -> None:
    write_images(tmp_path / "x.npz", DRAWN, [3, 1, 2**62, 0], list("abab"), [0, 1, 0, 1])
    with np.load(tmp_path / "x.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], DRAWN)
        assert arrays["seeds"].tolist() == [3, 1, 2**62, 0] and arrays["labels"].tolist() == [0, 1, 0, 1]
    write_images(tmp_path / "y.npz", DRAWN, range(4))
    with np.load(tmp_path / "y.npz") as arrays:
        assert sorted(arrays.files) == ["images", "seeds"]
    write_images(tmp_path / "y.npy", DRAWN, range(4))
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), DRAWN)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.jpq", ".npz, or a folder's name. Did you mean x.jpg?"),
        ("x.pdf", "expected a file ending in .png, .jpg, .jpeg, .webp, .gif, .npy, .npz"),
    ],
)
def test_an_unknown_extension_is_named(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        write_images(tmp_path / name, DRAWN, range(4))
    assert not list(tmp_path.iterdir())


def test_a_folder_may_have_a_dot_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "v1.0").mkdir()
    write_images(tmp_path / "v1.0", DRAWN, range(4))
    assert len(list((tmp_path / "v1.0").iterdir())) == 4


@pytest.mark.parametrize("end", [".gif", ".webp"])
def test_a_film_moves_and_ends_with_the_sample(end: str, diffusion: Pipeline, tmp_path: Path) -> None:
    film = film_of(diffusion, [5, 6], [0, 1], "noisy", steps=4)
    assert film.shape == (len(film), 2, 8, 8, 1) and len(film) >= 5
    np.testing.assert_array_equal(film[-1], diffusion.sample([5, 6], [0, 1], steps=4))
    assert np.abs(film[0].astype(int) - film[-1]).mean() > 2
    write_sampling_animation(tmp_path / f"x{end}", film, [5, 6], ["a", "b"])
    with Image.open(tmp_path / f"x{end}") as written:
        assert getattr(written, "n_frames", 1) == len({frame.tobytes() for frame in film})
        written.seek(written.n_frames - 1)  # type: ignore[attr-defined]
        last = np.asarray(written.convert("L"))
    np.testing.assert_array_equal(last, captioned(film[-1], [5, 6], ["a", "b"])[..., 0])


def test_films_as_arrays_and_films_that_there_are_not(diffusion: Pipeline, tmp_path: Path) -> None:
    film = film_of(diffusion, [0], None, "predicted", steps=2)
    write_sampling_animation(tmp_path / "x.npz", film, [0], labels=[1])
    with np.load(tmp_path / "x.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], film)
    with pytest.raises(ValueError, match=r"\.gif, \.webp, \.npy, \.npz \(an animation\)"):
        write_sampling_animation(tmp_path / "x.png", film, [0])
    with pytest.raises(ValueError, match="with --steps 1 makes an image in one step"):
        film_of(diffusion, [0], None, "noisy", steps=1)
    with pytest.raises(ValueError, match="at most 64 images"):
        film_of(diffusion, range(65), None, "noisy")
    model_class = load_model_class("vae")
    vae = Pipeline(model_class(model_class.Config(latent=2, width=2), ImageSpec(1, 8)))
    with pytest.raises(ValueError, match="VAE makes an image in one step"):
        film_of(vae, [0], None, "noisy")


def test_the_verb_films_and_refuses_before_it_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = ["--steps", "1", "--batch", "8", "--threads", "1", "--precision", "fp32", "--channels", "8"]
    assert cli.main(["train", "diffusion", "--data", "digits", "--runs", "runs", "--size", "8", *tiny]) == 0
    run = capsys.readouterr().out.strip()
    assert cli.main(["sample", run, "--seeds", "0-3", "--film", "predicted", "--steps", "2"]) == 0
    assert Path("film.gif").is_file()
    assert cli.main(["sample", run, "--film", "noisy", "--out", "x.png"]) == 2
    assert cli.main(["sample", run, "--out", "x.doc"]) == 2
    assert cli.main(["sample", run, "--seeds", "0-3", "--steps", "2", "--out", "x.npz", "--labels", "3"]) == 0
    with np.load("x.npz") as arrays:
        assert arrays["labels"].tolist() == [3] * 4


def test_a_grid_of_one_animation_frame_is_the_grid_of_its_images(tmp_path: Path) -> None:
    from triptych.viz.sheets import write_sheet

    images = np.random.default_rng(1).integers(0, 256, (2, 3, 64, 64, 1), dtype=np.uint8)
    write_sheet(tmp_path / "way.gif", images, moves=True)
    with Image.open(tmp_path / "way.gif") as written:
        assert written.n_frames == 4  # type: ignore[attr-defined]  # there and back: 0 1 2 1
        frames = []
        for k in range(4):
            written.seek(k)
            frames.append(np.asarray(written.convert("L")))
    for k, column in enumerate((0, 1, 2, 1)):
        np.testing.assert_array_equal(frames[k], grid(images[:, column])[..., 0])
    write_sheet(tmp_path / "still.gif", images)
    with Image.open(tmp_path / "still.gif") as written:
        assert written.n_frames == 1  # type: ignore[attr-defined]
    write_sheet(tmp_path / "way.npz", images, ["one", "two"], list("abc"))
    with np.load(tmp_path / "way.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], images)
        assert arrays["rows"].tolist() == ["one", "two"] and arrays["columns"].tolist() == list("abc")
