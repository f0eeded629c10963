"""Points of a plane take every step that images take: train, sample, evaluate, report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import triptych
from triptych.data.datasets import ring
from triptych.data.datasets.ring import draw_ring
from triptych.evaluation.evaluate import evaluate_run, score_sources
from triptych.report.html import write_report
from triptych.runs.run import Run
from triptych.viz.gallery import write_images
from triptych.viz.scatter import SIDE_PX


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return triptych.train(
        "wgan", "points:ring", steps=8, batch=16, threads=1, precision="fp32", width=8, latent=2,
        runs=tmp_path_factory.mktemp("runs"),
    )  # fmt: skip


def test_points_from_training_to_report(run: Run, tmp_path: Path) -> None:
    with Image.open(sorted((run.path / "samples").iterdir())[-1]) as grid:
        assert grid.size == (SIDE_PX, SIDE_PX)
    model = triptych.load(run.path)
    drawn = model.sample(range(3))
    assert drawn.shape == (3, 1, 1, 2)
    write_images(tmp_path / "points.npy", drawn, range(3))
    write_images(tmp_path / "points.png", drawn, range(3), ["a", "b", "c"])
    write_images(tmp_path / "points", drawn, range(3))
    assert np.array_equal(np.load(tmp_path / "points.npy"), drawn)
    assert len(list((tmp_path / "points").iterdir())) == 3
    evaluation = evaluate_run(model, 64, most_real=200, detailed=True)
    assert evaluation.extractor.name == "coordinates" and evaluation.classes is not None
    assert evaluation.detailed is not None and evaluation.detailed.modes is not None
    assert evaluation.detailed.modes.n == 64 and evaluation.detailed.modes.modes.total == 8
    assert evaluation.classes.confident == pytest.approx(evaluation.detailed.modes.near)
    assert evaluation.detailed.latent_geometry is None and "LSD" not in {
        s.card.metric for s in evaluation.scores
    }
    page = write_report([run], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "critic/distance" in page and "Wasserstein distance" in page


def test_points_beside_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "draw_ring", lambda count, seed: draw_ring(count // 200, seed))
    real = score_sources("points:ring", "points:ring")
    assert real[0].name == "FID[coordinates]" and real[0].value == pytest.approx(0, abs=1e-6)


def test_other_models_refuse_points() -> None:
    with pytest.raises(ValueError, match="generates images, not points of 1 x 1 px: dcgan and wgan can"):
        triptych.train("vae", "points:ring", steps=1)
