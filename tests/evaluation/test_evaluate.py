import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_cards import a_card
from torch import Tensor

from triptych.core.config import Settings
from triptych.core.generative_model import GenerativeModel
from triptych.core.images import to_float
from triptych.core.objectives import Objective
from triptych.core.types import Condition, GenerationStep, ImageSpec
from triptych.data.dataset import Dataset, Split
from triptych.data.load import load
from triptych.evaluation.evaluate import evaluate, evaluate_run
from triptych.evaluation.records import Evaluation
from triptych.evaluation.scoring import class_view, images_fingerprint, score_pixels, subset
from triptych.inference.pipeline import Pipeline
from triptych.metrics.extractors.random_conv import random_conv
from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.score import comparable
from triptych.models.registry import build
from triptych.runs import run as runs
from triptych.runs.checkpoint import CheckpointMeta

NAMES = ["FID", "KID", "precision", "recall", "density", "coverage"]


def discs(count: int, seed: int, classes: int = 3, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc left, right or in the middle, of random size, on dim noise. Images, labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    y, x = np.mgrid[:size, :size]
    across = size * (0.3 + 0.2 * labels[:, None, None]) + rng.normal(0, 0.4, (count, 1, 1))
    radius = rng.uniform(size * 0.1, size * 0.25, (count, 1, 1))
    inside = np.hypot(y - size / 2, x - across) < radius
    pixels = inside * 180 + rng.integers(0, 60, (count, size, size))
    return pixels.astype(np.uint8)[..., None], labels.astype(np.int64)


def source(labeled: bool = True) -> Dataset:
    (train, train_labels), (test, test_labels) = discs(300, 0), discs(150, 1)
    splits = [
        Split(p, labels if labeled else None) for p, labels in ((train, train_labels), (test, test_labels))
    ]
    names = ("left", "middle", "right") if labeled else ()
    return Dataset("discs", "discs", *splits, names, fingerprint="f" * 64)


class Dimming(Settings):
    dimmed: float = 0.0
    """How much darker, 0..1."""


class Copyist(GenerativeModel[Settings, Dimming]):
    """Draws images of an album: which one is a function of the noise."""

    Controls, noise_shape, title = Dimming, (1,), "Copyist"

    def __init__(self, album: np.ndarray) -> None:
        super().__init__(Settings(), ImageSpec(album.shape[3], album.shape[1]))
        self.album = torch.nn.Parameter(to_float(album))
        self.seen: list[int] = []

    def objectives(self) -> list[Objective]:
        return []

    def generate(
        self, noise: Tensor, condition: Condition, controls: Dimming, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        self.seen += seeds
        rows = (noise[:, 0].abs() * 1000).long() % len(self.album)
        images = (self.album[rows] + 1) * (1 - controls.dimmed) - 1
        yield GenerationStep(0, 1, noise, lambda: images)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))


def a_run(home: Path, data: Dataset, **changes: Any) -> runs.Run:
    described = {
        "source": "discs",
        "size": 16,
        "fingerprint": data.fingerprint,
        "class_names": tuple(data.class_names),
        "train": len(data.train),
        "test": len(data.test),
    }
    card = a_card(model="vae", data=described | changes, image_spec=data.spec)
    return runs.create(home / "runs", "x-discs", card)


def test_a_fine_model_scores_near_the_floor_and_a_poor_one_does_not(tmp_path: Path) -> None:
    data = source()
    run = a_run(tmp_path, data)
    fine = evaluate_run(Pipeline(Copyist(discs(400, 2)[0]), run), 200, data=data)
    poor = evaluate_run(Pipeline(Copyist(discs(400, 2)[0][:2]), run), 200, data=data)
    by_name = [{s.card.metric: s for s in e.scores} for e in (fine, poor)]
    assert [s.name for s in fine.scores] == [f"{n}[discs-cnn]" for n in NAMES]
    for good, bad in ((by_name[0][n], by_name[1][n]) for n in NAMES):
        comparable(good, bad)
        assert good.floor == bad.floor and good.floor_n == 200
        assert good.low <= good.value <= good.high
    assert by_name[0]["FID"].value < by_name[1]["FID"].value / 5
    assert abs(by_name[0]["KID"].value) < by_name[1]["KID"].value / 5
    for name in ("recall", "coverage"):
        assert by_name[0][name].value > 0.6 > 0.3 > by_name[1][name].value
        assert by_name[0][name].better == "higher"
    assert by_name[1]["precision"].value > 0.7
    assert by_name[0]["FID"].better == by_name[0]["KID"].better == "lower"
    assert fine.classes is not None and poor.classes is not None
    assert fine.classes.names == ("left", "middle", "right")
    assert min(fine.classes.shares) > 0.25 and min(poor.classes.shares) < 0.05
    assert fine.classes.shares_real == poor.classes.shares_real
    assert sum(fine.classes.shares) == pytest.approx(1)


def test_the_record_in_the_run(tmp_path: Path) -> None:
    data = source()
    run = a_run(tmp_path, data)
    model = Pipeline(Copyist(discs(100, 2)[0]), run)
    progress_calls: list[tuple[str, int, int]] = []
    evaluation = evaluate_run(
        model, 70, data=data, controls={"dimmed": 0.5}, progress=lambda *facts: progress_calls.append(facts)
    )
    (line,) = run.metrics()
    assert Evaluation.model_validate(json.loads(json.dumps(line))) == evaluation
    card = evaluation.scores[0].card
    assert card.data == data.fingerprint and card.split == "test"
    assert (card.n_real, card.n_fake) == (150, 70)
    assert card.controls == {"dimmed": 0.5} and card.run == "0001-x-discs"
    assert card.seeds == "1000000-1000069" and card.precision == "fp32"
    assert evaluation.sampling.n == 70 and evaluation.sampling.seconds_per_sample > 0
    assert evaluation.extractor.name == "discs-cnn" and evaluation.extractor.hash == card.extractor_hash
    assert evaluation.extractor.accuracy is not None and evaluation.extractor.accuracy > 0.8
    assert {"extractor", "samples"} == {what for what, _, _ in progress_calls}
    assert progress_calls[-1] == ("samples", 70, 70)


