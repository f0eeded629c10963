"""The verb, act by act, on a run of a few steps."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import triptych
from triptych import cli
from triptych.cli import _steer_common, steer_directions
from triptych.core.errors import DataError
from triptych.data.dataset import Dataset, Split
from triptych.inference.pipeline import Pipeline
from triptych.latent import attributes
from triptych.latent.directions import make_direction

SILENT = {"conditional": False}
TINY = {"steps": 2, "batch": 8, "threads": 1, "precision": "fp32", "latent": 6, "width": 4}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("runs")
    models = {
        "plain": ("dcgan", SILENT),
        "conditional": ("dcgan", {}),
        "flat": ("vae", {"latent": 2, **SILENT}),
    }
    return {
        name: str(triptych.train(model, "digits", runs=home, **{**TINY, **more}).path)
        for name, (model, more) in models.items()
    }


def steer(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert cli.main(["steer", *words, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_a_run_alone_lists_what_can_be_done(runs, capsys: pytest.CaptureFixture[str]) -> None:
    result = steer(capsys, runs["plain"])
    assert result["spaces"] == {"noise": [6]} and "mix" not in result["acts"] and "map" not in result["acts"]
    assert "map" in steer(capsys, runs["flat"])["acts"]
    assert cli.main(["steer", runs["plain"]]) == 0
    assert "mix          not here: this model has no style space" in capsys.readouterr().out
    assert cli.main(["steer", "--help"]) == 0
    assert "interpolate" in capsys.readouterr().out


def test_the_act_may_come_before_the_run(runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--frames", "2", "--out", str(tmp_path / "x.npy")]
    assert steer(capsys, "interpolate", runs["plain"], *flags) == steer(
        capsys, runs["plain"], "interpolate", *flags
    )
    for unclear in (["interpolate"], ["interpolate", "--frames", "2"]):
        assert cli.main(["steer", *unclear]) == 2
        assert "of which run? triptych steer RUN interpolate" in capsys.readouterr().err
    assert cli.main(["steer", "interpolat", runs["plain"]]) == 2
    assert "Did you mean interpolate?" in capsys.readouterr().err


def test_interpolate_and_traverse(runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x.npy")
    result = steer(
        capsys,
        runs["plain"],
        "interpolate",
        "--seeds",
        "0-5",
        "--seeds-per-row",
        "3",
        "--frames",
        "3",
        "--out",
        out,
    )
    assert result["shape"] == [2, 5, 16, 16, 1] and result["rows"] == [[0, 1, 2], [3, 4, 5]]
    assert np.load(out).shape == (2, 5, 16, 16, 1)
    steer(
        capsys,
        runs["conditional"],
        "interpolate",
        "--seeds",
        "0-3",
        "--labels",
        "3,4",
        "--frames",
        "3",
        "--out",
        out,
    )
    steer(
        capsys,
        runs["plain"],
        "traverse",
        "--dimensions",
        "0,5",
        "--frames",
        "3",
        "--truncation",
        "0.5",
        "--out",
        out,
    )
    assert np.load(out).shape == (2, 3, 16, 16, 1)
    steer(capsys, runs["flat"], "map", "--grid-size", "3", "--out", out)
    assert np.load(out).shape == (3, 3, 16, 16, 1)


def test_directions_are_found_saved_and_used(
    runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, out = str(tmp_path / "d.safetensors"), str(tmp_path / "x.png")
    result = steer(
        capsys, runs["plain"], "directions", "--samples", "200", "--effect-samples", "20", "--attributes",
        "class=3,brightness", "--save", kept, "--out", out,
    )  # fmt: skip
    assert [d["name"] for d in result["directions"]] == ["class=3", "brightness"]
    assert result["effects"][1]["target"]["attribute"] == "brightness"
    assert "brightness" in result["directions"][1]["effects"]
    edited = steer(
        capsys,
        runs["plain"],
        "edit",
        "--direction",
        f"{kept}:brightness",
        "--effect-samples",
        "20",
        "--out",
        out,
    )
    assert edited["direction"]["name"] == "brightness" and edited["effects"][0]["amount"] == 1
    with Image.open(out) as image:
        assert image.size[0] > 5 * 64
    steer(capsys, runs["plain"], "traverse", "--direction", kept, "--out", out)
    assert cli.main(["steer", runs["plain"], "edit", "--direction", kept]) == 2
    assert "holds several directions: choose one" in capsys.readouterr().err
    assert cli.main(["steer", runs["conditional"], "edit", "--direction", f"{kept}:brightness"]) == 2
    assert "one set of weights only" in capsys.readouterr().err
    free = steer(
        capsys, runs["plain"], "directions", "--method", "closed-form", "--count", "2", "--effect-samples",
        "0", "--save", kept, "--out", out,
    )  # fmt: skip
    assert [d["name"] for d in free["directions"]] == ["closed form 1", "closed form 2"]


def test_edit_predicts_the_attribute_of_its_direction(
    monkeypatch: pytest.MonkeyPatch, bands: Pipeline
) -> None:
    factors = {f"a{k}": np.array([0, 1] * 4) for k in range(3)}
    split = Split(np.zeros((8, 6, 6, 1), np.uint8), factors=factors)
    source = Dataset("faces", "given", split, split, fingerprint="edit")
    monkeypatch.setattr(
        importlib.import_module("triptych.evaluation.evaluate"), "data_of", lambda model: source
    )
    monkeypatch.setattr(attributes, "MAX_FACTOR_STEPS", 1)
    monkeypatch.setattr(attributes, "MAX_OTHER_ATTRIBUTES", 1)
    monkeypatch.setattr(
        steer_directions,
        "measure_effects",
        lambda pipeline, directions, samples, labels, controls, reader, dataset: (directions, reader),
    )
    last = make_direction(bands, "a2", "noise", "by hand", torch.ones(6))
    assert [
        a.name for a in steer_directions.measure_if_possible(bands, [last], 20, None, {})[1].attributes
    ] == [
        "a2",
        "a0",
    ]
    free = make_direction(bands, "closed form 1", "noise", "by hand", torch.ones(6))
    assert [
        a.name for a in steer_directions.measure_if_possible(bands, [free], 20, None, {})[1].attributes
    ] == ["a0"]


def test_acts_without_data_work_where_the_data_set_is_gone(
    runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(model: Pipeline) -> Dataset:
        raise DataError("there is no folder of images any more")

    monkeypatch.setattr(importlib.import_module("triptych.evaluation.evaluate"), "data_of", gone)
    kept, out = tmp_path / "d.safetensors", tmp_path / "x.png"
    arguments = [
        "directions",
        "--method",
        "closed-form",
        "--count",
        "1",
        "--save",
        str(kept),
        "--out",
        str(out),
    ]
    assert cli.main(["steer", runs["plain"], *arguments]) == 0 and kept.is_file() and out.is_file()
    assert "effects were not measured: there is no folder of images any more" in capsys.readouterr().err
    assert cli.main(["steer", runs["plain"], "edit", "--direction", str(kept), "--out", str(out)]) == 0
    assert "were not measured: there is no folder" in capsys.readouterr().err
    assert cli.main(["steer", runs["plain"], *arguments, "--effect-samples", "0"]) == 0
    assert "not measured" not in capsys.readouterr().err


def test_layers_of_noise_are_refused(layers: Pipeline) -> None:
    with pytest.raises(ValueError, match="noise has no layers: give --space style"):
        _steer_common.layers_of("coarse", "noise", layers)
    assert _steer_common.layers_of("coarse", "style", layers) == [0]
    assert _steer_common.layers_of("fine", None, layers) == [2]


def test_inversion(runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, photo = str(tmp_path / "x.png"), tmp_path / "photo.png"
    result = steer(capsys, runs["flat"], "invert", "--test-rows", "0-2", "--out", out)
    assert [p["image"] for p in result["images"]] == ["test 0", "test 1", "test 2"]
    assert {p["extractor"] for p in result["images"]} == {"digits-cnn"}
    assert cli.main(["steer", runs["flat"], "invert", "--test-rows", "2", "--out", out]) == 0
    distance = result["images"][2]["feature_distance"]
    share = f"feature distance[digits-cnn] {distance:.2f} of that to unrelated samples"
    assert share in capsys.readouterr().out  # the same as among others
    steer(capsys, runs["conditional"], "invert", "--test-rows", "0-1", "--out", out)  # the split's own labels
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(photo)
    assert cli.main(["steer", runs["flat"], "invert", "--images", str(photo), "--out", out]) == 0
    assert "photo.png (30 x 20 px) was cropped to its middle square, then resized" in capsys.readouterr().err
    assert cli.main(["steer", runs["conditional"], "invert", "--images", str(photo), "--out", out]) == 2
    assert "give the class of each image" in capsys.readouterr().err


def test_labels_are_checked_before_a_classifier_is_trained(
    runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object) -> None:
        pytest.fail("a classifier was trained before the labels were checked")

    monkeypatch.setattr(importlib.import_module("triptych.evaluation.classifier"), "extractor_for", trained)
    Image.fromarray(np.full((16, 16), 90, np.uint8)).save(tmp_path / "photo.png")
    words = ["steer", runs["conditional"], "invert", "--images", str(tmp_path / "photo.png")]
    for more, message in (([], "give the class"), (["--labels", "10"], "there is no class 10")):
        assert cli.main([*words, *more]) in (1, 2)
        assert message in capsys.readouterr().err


def test_sweep_images_are_of_the_given_classes(
    runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--values", "0.5,1", "--samples", "20", "--seeds", "0-2", "--labels", "3,4,5"]
    steer(capsys, runs["conditional"], "sweep", *flags, "--out", str(tmp_path / "x.npy"))
    images = triptych.load(runs["conditional"]).sample(range(3), [3, 4, 5])
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy")[1], images)


USER_MODEL = """
from triptych.models.stylegan import Stylegan

