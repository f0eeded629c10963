from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch

import triptych
from triptych.core.errors import RunError
from triptych.evaluation.evaluate import evaluate_run
from triptych.report.html import write_report
from triptych.runs.run import Run, open_run
from triptych.viz import charts, svg

SECTIONS = [
    *("trilemma", "samples", "table", "classes", "curves"),
    *("reconstructions", "trajectory", "options", "protocol", "reproduce"),
]
TINY: dict[str, Any] = {"data": "digits", "steps": 2, "batch": 8, "threads": 1, "precision": "fp32"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("runs")
    trained = [triptych.train(f, runs=home, **TINY) for f in ("dcgan", "vae", "diffusion")]
    for run in trained:
        evaluate_run(run.path, 40)
    return trained


@pytest.fixture(scope="module")
def page(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("out") / "report.html"
    return write_report(runs, out, commands=["triptych demo"]).read_text(encoding="utf-8")


def test_every_section_is_there_and_every_run_in_it(page: str) -> None:
    assert re.findall(r'<section id="([a-z]+)">', page) == SECTIONS
    for section in ("samples", "table", "classes", "curves", "reconstructions"):
        part = page.split(f'<section id="{section}">')[1].split("</section>")[0]
        for label in ("DCGAN", "VAE", "Diffusion"):
            assert f">{label}</span>" in part, (section, label)
    for metric in ("FID", "KID", "precision", "recall", "density", "coverage"):
        assert f"{metric}[digits-cnn]" in page
    assert "triptych demo" in page


def test_nothing_asks_the_network(page: str) -> None:
    assert "default-src 'none'" in page
    bare = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"(src|href)=\"(?!data:|#)", bare)
    assert "url(" not in bare and "@import" not in bare and "<script" not in bare


def test_numbers_are_the_runs_own(page: str, runs: list[Run]) -> None:
    for run in runs:
        score = run.metrics()[-1]["scores"][0]
        assert svg.short(score["value"]) in page
        assert f"{run.card.cost.parameters:,}" in page


def test_gaps_are_named(runs: list[Run], tmp_path: Path) -> None:
    bare = tmp_path / "0001-bare"
    shutil.copytree(runs[1].path, bare)
    (bare / "metrics.jsonl").unlink()
    (bare / "log.jsonl").unlink()
    shutil.rmtree(bare / "checkpoints")
    shutil.rmtree(bare / "samples")
    text = write_report([bare], tmp_path / "r.html").read_text(encoding="utf-8")
    assert text.count("not measured") > 10
    assert "Nothing was logged" in text and "Not sampled:" in text and "no evaluation yet" in text


def test_values_that_are_not_finite_do_not_break_it(runs: list[Run], tmp_path: Path) -> None:
    odd = tmp_path / "0002-odd"
    shutil.copytree(runs[1].path, odd)
    lines = [{"step": k, "autoencoder/loss": float("nan") if k == 2 else 1.0} for k in range(1, 5)]
    (odd / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert write_report([odd], tmp_path / "r.html").is_file()


def test_what_users_wrote_is_escaped(runs: list[Run], tmp_path: Path) -> None:
    sly = tmp_path / "sly"
    shutil.copytree(runs[1].path, sly)
    run = open_run(sly)
    run.update_card(command="<script>alert(1)</script>", title="<b>VAE</b>")
    text = write_report([sly], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script>" not in text and "<b>VAE" not in text


def test_unlike_runs_are_not_ranked(runs: list[Run], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs[0].path, other)
    run = open_run(other)
    run.update_card(plan=run.card.plan.model_copy(update={"budget": "9 hours"}))
    text = write_report([run, runs[1]], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Not ranked" in text and "different budgets" in text
    assert "is best in" not in text and "samples fastest" not in text


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="at least one run"):
        write_report([], tmp_path / "r.html")


# --- figures ---------------------------------------------------------------------------------


def test_figures_are_well_formed() -> None:
    rows = [charts.Measured("a & <b>", "red", 3.0, 2.5, 3.5), charts.Measured("none", "blue", None)]
    panels = [charts.Panel("Q", "u", "left", rows, reference=("real", 0.1))]
    panels += [charts.Panel("S", "u", "right", rows, log=True)]
    drawings = [
        charts.trilemma(panels),
        charts.curve("x", [("a", "red", [1, 2, 3], [1.0, float("nan"), 2.0])]),
        charts.curve("x", []),
        charts.bars("c", ["a", "<"], [0.5, 0.5], [0.4, 0.6], "red"),
    ]
    for drawing in drawings:
        assert ET.fromstring(drawing).tag.endswith("svg")


def test_axes_place_values_in_order() -> None:
    linear = svg.around([0, 10], False, 0, 100, zero=True)
    assert linear.at(0) == 0 and linear.at(5) < linear.at(10) <= 100
    log = svg.around([3, 800], True, 0, 100)
    assert (log.low, log.high) == (1, 1000) and log.at(10) == pytest.approx(100 / 3)
    assert log.ticks() == [1, 10, 100, 1000]
    assert svg.Axis(0, 1, 0, 1).ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1234.5, "1,234"), (0.12345, "0.123"), (2e7, "2.0e7"), (0.00012, "1.2e-4")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert svg.short(value) == text
