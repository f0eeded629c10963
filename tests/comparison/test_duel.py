"""Duels: what is agreed, who trains when, what is done again after an interruption, what comes of it."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from triptych import cli
from triptych.comparison import duel as contest
from triptych.comparison.duel import (
    Duel,
    budget_mismatches,
    create_duel,
    finished,
    is_duel,
    open_duel,
    run_duel,
)
from triptych.core.errors import RunError, UsageError
from triptych.evaluation.records import evaluations
from triptych.report.duel_html import write_duel

SMALL = ["vae --width 8 --latent 4 --batch 32", "vae --width 8 --latent 4 --batch 32 --prior normal"]


def new_duel(home: Path, contestants: list[str] | None = None, **settings: Any) -> Duel:
    arguments = {"budget": "images", "amount": 128, "samples": 40, "home": home, **settings}
    return create_duel(contestants or SMALL, "digits", **arguments)


@pytest.mark.parametrize(
    ("contestants", "settings", "sentence"),
    [
        (["vae"], {}, "at least two contestants, got 1"),
        (["vae", "dcgann"], {}, "Did you mean dcgan"),
        (["vae", "vae"], {}, "takes part twice"),
        (["vae", "dcgan 'x"], {}, "is not a model and its flags"),
        (SMALL, {"amount": -1}, "budget above 0"),
        (SMALL, {"budget": "steps"}, "minutes, images, flops"),
        (SMALL, {"seeds": [1, 1]}, "several different ones"),
        (SMALL, {"samples": 3}, "at least 20 samples, got 3"),
    ],
)
def test_invalid_rules_are_refused(
    tmp_path: Path, contestants: list[str], settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        new_duel(tmp_path, contestants, **settings)
    assert not list(tmp_path.iterdir())


def test_rules_are_written_once_and_read_back(tmp_path: Path) -> None:
    created = new_duel(tmp_path, ["dcgan", "vae --width 8"], seeds=[3, 4])
    assert created.path.name == "0001-duel-digits" and is_duel(created.path) and not is_duel(tmp_path)
    assert open_duel(created.path) == created
    first, second = created.rules.contestants
    assert first.flags == () and first.label == "DCGAN"  # a name alone is trained with its default preset
    assert second.flags == ("--width", "8") and second.label == "VAE --width 8"
    with pytest.raises(RunError, match=r"no duel\.json"):
        open_duel(tmp_path)
    (created.path / "duel.json").write_text("{}")
    with pytest.raises(RunError, match=r"cannot be read \(triptych: field required\): create"):
        open_duel(created.path)


def test_the_order_of_trainings_rotates(tmp_path: Path) -> None:
    created = new_duel(tmp_path, ["dcgan", "vae", "diffusion"], seeds=range(3))
    order = [(c.model, seed) for c, seed in created.trainings()]
    assert [model for model, _ in order[::3]] == ["dcgan", "vae", "diffusion"]
    assert len(set(order)) == 9 and [seed for _, seed in order] == [0] * 3 + [1] * 3 + [2] * 3


def test_commands_name_everything(tmp_path: Path) -> None:
    created = new_duel(tmp_path, size=16)
    words = contest._train_command(created, created.rules.contestants[1], 5)
    assert words[:6] == ["train", "vae", "--data", "digits", "--images", "128"]
    assert words[words.index("--size") + 1] == "16" and words[words.index("--seed") + 1] == "5"
    assert words[-1] == "vae-width-8-latent-4-batch-32-prior-normal-seed5"


@pytest.fixture(scope="module")
def finished_duel(tmp_path_factory: pytest.TempPathFactory) -> tuple[Duel, list[str]]:
    created, messages = new_duel(tmp_path_factory.mktemp("duels")), []
    assert run_duel(created, messages.append) == 0
    return created, messages


def test_every_run_is_evaluated_on_both_halves(finished_duel: tuple[Duel, list[str]]) -> None:
    created, messages = finished_duel
    assert sum(line.startswith("$ triptych train") for line in messages) == 2
    for contestant in created.rules.contestants:
        (run,) = created.runs(contestant)
        assert finished(run) and run.checkpoint_meta().images == 128
        evaluated = [
            (evaluation.step, evaluation.scores[0].card.split.split()[0]) for evaluation in evaluations(run)
        ]
        assert evaluated == [(step, half) for step in (1, 2, 4) for half in ("selection", "report")]
        assert [evaluation.detailed is not None for evaluation in evaluations(run)] == [False] * 5 + [True]
        sizes = {evaluation.scores[0].card.n_real for evaluation in evaluations(run)}
        assert sizes == {173}  # halves of 346
    assert budget_mismatches(created) == []


def test_only_missing_evaluations_are_repeated(finished_duel: tuple[Duel, list[str]], tmp_path: Path) -> None:
    copy = open_duel(shutil.copytree(finished_duel[0].path, tmp_path / "copy"))
    messages: list[str] = []
    assert run_duel(copy, messages.append) == 0 and messages == []
    (run,) = copy.runs(copy.rules.contestants[0])
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    (run.path / "metrics.jsonl").write_text("\n".join(lines[:3]) + "\n")  # stopped amid the second evaluation
    assert run_duel(copy, messages.append) == 0
    assert [line.split()[-1] for line in messages] == ["2", "4"]
    again = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    values = [[s["value"] for s in json.loads(line)["scores"]] for line in lines]
    assert [[s["value"] for s in line["scores"]] for line in again] == values


def test_a_killed_training_goes_on(finished_duel: tuple[Duel, list[str]], tmp_path: Path) -> None:
    copy = open_duel(shutil.copytree(finished_duel[0].path, tmp_path / "copy"))
    (run,) = copy.runs(copy.rules.contestants[1])
    shutil.rmtree(run.checkpoint_path(4))
    assert run.checkpoints() == [0] and copy.runs(copy.rules.contestants[1]) == []
    messages: list[str] = []
    assert run_duel(copy, messages.append) == 0
    assert messages == [
        "1 training of 128 images, then evaluations and a report",
        f"$ triptych resume {run.path}",
    ]
    assert run.checkpoints() == [0, 4]


def test_unequal_budgets_are_reported(
    finished_duel: tuple[Duel, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    completed, _ = finished_duel
    slow = completed.rules.model_copy(update={"budget": "flops"})
    monkeypatch.setattr(contest, "TOLERANCE", 0.0)
    notes = budget_mismatches(Duel(completed.path, slow))
    assert len(notes) == 1 and "flops, the others about" in notes[0]


def test_the_report(finished_duel: tuple[Duel, list[str]]) -> None:
    completed, _ = finished_duel
    out = write_duel(completed, completed.path / "report.html")
    page = out.read_text()
    for section in ("standings", "budget", "trade", "properties", "memorization", "trilemma", "protocol"):
        assert f'id="{section}"' in page, section
    assert "conclusions hold for these runs only" in page
    assert "bits/dim" not in page[: page.index('id="budget"')]  # unlike bounds are never ranked
    assert "bits/dim[elbo]" in page
    assert re.search(r"VAE --width 8.* (is better than|are not separable)", page)
    assert "://" not in re.sub(r'xmlns="[^"]*"', "", page)
    with (completed.path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"FID[digits-cnn]", "bits/dim[elbo]"} <= {row["score"] for row in rows}
    assert all(float(r["low"]) <= float(r["value"]) <= float(r["high"]) for r in rows)
    assert (completed.path / "scores.tex").read_text().startswith("% needs")


def test_the_report_verb_takes_a_duel(
    finished_duel: tuple[Duel, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    completed, _ = finished_duel
    out = tmp_path / "again.html"
    assert cli.main(["report", str(completed.path), "--out", str(out)]) == 0
    assert 'id="standings"' in out.read_text() and capsys.readouterr().out.endswith(f"{out}\n")
    (run,) = completed.runs(completed.rules.contestants[0])
    assert cli.main(["report", str(completed.path), str(run.path), "--out", str(out)]) == 2
    assert "takes that duel alone" in capsys.readouterr().err


def test_an_edited_evaluation_is_refused(finished_duel: tuple[Duel, list[str]], tmp_path: Path) -> None:
    copy = open_duel(shutil.copytree(finished_duel[0].path, tmp_path / "copy"))
    (run,) = copy.runs(copy.rules.contestants[0])
    file = run.path / "metrics.jsonl"
    first, *rest = file.read_text().splitlines()
    record = json.loads(first)
    record["scores"][0]["value"] /= 2
    file.write_text("\n".join([json.dumps(record), *rest]) + "\n")
    with pytest.raises(RunError, match=r"cannot be read \(.*checksum.*delete the file"):
        evaluations(run)


def test_nothing_to_report_yet(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no finished run yet: triptych resume"):
        write_duel(new_duel(tmp_path), tmp_path / "r.html")


def test_one_budget_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    from triptych import cli

    assert cli.main(["duel", "vae", "dcgan", "--minutes", "1", "--images", "5"]) == 2
    assert "give one budget" in capsys.readouterr().err
    assert cli.main(["duel", "vae", "dcgan", "--repeats", "0"]) == 2
    assert UsageError.__name__ not in capsys.readouterr().err
