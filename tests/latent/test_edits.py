from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
import torch

from triptych.inference.pipeline import Pipeline
from triptych.latent.attributes import Attribute
from triptych.latent.codes import codes_at
from triptych.latent.directions import coordinate_directions, make_direction
from triptych.latent.edits import (
    Effect,
    direction_effect,
    edit,
    factor_changes,
    measure,
    relative_feature_distance,
    traverse,
    with_effects,
)


def test_edit__amount_zero_changes_nothing(bands: Pipeline) -> None:
    codes = codes_at(bands, [3, 4])
    direction = coordinate_directions(bands, [2])[0]
    images = edit(bands, codes, direction, [-1, 0, 2])
    assert images.shape == (2, 3, 6, 6, 1)
    np.testing.assert_array_equal(images[:, 1], bands.sample([3, 4]))
    np.testing.assert_array_equal(images[:, 2], bands.generate(codes.values + 2 * direction.vector))


def test_a_traversal_moves_every_code_along_every_direction(bands: Pipeline) -> None:
    codes, along = codes_at(bands, [3, 4]), coordinate_directions(bands, [0, 1, 2])
    images = traverse(bands, codes, along, [-1, 1])
    assert images.shape == (2, 3, 2, 6, 6, 1)
    np.testing.assert_array_equal(images[1, 2, 0], edit(bands, codes, along[2], [-1])[1, 0])
    with pytest.raises(ValueError, match="at least one code, one direction and one amount"):
        traverse(bands, codes, [], [1])


def test_labels_and_seeds_stay_when_noise_moves(conditional_dcgan: Pipeline) -> None:
    codes = codes_at(conditional_dcgan, [5, 6], labels=[2, 0])
    images = edit(conditional_dcgan, codes, coordinate_directions(conditional_dcgan, [0])[0], [0])
    np.testing.assert_array_equal(images[:, 0], conditional_dcgan.sample([5, 6], [2, 0]))


def test_controls_act_after_the_move(bands: Pipeline) -> None:
    codes = codes_at(bands, [3])
    images = edit(bands, codes, coordinate_directions(bands, [0])[0], [2], scale=0.0)
    assert (images == images[0, 0, 0, 0, 0]).all()


def test_edit__refuses_a_direction_of_another_space(layers: Pipeline) -> None:
    with pytest.raises(ValueError, match="is of style space, these codes are of noise space"):
        edit(layers, codes_at(layers, [1]), coordinate_directions(layers, [0], "style")[0], [1])


def test_factor_changes__are_in_standard_deviations() -> None:
    attributes = [Attribute("a=1", "a"), Attribute("a=2", "a"), Attribute("b", "b"), Attribute("c", "c")]
    before = np.random.default_rng(0).normal(size=(1000, 4)) * [1, 1, 5, 0]
    step = np.array([0.5, -0.75, 10, 0])
    readings = np.stack([before - step, before, before + 2 * step])
    deviations = before.std(0)
    a, b = factor_changes(readings, attributes, 2.0)  # c never varies
    assert (a.factor, a.attribute, b.factor) == ("a", "a=2", "b")
    assert a.two_sided == pytest.approx(-0.75 * 3 / 4 / deviations[1])
    assert a.one_sided == pytest.approx(-0.75 / deviations[1]) and a.mean_absolute == pytest.approx(
        0.75 / deviations[1]
    )
    assert b.two_sided == pytest.approx(10 * 3 / 4 / deviations[2]) and b.error == pytest.approx(0, abs=1e-9)
    targeted = factor_changes(readings, attributes, 2.0, attributes[0])[0]
    assert targeted.attribute == "a=1" and targeted.two_sided == pytest.approx(0.5 * 3 / 4 / deviations[0])


class Unread:
    """Reads nothing: its readings are given."""

    name = "given"
    accuracy: ClassVar[dict[str, str]] = {}

    def __init__(self, attributes: Sequence[Attribute] = ()) -> None:
        three = (Attribute(name, name) for name in ("target", "side", "bent"))
        self.attributes = tuple(attributes or three)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        raise AssertionError


