"""The suite of metrics and the inputs they share: a metric is one entry; each image set is extracted once."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_evaluate import Copyist, a_run, discs, source

from triptych.cli import tables
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.evaluate import evaluate_run
from triptych.evaluation.records import evaluations
from triptych.evaluation.scoring import scores_of
from triptych.inference.pipeline import Pipeline
from triptych.metrics import feature_store, suite
from triptych.metrics import inputs as inputs_module
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.extractors.random_conv import random_conv
from triptych.metrics.inputs import EvaluationInputs, FeatureCache, ImageSet
from triptych.metrics.metric import LABELS, Metric
from triptych.metrics.stats.intervals import leave_one_out


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(inputs_module, "SHARED", FeatureCache())


class Counting:
    """An extractor that counts how often each image set passes through its network."""

    def __init__(self, inner: Extractor) -> None:
        self.inner, self.passes = inner, Counter[str]()
        for name in ("name", "hash", "width", "classes", "accuracy", "resize"):
            setattr(self, name, getattr(inner, name))

    def _count(self, pixels: np.ndarray) -> None:
        self.passes[hashlib.sha256(pixels.tobytes()).hexdigest()] += 1

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        self._count(pixels)
        return self.inner(pixels)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        self._count(pixels)
        return self.inner.probabilities(pixels)

    def features_and_probabilities(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._count(pixels)
        return self.inner.features_and_probabilities(pixels)  # type: ignore[attr-defined]


def gap(real: np.ndarray, fake: np.ndarray) -> float:
    return float(np.linalg.norm(real.mean(0) - fake.mean(0)))


TOY = Metric(
    "mean gap",
    "lower",
    version=7,
    value=lambda x: gap(x.real.features, x.fake.features),
    leave_one_out=lambda x: leave_one_out(
        gap, x.real_groups(x.real.features), x.fake_groups(x.fake.features)
    ),
    parameters={"norm": 2},
)


def test_a_new_metric_is_one_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "METRICS", (*suite.METRICS, TOY))
    run = a_run(tmp_path, source())
    evaluate_run(Pipeline(Copyist(discs(400, 7)[0]), run), 60, "random-conv", data=source())
    (stored,) = evaluations(run)
    score = stored.scores[-1]
    assert score.name == "mean gap[random-conv]" and score.better == "lower"
    assert score.low <= score.value <= score.high and score.floor is not None
    assert score.card.metric == "mean gap" and score.card.version == 7
    assert score.card.parameters == {"norm": 2}
    tables.print_scores(stored.scores, "a model")
    assert "mean gap[random-conv]" in capsys.readouterr().out


def test_in_one_full_evaluation_each_image_set_passes_the_extractor_once(tmp_path: Path) -> None:
    extractor = Counting(extractor_for(source()))
    model = Pipeline(Copyist(discs(400, 7)[0]))
    evaluation = evaluate_run(model, 150, extractor, data=source(), detailed=True)
    assert (
        evaluation.classes is not None
        and evaluation.detailed is not None
        and evaluation.detailed.diversity is not None
    )
    assert evaluation.detailed.latent_geometry is not None and "IS" in {
        s.card.metric for s in evaluation.scores
    }
    # samples, test images, training images for floors and for memorization, interpolations, linear probe
    assert sorted(extractor.passes.values()) == [1] * 6


def test_the_next_evaluation_of_a_source_extracts_its_samples_alone() -> None:
    extractor = Counting(extractor_for(source()))
    for seed, new in ((7, 3), (8, 1)):
        extractor.passes.clear()
        evaluate_run(Pipeline(Copyist(discs(400, seed)[0])), 150, extractor, data=source())
        assert list(extractor.passes.values()) == [1] * new


def test_one_pass_gives_the_same_bits_as_two() -> None:
    extractor, pixels = extractor_for(source()), discs(300, 2)[0]
    features, probabilities = extractor.features_and_probabilities(pixels)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(features, extractor(pixels))
    np.testing.assert_array_equal(probabilities, extractor.probabilities(pixels))


def test_metrics_that_the_inputs_do_not_allow_are_left_out() -> None:
    real, fake = discs(150, 1), discs(150, 2)

    def names(labels: bool) -> set[str]:
        both = (real[1], fake[1]) if labels else None
        inputs = EvaluationInputs.of(real[0], fake[0], random_conv(16), labels=both)
        return {s.card.metric for s in scores_of(inputs, {"data": "x", "split": "given"}, "detailed")}

    assert names(labels=True) == {"FD-infinity", "Vendi", "intra-class FID", "LSD"}  # no classes: no IS
    assert names(labels=False) == {"FD-infinity", "Vendi", "LSD"}
    small = EvaluationInputs.of(real[0][:100], fake[0], random_conv(16))
    (why,) = (m.missing(small) for m in suite.METRICS if m.name == "FD-infinity")
    assert why == "64 features need at least 130 images in each set, got 100"
    assert LABELS.missing(small) == "the labels of real images and samples are not both known"


def test_the_cache_tells_extractors_apart_and_keeps_to_its_size() -> None:
    pixels, cache = discs(40, 1)[0], FeatureCache(max_bytes=3 * 40 * 64 * 4)
    one = Counting(random_conv(16))
    assert ImageSet(pixels, one, cache=cache).features is ImageSet(pixels.copy(), one, cache=cache).features
    other = Counting(random_conv(16))
    other.resize = "area 8"  # the same weights, other features
    _ = ImageSet(pixels, other, cache=cache).features
    assert [sum(x.passes.values()) for x in (one, other)] == [1, 1]
    for shift in range(3):
        _ = ImageSet(pixels + np.uint8(shift + 1), one, cache=cache).features
    _ = ImageSet(pixels, one, cache=cache).features
    assert sum(one.passes.values()) == 5  # the oldest had been dropped


def test_features_of_real_images_are_stored_and_damaged_ones_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    extractor, scores = Counting(extractor_for(source())), []
    for new in (3, 1, 2):
        monkeypatch.setattr(inputs_module, "SHARED", FeatureCache())  # as in another process
        extractor.passes.clear()
        evaluation = evaluate_run(Pipeline(Copyist(discs(400, 7)[0])), 150, extractor, data=source())
        scores.append([s.value for s in evaluation.scores])
        assert sum(extractor.passes.values()) == new
        folders = list((tmp_path / "cache" / "features").iterdir())
        assert len(folders) == 2  # test images, and training images for the floors
        if new == 1:
            (folders[0] / "outputs.safetensors").write_bytes(b"damaged")
    assert scores[0] == scores[1] == scores[2]
    assert "computed again" in caplog.text


def test_the_store_keeps_to_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "MAX_BYTES", 200_000)
    extractor = random_conv(16)
    sets = [discs(100, seed)[0] for seed in range(20)]
    for pixels in sets:
        _ = ImageSet(pixels, extractor, stored=True, cache=FeatureCache()).features
    kept = list((tmp_path / "cache" / "features").iterdir())
    assert 0 < len(kept) < len(sets)
    newest = ImageSet(sets[-1], extractor, stored=True, cache=FeatureCache())
    assert "features" in feature_store.load(newest.hash, extractor)
