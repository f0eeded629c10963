"""The verb, act by act, on a run of a few steps."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

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
from triptych.latent.directions import named

SILENT = {"conditional": False}
TINY = {"steps": 2, "batch": 8, "threads": 1, "precision": "fp32", "latent": 6, "width": 4}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("runs")
    made = {"plain": ("dcgan", SILENT), "told": ("dcgan", {}), "flat": ("vae", {"latent": 2, **SILENT})}
    return {
        name: str(triptych.train(family, "digits", runs=home, **{**TINY, **more}).path)
        for name, (family, more) in made.items()
    }


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert cli.main(["steer", *words, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_a_run_alone_lists_what_can_be_done(runs, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, runs["plain"])
    assert found["spaces"] == {"noise": [6]} and "mix" not in found["acts"] and "map" not in found["acts"]
    assert "map" in told(capsys, runs["flat"])["acts"]
    assert cli.main(["steer", runs["plain"]]) == 0
    assert "mix          not here: no styles between noise and picture" in capsys.readouterr().out
    assert cli.main(["steer", "--help"]) == 0
    assert "interpolate" in capsys.readouterr().out


def test_the_act_may_come_before_the_run(runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--frames", "2", "--out", str(tmp_path / "x.npy")]
    assert told(capsys, "interpolate", runs["plain"], *asked) == told(
        capsys, runs["plain"], "interpolate", *asked
    )
    for unclear in (["interpolate"], ["interpolate", "--frames", "2"]):
        assert cli.main(["steer", *unclear]) == 2
        assert "of which run? triptych steer RUN interpolate" in capsys.readouterr().err
    assert cli.main(["steer", "interpolat", runs["plain"]]) == 2
    assert "Did you mean interpolate?" in capsys.readouterr().err


def test_walks(runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x.npy")
    found = told(
        capsys, runs["plain"], "interpolate", "--seeds", "0-5", "--stops", "3", "--frames", "3", "--out", out
    )
    assert found["shape"] == [2, 5, 16, 16, 1] and found["rows"] == [[0, 1, 2], [3, 4, 5]]
    assert np.load(out).shape == (2, 5, 16, 16, 1)
    told(
        capsys,
        runs["told"],
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
    told(
        capsys,
        runs["plain"],
        "traverse",
        "--numbers",
        "0,5",
        "--frames",
        "3",
        "--truncation",
        "0.5",
        "--out",
        out,
    )
    assert np.load(out).shape == (2, 3, 16, 16, 1)
    told(capsys, runs["flat"], "map", "--across", "3", "--out", out)
    assert np.load(out).shape == (3, 3, 16, 16, 1)


def test_directions_are_found_kept_and_used(runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, out = str(tmp_path / "d.safetensors"), str(tmp_path / "x.png")
    found = told(
        capsys, runs["plain"], "directions", "--samples", "200", "--measured", "20", "--attributes",
        "class=3,brightness", "--save", kept, "--out", out,
    )  # fmt: skip
    assert [d["name"] for d in found["directions"]] == ["class=3", "brightness"]
    assert found["effects"][1]["target"]["attribute"] == "brightness"
    assert "brightness" in found["directions"][1]["effects"]
    edited = told(
        capsys, runs["plain"], "edit", "--direction", f"{kept}:brightness", "--measured", "20", "--out", out
    )
    assert edited["direction"]["name"] == "brightness" and edited["effects"][0]["amount"] == 1
    with Image.open(out) as shown:
        assert shown.size[0] > 5 * 64
    told(capsys, runs["plain"], "traverse", "--direction", kept, "--out", out)
    assert cli.main(["steer", runs["plain"], "edit", "--direction", kept]) == 2
    assert "holds several: add one's name" in capsys.readouterr().err
    assert cli.main(["steer", runs["told"], "edit", "--direction", f"{kept}:brightness"]) == 2
    assert "one set of weights only" in capsys.readouterr().err
    free = told(
        capsys, runs["plain"], "directions", "--how", "closed-form", "--count", "2", "--measured", "0",
        "--save", kept, "--out", out,
    )  # fmt: skip
    assert [d["name"] for d in free["directions"]] == ["closed form 1", "closed form 2"]


def test_an_edit_reads_what_its_direction_is_for(monkeypatch: pytest.MonkeyPatch, bands: Pipeline) -> None:
    told = {f"a{k}": np.array([0, 1] * 4) for k in range(3)}
    split = Split(np.zeros((8, 6, 6, 1), np.uint8), factors=told)
    source = Dataset("faces", "given", split, split, fingerprint="edit")
    monkeypatch.setattr(
        importlib.import_module("triptych.evaluation.evaluate"), "data_of", lambda model: source
    )
    monkeypatch.setattr(attributes, "FACTOR_STEPS", 1)
    monkeypatch.setattr(attributes, "MOST_ATTRIBUTES", 1)
    monkeypatch.setattr(
        steer_directions, "measured", lambda model, flags, found, reader, dataset: (found, reader)
    )
    flags = SimpleNamespace(measured=20)
    last = named(bands, "a2", "noise", "by hand", torch.ones(6))
    assert [a.name for a in steer_directions.measured_if_read(bands, flags, [last])[1].attributes] == [
        "a2",
        "a0",
    ]
    free = named(bands, "closed form 1", "noise", "by hand", torch.ones(6))
    assert [a.name for a in steer_directions.measured_if_read(bands, flags, [free])[1].attributes] == ["a0"]


def test_what_needs_no_data_is_made_where_the_data_are_gone(
    runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(model: Pipeline) -> Dataset:
        raise DataError("there is no folder of pictures any more")

    monkeypatch.setattr(importlib.import_module("triptych.evaluation.evaluate"), "data_of", gone)
    kept, out = tmp_path / "d.safetensors", tmp_path / "x.png"
    words = ["directions", "--how", "closed-form", "--count", "1", "--save", str(kept), "--out", str(out)]
    assert cli.main(["steer", runs["plain"], *words]) == 0 and kept.is_file() and out.is_file()
    assert "not measured: there is no folder of pictures any more" in capsys.readouterr().err
    assert cli.main(["steer", runs["plain"], "edit", "--direction", str(kept), "--out", str(out)]) == 0
    assert "not measured: there is no folder" in capsys.readouterr().err
    assert cli.main(["steer", runs["plain"], *words, "--measured", "0"]) == 0
    assert "not measured" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"space": "noise"}, "noise has no layers: give --space style"),
        ({"space": "style", "direction": "x.safetensors"}, "moves the layers that it was found for"),
    ],
)
def test_layers_that_choose_nothing_are_refused(layers: Pipeline, more: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _steer_common.layers_of(SimpleNamespace(layers="coarse", **more), layers)
    assert _steer_common.layers_of(SimpleNamespace(layers="coarse", space="style"), layers) == [0]
    assert _steer_common.layers_of(SimpleNamespace(layers="fine", space=None), layers) == [2]


def test_inversion(runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, photo = str(tmp_path / "x.png"), tmp_path / "photo.png"
    found = told(capsys, runs["flat"], "invert", "--test", "0-2", "--out", out)
    assert [p["picture"] for p in found["pictures"]] == ["test 0", "test 1", "test 2"]
    assert {p["judge"] for p in found["pictures"]} == {"digits-cnn"}
    assert cli.main(["steer", runs["flat"], "invert", "--test", "2", "--out", out]) == 0
    share = f"distance[digits-cnn] {found['pictures'][2]['features']:.2f} of an unrelated sample's"
    assert share in capsys.readouterr().out  # the same as among others
    told(capsys, runs["told"], "invert", "--test", "0-1", "--out", out)  # the split's own labels
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(photo)
    assert cli.main(["steer", runs["flat"], "invert", "--pictures", str(photo), "--out", out]) == 0
    assert "photo.png (30 x 20 px) was cut to its middle square, then resized" in capsys.readouterr().err
    assert cli.main(["steer", runs["told"], "invert", "--pictures", str(photo), "--out", out]) == 2
    assert "say which class each picture is of" in capsys.readouterr().err


def test_labels_come_before_a_judge_is_trained(
    runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object) -> None:
        pytest.fail("a judge was trained before the labels were looked at")

    monkeypatch.setattr(importlib.import_module("triptych.evaluation.classifier"), "extractor_for", trained)
    Image.fromarray(np.full((16, 16), 90, np.uint8)).save(tmp_path / "photo.png")
    words = ["steer", runs["told"], "invert", "--pictures", str(tmp_path / "photo.png")]
    for more, said in (([], "say which class"), (["--labels", "10"], "there is no class 10")):
        assert cli.main([*words, *more]) in (1, 2)
        assert said in capsys.readouterr().err


def test_a_sweep_shows_the_classes_asked_for(
    runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--values", "0.5,1", "--samples", "20", "--seeds", "0-2", "--labels", "3,4,5"]
    told(capsys, runs["told"], "sweep", *asked, "--out", str(tmp_path / "x.npy"))
    shown = triptych.load(runs["told"]).sample(range(3), [3, 4, 5])
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy")[1], shown)


OWN_FAMILY = """
from triptych.models.stylegan import Stylegan

