from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import Field, field_validator, model_validator

import triptych
from triptych import cli
from triptych.cli._flags import numbers
from triptych.core.config import Settings, read_settings
from triptych.core.errors import UsageError

TINY = ["--steps", "2", "--batch", "8", "--threads", "1", "--precision", "fp32"]


def test_help_does_not_load_torch() -> None:
    program = "import sys; from triptych.cli import main; main(['--help']); assert 'torch' not in sys.modules"
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert "triptych demo" in output


def test_the_verbs() -> None:
    assert " ".join(cli.VERBS) == (
        "demo train resume duel sample steer evaluate compare check report data conformance"
    )
    assert [name for names in cli.GROUPS.values() for name in names] == list(cli.VERBS)


def test_from_training_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "dcgan", "--runs", str(tmp_path), "--json", *TINY]) == 0
    path, line = capsys.readouterr().out.strip().splitlines()[-2:]
    run = json.loads(line)["run"]
    assert path == run and Path(run).is_dir()
    out = tmp_path / "x.npy"
    assert cli.main(["sample", run, "--seeds", "0-2,7", "--out", str(out), "--truncation", "0.5"]) == 0
    assert np.load(out).shape == (4, 16, 16, 1)
    assert cli.main(["sample", run, "--seeds", "3", "--out", str(tmp_path / "folder")]) == 0
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["000003.png"]
    assert cli.main(["evaluate", run, "--samples", "30"]) == 0
    assert "FID[digits-cnn]" in capsys.readouterr().out
    assert cli.main(["report", run, "--out", str(tmp_path / "r.html")]) == 0
    assert "FID[digits-cnn]" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "Did you mean train"),
        (["train"], "the model must come first"),
        (["train", "dcgna"], "Did you mean dcgan"),
        (["train", "dcgan", "--data", "fashion"], "Did you mean fashion-mnist"),
        (["train", "dcgan", "--minutes", "-1"], "greater than 0"),
        (
            ["train", "dcgan", "--steps", "5", "--epochs", "2"],
            ": give one budget, not --steps and --epochs\n",
        ),
        (
            ["train", "dcgan", "--size", "4"],
            "4 * 2^k pixels, 8 or more, got 4; the nearest ones: --size 8 or 16\n",
        ),
        (["train", "dcgan", "--latent", "0"], "latent"),
        (["train", "dcgan", "--augment.target", "0.5"], "augment none has no 'target'"),
        (
            ["train", "dcgan", "--augment", "adaptive", "--augment.max-p", "2"],
            "adaptive, max_p: input should be",
        ),
        (
            ["train", "dcgan", "--batch", "10", "--micro-batch", "3"],
            ": --micro-batch 3 must divide --batch 10\n",
        ),
        (["demo", "--minutes", "0"], "more than 0"),
        (["evaluate"], "--real and --fake"),
        (["report"], "report needs RUN"),
        (["data"], "data inspect SOURCE"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert message in capsys.readouterr().err


def test_a_mistyped_flag_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "dcgan", "--lattent", "3"]) == 2
    assert "has no flag --lattent. Did you mean --latent?" in capsys.readouterr().err


def test_members_of_a_tagged_union_have_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--augment", "adaptive", "--augment.ramp-images", "9", "--augment.policy", "flip", "color"]
    assert cli.main(["train", "dcgan", "--runs", str(tmp_path), *TINY, *words]) == 0
    card = json.loads((tmp_path / "0001-dcgan-digits" / "run.json").read_text())
    expected = {"kind": "adaptive", "ramp_images": 9, "policy": ["flip", "color"], "target": 0.6}
    assert {key: card["config"]["augment"][key] for key in expected} == expected
    with pytest.raises(SystemExit):
        cli.main(["train", "dcgan", "--help"])
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--augment {none,diff,adaptive}" in output and "rises. (default: 0.6)" in output