@pytest.mark.parametrize(
    ("forth", "back", "ratio", "swing", "first"),
    [
        ([1, 0.1, 0], [-1, -0.1, 0], 10, 10, "side"),
        ([1, 0.1, 0.5], [-1, -0.1, 0.5], 2, 10, "bent"),  # bends both ways alike: cancels from -a to +a
        ([0.2, 0.1, 0], [-1, -0.1, 0], 2, 6, "side"),  # the target too in the worse way
        ([-1, 0.1, 0], [1, -0.1, 0], -10, -10, "side"),  # a direction that lowers its target is no success
    ],
)
def test_direction_effect__ratio_and_two_sided_ratio(
    forth: list[float], back: list[float], ratio: float, swing: float, first: str
) -> None:
    reader = Unread()
    before = np.random.default_rng(0).normal(size=(400, 3))
    before /= before.std(0)
    readings = np.stack([before + back, before, before + forth])
    effect = direction_effect("target", readings, reader, 1.0, reader.attributes[0])
    assert effect.ratio == pytest.approx(ratio) and effect.two_sided_ratio == pytest.approx(swing)
    assert effect.others[0].attribute == first


def test_factor_changes__include_what_only_edits_create() -> None:
    attributes = [Attribute("wanted", "a"), Attribute("new", "b"), Attribute("never", "c")]
    before = np.zeros((400, 3))
    before[:, 0] = np.arange(400) % 2
    readings = np.stack([before, before, before + np.array([1, 1, 0])])
    wanted, new = factor_changes(readings, attributes, 1.0)
    assert new.factor == "b" and new.one_sided == pytest.approx(100)  # in hundredths of a class
    assert direction_effect(
        "wanted", readings, Unread(attributes), 1.0, attributes[0]
    ).ratio == pytest.approx(0.01)
    assert wanted.one_sided == pytest.approx(2)


def test_factor_changes__have_a_smallest_unit() -> None:
    before = np.random.default_rng(0).normal(size=(400, 1)) * 1e-9
    readings = np.stack([before, before, before + 1e-4])
    assert factor_changes(readings, [Attribute("rare", "a")], 1.0)[0].one_sided == pytest.approx(0.01)
    assert factor_changes(readings, [Attribute("level", "a", min_unit=1.0)], 1.0)[
        0
    ].one_sided == pytest.approx(1e-4)


def test_relative_feature_distance__is_relative_to_unrelated_images() -> None:
    before = np.random.default_rng(0).normal(size=(400, 8))
    assert relative_feature_distance(before, before) == 0
    assert relative_feature_distance(before, np.roll(before, 5, axis=0)) == pytest.approx(1, rel=0.05)
    assert relative_feature_distance(np.ones((3, 2)), np.ones((3, 2))) == 0
    moved = relative_feature_distance(
        np.ones((3, 2)), np.zeros((3, 2))
    )  # from one image of all seeds to another
    assert moved == np.inf
    effect = Effect(
        direction="d", amount=1, n=3, predictor="r", target=None, others=(), feature_distance=moved
    )
    assert Effect.model_validate_json(json.dumps(effect.model_dump(mode="json"), allow_nan=False)) == effect


class Levels:
    """Features: the levels themselves."""

    name, width, classes = "levels", 36, 0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(len(pixels), -1).astype(np.float32)


def test_measure__effects_and_feature_distance(bands: Pipeline, reader) -> None:
    codes = codes_at(bands, range(60))
    top = make_direction(bands, "top", "noise", "by hand", torch.tensor([1.0, 0.6, 0, 0, 0, 0]))
    nothing = make_direction(bands, "idle", "noise", "by hand", torch.zeros(6))
    moving, still = measure(bands, codes, [top, nothing], 1.0, reader, Levels())  # type: ignore[arg-type]
    assert moving.target is not None and moving.target.attribute == "top" and moving.target.two_sided > 0.5
    assert moving.others[0].attribute == "bottom" and moving.others[0].two_sided == pytest.approx(
        0.32, abs=0.1
    )
    assert moving.ratio == pytest.approx(moving.target.least / moving.others[0].bound)
    assert moving.two_sided_ratio == pytest.approx(moving.target.two_sided / moving.others[0].two_sided)
    assert (
        moving.feature_distance is not None
        and 0.1 < moving.feature_distance < 1
        and moving.extractor == "levels"
    )
    assert (
        still.target is None
        and still.ratio is None
        and still.two_sided_ratio is None
        and still.feature_distance == 0
    )
    annotated = with_effects([top, nothing], [moving, still])
    assert annotated[0].info.effects["top"] == pytest.approx(moving.target.two_sided, abs=1e-4)
    assert set(annotated[1].info.effects) == {"top", "middle", "bottom"}


@pytest.mark.parametrize(("count", "amount"), [(19, 1.0), (20, 0.0), (20, -1.0)])
def test_measure__refuses_too_few_codes_and_amount_zero(
    bands: Pipeline, reader, count: int, amount: float
) -> None:
    with pytest.raises(ValueError, match="20 codes or more and an amount above 0"):
        measure(bands, codes_at(bands, range(count)), coordinate_directions(bands, [0]), amount, reader)
