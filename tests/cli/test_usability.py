"""What a person meets at the terminal: next commands, labels by name, mistyped names."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import triptych
from triptych import cli

TINY = ["--steps", "2", "--batch", "8", "--threads", "1", "--precision", "fp32"]


@pytest.mark.parametrize("model", ["dcgan", "vae"])
def test_training_prints_its_samples_and_the_next_commands(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--width", "4", "--runs", "my runs", "--json", *TINY]
    assert cli.main(["train", model, *words]) == 0
    output = capsys.readouterr()
    path, line = output.out.strip().splitlines()
    result = json.loads(line)
    assert result["run"] == path
    assert Path(result["samples"]).name == "step-00000002.png" and Path(result["samples"]).is_file()
    assert f"samples: {result['samples']}\nnext:\n  triptych sample 'my runs/" in output.err
    assert [shlex.split(command)[1] for command in result["next"]] == ["sample", "evaluate", "report"]
    for command in (result["next"][0], result["next"][2]):
        assert f"  {command}\n" in output.err
        assert cli.main(shlex.split(command)[1:]) == 0
    assert Path("grid.png").is_file() and Path("report.html").is_file()


def test_resume_prints_them_too_and_names_the_model_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "mine.py"
    own.write_text(
        "from triptych.models.vae import Vae\n\n\nclass Mine(Vae):\n    title = 'Mine'\n", encoding="utf-8"
    )
    assert cli.main(["train", str(own), "--runs", str(tmp_path), "--width", "4", *TINY]) == 0
    run = capsys.readouterr().out.strip()
    assert cli.main(["resume", run, "--steps", "3", "--model-file", str(own), "--json"]) == 0
    output = capsys.readouterr()
    result = json.loads(output.out.splitlines()[-1])
    assert result["samples"].endswith("step-00000003.png")
    assert f"--model-file {own}" in result["next"][0] and f"--model-file {own}" in result["next"][1]
    drawn = [*shlex.split(result["next"][0])[1:], "--out", str(tmp_path / "grid.png")]
    assert cli.main(drawn) == 0


def test_labels_may_be_class_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, shade in (("Ankle boot", 30), ("bag", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(6):
            image = np.full((8, 8), shade + k, np.uint8)
            Image.fromarray(image).save(tmp_path / "photos" / name / f"{k}.png")
    words = ["--data", f"folder:{tmp_path / 'photos'}", "--size", "8", "--conditional", "--width", "4"]
    assert cli.main(["train", "dcgan", *words, *TINY, "--runs", str(tmp_path)]) == 0
    run = str(tmp_path / "0001-dcgan-folder-photos")
    by_name, by_number = tmp_path / "name.npy", tmp_path / "number.npy"
    assert (
        cli.main(["sample", run, "--seeds", "0-3", "--labels", "BAG,ankle-boot", "--out", str(by_name)]) == 0
    )
    assert cli.main(["sample", run, "--seeds", "0-3", "--labels", "1,0", "--out", str(by_number)]) == 0
    np.testing.assert_array_equal(np.load(by_name), np.load(by_number))
    model = triptych.load(run)
    np.testing.assert_array_equal(model.sample(range(4), ["bag", 0, "Bag", 0]), np.load(by_name))
    out = ["--out", str(tmp_path / "way.npy")]
    assert cli.main(["steer", run, "interpolate", "--seeds", "0-1", "--labels", "bag", *out]) == 0
    ends = np.load(tmp_path / "way.npy")[0, [0, -1]]
    np.testing.assert_array_equal(ends, model.sample([0, 1], "bag"))
    capsys.readouterr()
    for verb in (["sample", run], ["steer", run, "interpolate"], ["steer", run, "traverse"]):
        assert cli.main([*verb, "--labels", "boot"]) == 2
        assert "Did you mean Ankle boot?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["text2img"], "unknown verb 'text2img'. Did you mean sample?"),
        (["train", "text2img"], "unknown model 'text2img'. Did you mean diffusion?"),
        (["train", "gan"], "Did you mean dcgan?"),
        (
            ["train", "dcgan", "--loss", "minmax"],
            "--loss has no 'minmax'. Did you mean min-max? There are: non-",
        ),
        (["train", "dcgan", "--loss=minmax"], "Did you mean min-max?"),
        (["train", "dcgan", "--minute", "5"], "train dcgan has no flag --minute. Did you mean --minutes?"),
        (["train", "dcgan", "-minutes", "5"], "has no flag -minutes. Did you mean --minutes?"),
        (["train", "dcgan", "--learning-rate", "1"], "has no flag --learning-rate. Did you mean --lr?"),
        (["train", "dcgan", "--critic-rate", "1"], "has no flag --critic-rate. Did you mean --critic-lr?"),
        (["train", "dcgan", "--color", "grey"], "Did you mean gray?"),
        (["train", "dcgan", "--augment.policy", "color", "cutuot"], "Did you mean cutout?"),
        (["train", "dcgan", "--track", "tensorbord"], "Did you mean tensorboard?"),
        (["train", "dcgan", "--data", "cifar"], "Did you mean cifar10?"),
        (["data", "inspct", "digits"], "Did you mean inspect?"),
        (["report", "nowhere", "--out", "x.pdf"], "a report is one HTML file: x.html"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_nearest(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert message in capsys.readouterr().err


def test_valid_flags_are_accepted(tmp_path: Path) -> None:
    right = ["--no-flip", "--micro_batch", "4", "--augment", "diff", "--augment.policy", "color", "cutout"]
    assert cli.main(["train", "dcgan", "--runs", str(tmp_path), "--width", "2", *TINY, *right]) == 0
