from __future__ import annotations

import numpy as np
import pytest

from triptych.data.dataset import Dataset, Split
from triptych.data.datasets import shapes
from triptych.latent import attributes
from triptych.latent.attributes import (
    ClassPredictor,
    FactorPredictor,
    ShapesPredictor,
    predictor_for,
    shape_attributes,
)


def test_shapes_predictor__recovers_the_factors() -> None:
    factors = shapes.draw_factors(60, 3)
    reader = ShapesPredictor({})
    recovered = reader(shapes.paint(factors, 32))
    assert recovered.shape == (60, len(reader.attributes)) == (60, 21)
    names = [a.name for a in reader.attributes]
    for name, values, classes in (
        ("kind", factors["kind"], shapes.KINDS),
        ("ground", factors["ground"], tuple(shapes.GROUNDS)),
    ):
        columns = recovered[:, [names.index(f"{name}={c}") for c in classes]]
        np.testing.assert_array_equal(columns.argmax(1), values)
        np.testing.assert_array_equal(columns.sum(1), 1)
    np.testing.assert_allclose(recovered[:, names.index("x")], factors["x"], atol=2e-3)


def test_shape_attributes__a_rotation_is_an_angle_within_its_period() -> None:
    one = {
        "kind": [1, 1, 0],
        "color": [0, 0, 0],
        "ground": [0, 0, 0],
        "radius": [0.2] * 3,
        "x": [0.5] * 3,
        "y": [0.5] * 3,
    }
    factors = {name: np.array(values) for name, values in one.items()}
    factors["turn"] = np.array(
        [np.pi / 8, np.pi / 4, 1.0]
    )  # a quarter and a half of a square's period; a circle
    np.testing.assert_allclose(shape_attributes(factors)[:, -2:], [[1, 0], [0, -1], [0, 0]], atol=1e-12)


class TinyClassifier:
    name, accuracy, classes, width = "tiny", 0.9, 2, 1

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        return np.tile([0.25, 0.75], (len(pixels), 1))


def test_class_predictor__also_gives_brightness_and_contrast() -> None:
    reader = ClassPredictor(TinyClassifier(), ["no", "yes"])  # type: ignore[arg-type]
    pixels = np.array([[0, 200], [100, 100]], np.uint8).reshape(2, 1, 2, 1)
    np.testing.assert_allclose(reader(pixels), [[0.25, 0.75, 100, 100], [0.25, 0.75, 100, 0]])
    assert [a.name for a in reader.attributes] == ["class=no", "class=yes", "brightness", "contrast"]
    assert reader.accuracy["class"] == "90.0% of test images right"


def dataset(factors: bool = True, labels: bool = False, mark: str = "f") -> Dataset:
    rng = np.random.default_rng(0)
    splits = []
    for _ in range(2):
        values = {name: rng.integers(0, 2, 200) for name in ("left", "right")} if factors else {}
        pixels = rng.integers(60, 120, (200, 8, 8, 1)).astype(np.uint8)
        if factors:
            pixels[:, :, :4] += (80 * values["left"])[:, None, None, None].astype(np.uint8)
            pixels[:, :, 4:] += (80 * values["right"])[:, None, None, None].astype(np.uint8)
        splits.append(Split(pixels, rng.integers(0, 2, 200) if labels else None, factors=values))
    names = ("a", "b") if labels else ()
    return Dataset("halves", "given", *splits, class_names=names, fingerprint=mark)


def test_factor_predictor__is_trained_on_real_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "MAX_FACTOR_STEPS", 60)
    source = dataset()
    reader = predictor_for(source, ["right"])
    assert isinstance(reader, FactorPredictor)
    predicted = reader(source.test.pixels)[:, 0] > 0.5
    assert (predicted == source.test.factors["right"]).mean() > 0.95
    assert "of test images right (the more frequent value: " in reader.accuracy["right"]
    with pytest.raises(ValueError, match=r"halves has no binary factor 'top'.* There are: left, right"):
        predictor_for(source, ["top"])


def test_factor_predictor__chosen_attributes_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attributes, "MAX_FACTOR_STEPS", 1)
    monkeypatch.setattr(attributes, "MAX_OTHER_ATTRIBUTES", 1)

    def names(*chosen: str) -> list[str]:
        return [a.name for a in predictor_for(dataset(mark="order"), chosen).attributes]

    assert names("right") == ["right", "left"]  # nothing is left to hold a direction to otherwise
    assert names("right", "left", "right") == ["right", "left"]
    assert names() == ["left"]


def test_factor_predictor__is_cached_by_the_factor_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "MAX_FACTOR_STEPS", 5)
    source = dataset(mark="once")
    reader = predictor_for(source)
    monkeypatch.setattr(attributes, "fit_classifier", lambda *given, **more: pytest.fail("trained again"))
    again = predictor_for(source)
    assert again.accuracy == reader.accuracy
    np.testing.assert_array_equal(again(source.test.pixels), reader(source.test.pixels))
    source.train.factors["left"] = 1 - source.train.factors["left"]
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        predictor_for(source)


def drawn_shapes(channels: int) -> Dataset:
    factors = shapes.draw_factors(60, 2)
    pixels = shapes.paint(factors, 16)[..., :channels]
    split = Split(pixels, factors["kind"], factors=factors)
    return Dataset("shapes", "shapes", split, split, class_names=shapes.KINDS)


def test_predictor_for__each_type_of_data_set() -> None:
    assert predictor_for(dataset(factors=False, labels=True), classifier=TinyClassifier()).name == "tiny"  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="halves has neither classes nor factors"):
        predictor_for(dataset(factors=False))
    gray = drawn_shapes(1)  # no palette, no causes
    assert predictor_for(gray, classifier=TinyClassifier()).name == "tiny"  # type: ignore[arg-type]


def test_shapes_predictor__reports_its_accuracy() -> None:
    reader = predictor_for(drawn_shapes(3))
    assert isinstance(reader, ShapesPredictor)
    assert reader.accuracy["color"] == "100.0% right" and "of 60 test images right" in reader.accuracy["kind"]