def test_samples_come_from_seeds_of_their_own_in_whole_batches(tmp_path: Path) -> None:
    data = source(labeled=False)
    model = Pipeline(Copyist(discs(100, 2)[0]))
    evaluation = evaluate_run(model, 70, "random-conv", data=data, first_seed=500)
    assert model.model.seen == list(range(500, 628))
    assert evaluation.classes is None and evaluation.extractor.accuracy is None
    assert evaluation.scores[0].name == "FID[random-conv]"
    again = evaluate(model, 70, random_conv(16), data=data, first_seed=500)
    assert [s.value for s in again] == [s.value for s in evaluation.scores]


def test_it_opens_a_run_and_its_data_by_itself(tmp_path: Path) -> None:
    data = load("digits")
    run = a_run(tmp_path, data, source="digits", size=None)
    run.save_checkpoint(7, {"weights": build(run.card).state_dict()}, CheckpointMeta(step=7))
    scores = evaluate(run.path, 30, "random-conv")
    assert scores[0].card.step == 7 and scores[0].card.weights == "raw"  # no EMA was kept
    assert scores[0].card.data == data.fingerprint and scores[0].card.n_real == len(data.test)
    assert len(runs.open_run(run.path).metrics()) == 1


def test_other_images_than_those_of_the_run_are_refused(tmp_path: Path) -> None:
    data = source()
    run = a_run(tmp_path, data, fingerprint="e" * 64)
    with pytest.raises(ValueError, match=r"discs is not what .* was trained on .*ffff, was eeee"):
        evaluate(Pipeline(Copyist(data.test.pixels), run), 30, data=data)
    assert run.metrics() == []
    with pytest.raises(ValueError, match="belongs to no run: say what to measure it against"):
        evaluate(Pipeline(Copyist(data.test.pixels)), 30)
    with pytest.raises(ValueError, match="at least 20 samples, got 19"):
        evaluate(Pipeline(Copyist(data.test.pixels)), 19, data=data)


def test_two_sets_of_images() -> None:
    real, fake = discs(120, 1)[0], discs(90, 2)[0]
    scores = score_pixels(real, fake, random_conv(16))
    assert [s.card.metric for s in scores] == NAMES
    assert all(s.floor is None and s.floor_n is None for s in scores)
    assert scores[0].card.data == images_fingerprint(real[::-1])
    assert scores[0].card.data != images_fingerprint(real[:-1])
    with pytest.raises(ValueError, match="random-conv expects"):
        score_pixels(real, fake[:, :8, :8], random_conv(16))


def test_notes_say_what_to_beware_of() -> None:
    real, few = discs(120, 1)[0], discs(64, 2)[0]
    scores = score_pixels(real, few, random_conv(16), train=real[:30])
    assert "64 images for 64 features: mostly bias" in scores[0].notes[0]
    assert "the floor is of 30 training images" in scores[0].notes[1]
    assert all("mostly bias" not in note for note in scores[1].notes)
    one = score_pixels(real, np.repeat(few[:1], 80, axis=0), random_conv(16))
    assert all("all samples have the same features" in s.notes for s in one)
    assert all(np.isfinite([s.value, s.low, s.high]).all() for s in one)


def test_a_weak_classifier_is_named_in_a_note() -> None:
    class Guesser:
        name, hash, width, classes, accuracy, resize = "x", "0", 4, 2, 0.61, "none"

        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            return pixels[:, :2, :2, 0].reshape(-1, 4).astype(np.float32)

        def probabilities(self, pixels: np.ndarray) -> np.ndarray:
            p = np.full((len(pixels), 2), [0.95, 0.05])
            p[0] = [0.2, 0.8]
            return p

    real, fake = discs(40, 1)[0], discs(50, 2)[0]
    assert "right about 61% of the test images" in score_pixels(real, fake, Guesser())[1].notes[0]
    view = class_view(EvaluationInputs.of(real, fake, Guesser()), None)
    assert view.confident == 0.98 and view.shares == (0.98, 0.02) and view.names == ("0", "1")


def test_classes_that_are_not_the_source_s_are_not_counted() -> None:
    class Abroad:
        name, hash, width, classes, accuracy, resize = "x", "0", 1, 1008, None, "none"

        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            return pixels.mean((1, 2)).astype(np.float32)

        def probabilities(self, pixels: np.ndarray) -> np.ndarray:
            raise AssertionError("nobody asked")

    evaluation = evaluate_run(Pipeline(Copyist(discs(100, 2)[0])), 30, Abroad(), data=source())
    assert evaluation.classes is None and evaluation.scores[0].name == "FID[x]"


def test_subset_is_seeded_and_ascending() -> None:
    pixels = np.arange(100, dtype=np.uint8)[:, None, None, None]
    assert subset(pixels, 200).shape == pixels.shape
    some = subset(pixels, 30)[:, 0, 0, 0]
    assert len(set(some)) == 30 and list(some) == sorted(some) and some.max() > 60
    np.testing.assert_array_equal(subset(pixels, 30)[:, 0, 0, 0], some)