def test_a_user_model_has_the_flags_that_its_config_inherits(tmp_path: Path) -> None:
    own = tmp_path / "milder.py"
    own.write_text(
        "from triptych.models.dcgan import Dcgan, DcganConfig\n\n\n"
        "class MilderConfig(DcganConfig):\n    mildness: float = 1.0\n\n\n"
        "class Milder(Dcgan):\n    Config = MilderConfig\n"
    )
    words = ["train", str(own), "--runs", str(tmp_path), *TINY, "--latent", "7", "--mildness", "0.5"]
    assert cli.main(words) == 0
    card = json.loads(next(tmp_path.glob("0001-*/run.json")).read_text())
    assert (card["config"]["latent"], card["config"]["mildness"]) == (7, 0.5)


def test_a_model_has_a_default_batch_size(tmp_path: Path) -> None:
    short = ["--steps", "1", "--width", "4", "--precision", "fp32", "--runs", str(tmp_path)]
    assert cli.main(["train", "stylegan", *short]) == 0
    assert cli.main(["train", "stylegan", *short, "--batch", "8"]) == 0
    run = triptych.train("stylegan", steps=1, width=4, precision="fp32", runs=tmp_path)
    cards = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("0*/run.json"))]
    assert [card["options"]["batch"] for card in cards] == [16, 8, 16]
    assert run.card.model_dump(mode="json") == cards[-1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("adaptiv", "augment: expected none, diff, adaptive, got 'adaptiv'"),
        ({"kind": "adaptive", "targt": 1}, "augment adaptive has no 'targt': did you mean target?"),
        ({"kind": "diff", "policy": ["flip"]}, "augment diff, policy: input should be 'color'"),
        ({"kind": "diff", "policy": []}, "augment diff, policy: tuple should have at least 1 item"),
    ],
)
def test_a_wrong_field_of_a_tagged_union_is_named(given: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        triptych.train("dcgan", steps=1, runs=tmp_path, augment=given)


class Inner(Settings):
    kind: Literal["inner"] = "inner"
    low: int = 0

    @field_validator("low")
    @classmethod
    def even(cls, low: int) -> int:
        if low % 2:
            raise ValueError("Only even numbers")
        return low

    @model_validator(mode="after")
    def small(self) -> Inner:
        if self.low > 4:
            raise ValueError("The inner is too large")
        return self


class Other(Settings):
    kind: Literal["other"] = "other"


class Outer(Settings):
    part: Annotated[Inner | Other, Field(discriminator="kind")] = Inner()


@pytest.mark.parametrize(
    ("low", "message"), [(6, "The inner is too large"), (3, "it, part inner, low: Only even numbers, got 3")]
)
def test_messages_of_validators_are_printed_unchanged(low: int, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        read_settings(Outer, {"part": {"kind": "inner", "low": low}}, "it")


def test_help_calls_an_optional_positional_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--help"])
    output = capsys.readouterr().out
    assert " [RUN]" in output and "[{None}|PATH]" not in output


def test_a_tagged_union_takes_the_bare_tag(tmp_path: Path) -> None:
    run = triptych.train("dcgan", steps=1, batch=4, precision="fp32", runs=tmp_path, augment="diff")
    assert run.card.config["augment"] == {"kind": "diff", "policy": ["color", "translation", "cutout"]}


def test_a_missing_run_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["resume"]) == 2
    assert capsys.readouterr().err == "triptych: resume needs RUN: triptych resume --help says more\n"
    with pytest.raises(SystemExit) as stop:
        cli.main(["resume", "--steps", "3"])
    assert stop.value.code == 2


def test_failures_are_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sample", str(tmp_path / "none")]) == 1
    assert "there is no run" in capsys.readouterr().err
    assert cli.main(["train", "vae", "--data", f"folder:{tmp_path}", *TINY]) == 1
    assert "contains nothing" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_number_lists() -> None:
    assert numbers("0-3,8") == [0, 1, 2, 3, 8]
    for wrong in ("a", "3-1", ""):
        with pytest.raises(ValueError, match=r"numbers|no number"):
            numbers(wrong)


def test_data_inspect(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "inspect", "digits", "--json"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert json.loads(lines[-1])["images"] == 1797
