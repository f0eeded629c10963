"""Detailed evaluations: near-duplicates are detected, and every score that is possible is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_evaluate import Copyist, discs, source

import triptych
from triptych.evaluation.detailed import DetailedEvaluation
from triptych.evaluation.evaluate import evaluate_run, score_sources
from triptych.evaluation.records import Evaluation
from triptych.inference.pipeline import Pipeline
from triptych.viz.grids import write_png


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))


def detailed_evaluation(album: np.ndarray, samples: int = 150) -> Evaluation:
    return evaluate_run(Pipeline(Copyist(album)), samples, data=source(), detailed=True)  # type: ignore[arg-type]


def details_of(evaluation: Evaluation) -> DetailedEvaluation:
    assert evaluation.detailed is not None
    return evaluation.detailed


def test_memorization_is_detected_and_an_honest_model_is_not_accused() -> None:
    copied, honest = (
        details_of(detailed_evaluation(source().train.pixels)),
        details_of(detailed_evaluation(discs(400, 7)[0])),
    )
    assert copied.memorization.more_than_chance and copied.memorization.share.low > 0.9
    assert copied.memorization.authenticity.value < 0.05
    assert not honest.memorization.more_than_chance and honest.memorization.share.value < 0.1
    sample, row, distance = copied.memorization.nearest[0]
    assert distance == 0 and 0 <= sample < 150 and 0 <= row < 300


def test_every_detailed_score_has_its_place() -> None:
    evaluation = detailed_evaluation(discs(400, 7)[0])
    names = [score.card.metric for score in evaluation.scores]
    assert names == [
        *("FID", "KID", "precision", "recall", "density", "coverage"),
        *("FD-infinity", "Vendi", "IS", "LSD", "two-sample accuracy"),
    ]
    further = {score.card.metric: score for score in details_of(evaluation).scores}
    assert all(s.low <= s.value <= s.high for s in further.values())
    for name in ("FD-infinity", "Vendi", "IS", "LSD", "two-sample accuracy"):
        assert further[name].floor is not None
    assert further["LSD"].name == "LSD[pixels]" and further["IS"].better == "higher"
    assert abs(further["FD-infinity"].value) < evaluation.scores[0].value + 0.5
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation
    view = details_of(evaluation).diversity
    assert view is not None and view.modes.covered == 3


def test_collapse_shows_in_vendi_and_modes() -> None:
    lone, many = detailed_evaluation(discs(400, 7)[0][:1]), detailed_evaluation(discs(400, 7)[0])
    vendi = [
        next(s.value for s in evaluation.scores if s.card.metric == "Vendi") for evaluation in (lone, many)
    ]
    assert vendi[0] == pytest.approx(1) and vendi[1] > 1.05
    view = details_of(lone).diversity
    assert view is not None and view.modes.covered == 1
    assert details_of(lone).latent_geometry is None


def test_models_with_a_likelihood_and_labels_get_their_scores(tmp_path: Path) -> None:
    small = {"steps": 3, "batch": 32, "threads": 1, "precision": "fp32", "runs": tmp_path}
    vae = triptych.train("vae", data="digits", width=8, conditional=False, **small)
    gan = triptych.train("dcgan", data="digits", width=8, conditional=True, **small)
    names = [{s.card.metric for s in evaluate_run(run.path, 500, detailed=True).scores} for run in (vae, gan)]
    assert "bits/dim" in names[0] and "bits/dim" not in names[1]
    assert "intra-class FID" in names[1] and "intra-class FID" not in names[0]


def folder(home: Path, name: str, seed: int, labeled: bool) -> str:
    pixels, labels = discs(90, seed)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        place = home / name / (f"class-{label}" if labeled else "")
        place.mkdir(parents=True, exist_ok=True)
        write_png(place / f"{number}.png", image)
    return f"folder:{home / name}"


def test_folders_get_the_detailed_scores_that_their_images_allow(tmp_path: Path) -> None:
    classes = [folder(tmp_path, name, seed, True) for name, seed in (("real", 1), ("fake", 2))]
    loose = folder(tmp_path, "loose", 3, False)
    scores_by_metric = {s.card.metric: s for s in score_sources(*classes, features="random-conv")}
    assert list(scores_by_metric)[6:] == ["Vendi", "intra-class FID", "LSD", "two-sample accuracy"]
    assert scores_by_metric["LSD"].floor is None and scores_by_metric["LSD"].floor_n is None
    mixed = score_sources(classes[0], loose, features="random-conv")
    assert [s.card.metric for s in mixed][6:] == [
        "Vendi",
        "LSD",
        "two-sample accuracy",
    ]  # one of them has no labels
    assert len(score_sources(*classes, features="random-conv", detailed=False)) == 6