class Mine(Stylegan):
    title = "Mine"
"""


def test_donors_of_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, out = tmp_path / "own.py", str(tmp_path / "x.npy")
    own.write_text(USER_MODEL)
    mine, builtin = (
        str(triptych.train(model, "digits", runs=tmp_path / "runs", **TINY).path)
        for model in (str(own), "stylegan")
    )
    for donors in (mine, builtin):  # --model-file is of the runs that need it
        flags = ["--donors", "0-1", "--bases", "2-4", "--model-file", str(own), "--donor-run", donors]
        assert steer(capsys, mine, "mix", *flags, "--out", out)["donors"] == [0, 1]
        images = triptych.load(donors, model_file=str(own)).sample([0, 1])
        np.testing.assert_array_equal(np.load(out)[1:, 0], images)


@pytest.mark.parametrize(("name", "of"), [("mix", "one for all"), ("sweep", "Classes of the images drawn")])
def test_labels_are_explained_as_the_act_reads_them(
    runs, name: str, of: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["steer", runs["conditional"], name, "--help"])
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert of in output and ("one for each seed" in output) == (name == "sweep")
    assert ("sweep.svg" in output) == (name == "sweep")


def test_a_sweep(runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.png"
    once = ["sweep", "--values", "1", "--samples", "30", "--out", str(out)]
    assert cli.main(["steer", runs["plain"], *once]) == 0
    assert re.search(r"FID\[digits-cnn\] \S+ \(\S+ to \S+\)", capsys.readouterr().out)
    result = steer(
        capsys,
        runs["plain"],
        "truncation",
        "--values",
        "0.5,1",
        "--samples",
        "30",
        "--seeds",
        "0-2",
        "--out",
        str(out),
    )
    assert [p["value"] for p in result["points"]] == [0.5, 1.0]
    assert out.is_file() and (tmp_path / "x.svg").read_text().startswith("<svg")
    assert not (Path(runs["plain"]) / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["directions", "--save", "x.pt"], "written to a .safetensors file"),
        (["directions", "--save", "/dev/null/x.safetensors"], "/dev/null is a file, and a folder is needed"),
        (["directions", "--out", "/dev/null/x.png"], "/dev/null is a file, and a folder is needed there"),
        (["directions", "--out", "x.svg"], "expected a file ending in .png"),
        (["directions", "--frames", "1"], "--frames 2 or more"),
        (["directions", "--layers", "coarse"], "no style space"),
        (["directions", "--attributes", "class=3,beauty"], "predicts no 'beauty'"),
        (["directions", "--refine-samples", "5"], "or on 20 or more, got 5"),
        (["sweep", "--out", "x.svg"], "expected a file ending in .png"),
        (
            ["invert", "--images", "a.png", "--test-rows", "0"],
            "got --images and --test-rows: give one of them",
        ),
        (["invert", "--images", "nosuch.png"], "there is no image nosuch.png"),
        (
            ["traverse", "--direction", "x.safetensors:a", "--dimensions", "1"],
            "--dimensions and --direction: give one",
        ),
        (
            ["edit", "--direction", "x.safetensors", "--seeds", "1", "--test-rows", "0"],
            "--seeds and --test-rows: give one",
        ),
    ],
)
def test_wrong_flags_cost_no_work(
    runs, words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(*_: object, **__: object) -> None:
        pytest.fail("images were generated before the flags were checked")

    for work in (
        "attribute_samples.sample_attributes",
        "sweep.sweep",
        "inversion.invert",
        "edits.traverse",
        "edits.edit",
    ):
        monkeypatch.setattr(f"triptych.latent.{work}", drawn)
    assert cli.main(["steer", runs["plain"], *words]) == 2
    assert message in capsys.readouterr().err


def test_all_of_a_few_test_images_are_inverted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "photos"
    home.mkdir()
    for k in range(30):
        Image.fromarray(np.full((16, 16, 3), 8 * k, np.uint8)).save(home / f"{k}.png")
    run = triptych.train("vae", f"folder:{home}", runs=tmp_path / "runs", **{**TINY, "size": 16})
    result = steer(capsys, str(run.path), "invert", "--out", str(tmp_path / "x.npy"))
    assert [p["image"] for p in result["images"]] == ["test 0", "test 1", "test 2", "test 3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["interpolat"], "Did you mean interpolate"),
        (["mix"], "no style space"),
        (["map"], "needs two-dimensional noise"),
        (
            ["interpolate", "--seeds", "0-2"],
            "3 seeds do not fill whole rows of 2: give --seeds-per-row 3, or 2 or 4 seeds",
        ),
        (["interpolate", "--seeds-per-row", "3"], "give --seeds-per-row 2 or 4 or 8, or 6 or 9 seeds"),
        (["interpolate", "--seeds", "3"], "1 seed does not fill whole rows of 2: give 2 seeds"),
        (
            ["interpolate", "--seeds-per-row", "1"],
            "a path needs two seeds: give --seeds-per-row 2 or more, got 1",
        ),
        (["interpolate", "--labels", "1"], "was trained without labels|is not conditional"),
        (["interpolate", "--space", "style"], "no style space"),
        (["traverse", "--dimensions", "6"], "dimensions 0-5"),
        (["traverse", "--frames", "1"], "--frames 2 or more"),
        (["traverse", "--direction", "none.safetensors"], "no file of directions"),
        (["traverse", "--layers", "coarse"], "no style space"),
        (["sweep", "--values", "a"], "numbers like --values"),
        (["sweep", "--control", "guidance"], "no control 'guidance'. There are: truncation"),
        (["directions", "--method", "magic"], "There are: labels, closed-form"),
        (["invert", "--test-rows", "9999"], "the test split has the rows 0-"),
    ],
)
def test_wrong_usage(runs, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["steer", runs["plain"], *words]) in (1, 2)
    assert re.search(message, capsys.readouterr().err)
