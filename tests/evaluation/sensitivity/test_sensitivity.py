"""The traps that every metric is known to fall into, or not, on 200 digits."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from triptych import cli
from triptych.data.dataset import Dataset, Split
from triptych.data.load import load
from triptych.evaluation import classifier
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.sensitivity.measuring import BETTER, COPY_METRICS
from triptych.evaluation.sensitivity.printing import markdown, print_study, sheet
from triptych.evaluation.sensitivity.records import SensitivityStudy
from triptych.evaluation.sensitivity.running import corruption_source, partition, study_sensitivity
from triptych.metrics import prd
from triptych.metrics.extractors.base import NetworkExtractor
from triptych.metrics.prd import prd_leave_one_out

SAMPLES = 200
TRAPS = ("honest", "dropped classes", "one fine image", "copies")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="module")
def knower(digits: Dataset) -> NetworkExtractor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "PASSES", (3, 3))
        return extractor_for(partition(digits, SAMPLES, 0).dataset)


@pytest.fixture(scope="module")
def study(digits: Dataset, knower: NetworkExtractor) -> SensitivityStudy:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prd, "prd_leave_one_out", partial(prd_leave_one_out, runs=1))
        return study_sensitivity(digits, SAMPLES, knower, kinds=TRAPS)


def test_one_fine_image_per_class_fools_the_inception_score(study: SensitivityStudy) -> None:
    assert study.verdict("one fine image", "IS") == "fooled"
    for metric in ("recall", "coverage", "FID"):
        assert study.verdict("one fine image", metric) == "noticed"


def test_duplicates_are_noticed_by_the_memorization_metrics_alone(study: SensitivityStudy) -> None:
    row = study.row("copies", "100% of training")
    verdicts = {reading.metric: reading.verdict for reading in row.readings}
    assert {name for name, verdict in verdicts.items() if verdict == "noticed"} == set(COPY_METRICS)
    copied = next(reading for reading in row.readings if reading.metric == "near-duplicate share")
    assert copied.value == 1 and copied.low is not None and copied.low > 0.9
    assert study.verdict("copies", "near-duplicate share", "10% of training") == "noticed"


def test_dropped_classes_lower_recall_and_coverage_but_not_precision(study: SensitivityStudy) -> None:
    assert study.verdict("dropped classes", "recall", "5 of 10") == "noticed"
    assert study.verdict("dropped classes", "coverage", "5 of 10") == "noticed"
    assert study.verdict("dropped classes", "precision", "5 of 10") == "missed"
    trends = {g.metric: g.trend for g in study.graded if g.corruption == "dropped classes"}
    assert trends["recall"] == trends["IS"] == "worsens" and trends["precision"] == "unmoved"


def test_another_honest_draw_raises_few_alarms(study: SensitivityStudy) -> None:
    verdicts = [reading.verdict for reading in study.row("honest").readings]
    assert verdicts.count("noticed") + verdicts.count("fooled") <= 2


def test_a_refusal_is_no_miss(study: SensitivityStudy) -> None:
    row = study.row("dropped classes", "5 of 10")
    intra = next(reading for reading in row.readings if reading.metric == "intra-class FID")
    assert intra.verdict == "refused" and intra.value is None and "20 images" in intra.reason


def test_the_record_goes_through_json(study: SensitivityStudy) -> None:
    assert SensitivityStudy.model_validate_json(study.model_dump_json()) == study
    assert [reading.metric for reading in study.honest] == list(BETTER)
    assert all(reading.change in (0, None) for reading in study.honest)
    with pytest.raises(ValueError, match="no row 'fog'"):
        study.row("fog")
    with pytest.raises(ValueError, match="no metric 'fid'"):
        study.verdict("copies", "fid")


def test_the_table_names_who_was_fooled(study: SensitivityStudy, capsys: pytest.CaptureFixture[str]) -> None:
    print_study(study)
    output = capsys.readouterr().out
    assert all(word in output for word in ("noticed", "missed", "fooled", "refused", "worsens", "IS"))
    assert "intra-class FID, dropped classes: " in output
    lines = markdown(study).splitlines()
    assert len(lines) == 3 + len(study.rows) and all(line.count("|") == 4 + len(BETTER) for line in lines)


def test_parts_share_no_image(digits: Dataset) -> None:
    for source in (digits, load("shapes", size=8)):
        dealt = partition(source, 100, seed=1)
        parts = [dealt.reference, dealt.honest, dealt.second_honest, dealt.train]
        assert [len(part) for part in parts[:3]] == [100] * 3
        all_images = [image.tobytes() for part in parts for image in np.asarray(part.pixels)]
        assert len(set(all_images)) == len(all_images)
    assert dealt.rule == "thirds of the test split"


def test_without_labels_class_metrics_refuse() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
    source = Dataset("noise", "noise", Split(pixels[:200]), Split(pixels[200:]), fingerprint="0")
    unlabeled_study = study_sensitivity(source, 30, kinds=("JPEG",))
    readings = {reading.metric: reading for reading in unlabeled_study.row("JPEG").readings}
    assert readings["IS"].verdict == readings["intra-class FID"].verdict == "refused"
    assert "predicts no classes" in readings["IS"].reason
    with pytest.raises(ValueError, match="at least 20 images"):
        study_sensitivity(source, 10)
    with pytest.raises(ValueError, match="unknown kind of corruption 'fog': there are honest, blur"):
        study_sensitivity(source, 30, kinds=("fog",))


def test_an_extractor_without_classes_still_finds_a_typical_image_of_each(digits: Dataset) -> None:
    stock = corruption_source(digits, 60, "random-conv")
    assert stock.prototypes is not None and stock.honest.labels is not None
    np.testing.assert_array_equal(stock.honest.labels[stock.prototypes], np.unique(stock.honest.labels))
    assert sheet(stock).shape[2] == 1


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        study_sensitivity, "__kwdefaults__", {**(study_sensitivity.__kwdefaults__ or {}), "kinds": ("JPEG",)}
    )
    out = tmp_path / "x" / "probe.png"
    words = ["evaluate", "--sensitivity", "--features", "random-conv", "--samples", "30", "--out", str(out)]
    assert cli.main([*words, "--json"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert json.loads(lines[-1])["n"] == 30
    assert out.stat().st_size > 1000
    assert cli.main(["evaluate", "--sensitivity", "--real", "digits", "--fake", "digits"]) == 2
    assert cli.main(["evaluate", "--sensitivity", "--out", "x.html"]) == 2