class Mine(Stylegan):
    title = "Mine"
"""


def test_donors_of_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, out = tmp_path / "own.py", str(tmp_path / "x.npy")
    own.write_text(OWN_FAMILY)
    mine, known = (
        str(triptych.train(family, "digits", runs=tmp_path / "runs", **TINY).path)
        for family in (str(own), "stylegan")
    )
    for donors in (mine, known):  # --family is of the runs that need it
        asked = ["--donors", "0-1", "--bases", "2-4", "--family", str(own), "--donor-run", donors]
        assert told(capsys, mine, "mix", *asked, "--out", out)["donors"] == [0, 1]
        given = triptych.load(donors, model_file=str(own)).sample([0, 1])
        np.testing.assert_array_equal(np.load(out)[1:, 0], given)


@pytest.mark.parametrize(("name", "of"), [("mix", "one for all"), ("sweep", "of the images shown")])
def test_labels_are_explained_as_the_act_reads_them(
    runs, name: str, of: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["steer", runs["told"], name, "--help"])
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert of in told and ("one a seed" in told) == (name == "sweep")
    assert ("sweep.svg" in told) == (name == "sweep")


def test_a_sweep(runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.png"
    once = ["sweep", "--values", "1", "--samples", "30", "--out", str(out)]
    assert cli.main(["steer", runs["plain"], *once]) == 0
    assert re.search(r"FID\[digits-cnn\] \S+ \(\S+ to \S+\)", capsys.readouterr().out)
    found = told(
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
    assert [p["value"] for p in found["points"]] == [0.5, 1.0]
    assert out.is_file() and (tmp_path / "x.svg").read_text().startswith("<svg")
    assert not (Path(runs["plain"]) / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["directions", "--save", "x.pt"], "kept in a .safetensors file"),
        (["directions", "--save", "/dev/null/x.safetensors"], "/dev/null is a file, and a folder is needed"),
        (["directions", "--out", "/dev/null/x.png"], "/dev/null is a file, and a folder is needed there"),
        (["directions", "--out", "x.svg"], "expected a file ending in .png"),
        (["directions", "--frames", "1"], "--frames 2 or more"),
        (["directions", "--layers", "coarse"], "no style space"),
        (["directions", "--attributes", "class=3,beauty"], "reads no 'beauty'"),
        (["directions", "--tried", "5"], "tried out on 20 pictures or more, or 0, got 5"),
        (["sweep", "--out", "x.svg"], "expected a file ending in .png"),
        (["invert", "--pictures", "a.png", "--test", "0"], "got --pictures and --test: give one of them"),
        (["invert", "--pictures", "nosuch.png"], "there is no picture nosuch.png"),
        (
            ["traverse", "--direction", "x.safetensors:a", "--numbers", "1"],
            "--numbers and --direction: give one",
        ),
        (
            ["edit", "--direction", "x.safetensors", "--seeds", "1", "--test", "0"],
            "--seeds and --test: give one",
        ),
    ],
)
def test_wrong_flags_cost_no_work(
    runs, words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(*_: object, **__: object) -> None:
        pytest.fail("pictures were drawn before the flags were looked at")

    for work in (
        "attribute_samples.study",
        "sweep.sweep",
        "inversion.invert",
        "edits.traverse",
        "edits.edit",
    ):
        monkeypatch.setattr(f"triptych.latent.{work}", drawn)
    assert cli.main(["steer", runs["plain"], *words]) == 2
    assert said in capsys.readouterr().err


def test_of_few_pictures_all_are_inverted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "photos"
    home.mkdir()
    for k in range(30):
        Image.fromarray(np.full((16, 16, 3), 8 * k, np.uint8)).save(home / f"{k}.png")
    run = triptych.train("vae", f"folder:{home}", runs=tmp_path / "runs", **{**TINY, "size": 16})
    found = told(capsys, str(run.path), "invert", "--out", str(tmp_path / "x.npy"))
    assert [p["picture"] for p in found["pictures"]] == ["test 0", "test 1", "test 2", "test 3"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["interpolat"], "Did you mean interpolate"),
        (["mix"], "no style space"),
        (["map"], "needs a noise of two numbers"),
        (
            ["interpolate", "--seeds", "0-2"],
            "3 seeds .* whole rows of 2 stops: give --stops 3, or 2 or 4 seeds",
        ),
        (["interpolate", "--stops", "3"], "give --stops 2 or 4 or 8, or 6 or 9 seeds"),
        (["interpolate", "--seeds", "3"], "1 seed makes no whole rows of 2 stops: give 2 seeds"),
        (["interpolate", "--stops", "1"], "from seed to seed: give --stops 2 or more, got 1"),
        (["interpolate", "--labels", "1"], "was trained without labels|does not read labels"),
        (["interpolate", "--space", "style"], "no style space"),
        (["traverse", "--numbers", "6"], "numbers 0-5"),
        (["traverse", "--frames", "1"], "--frames 2 or more"),
        (["traverse", "--direction", "none.safetensors"], "no file of directions"),
        (["traverse", "--layers", "coarse"], "no style space"),
        (["sweep", "--values", "a"], "--values are numbers"),
        (["sweep", "--control", "guidance"], "no control 'guidance'. There are: truncation"),
        (["directions", "--how", "magic"], "labels or closed-form"),
        (["invert", "--test", "9999"], "the test split has the rows 0-"),
    ],
)
def test_wrong_usage(runs, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["steer", runs["plain"], *words]) in (1, 2)
    assert re.search(said, capsys.readouterr().err)
