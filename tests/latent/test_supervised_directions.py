from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import MIXING, Layers

from triptych.inference.pipeline import Pipeline
from triptych.latent import codes, directions, edits, supervised_directions
from triptych.latent.attribute_samples import mixed_rows, sample_attributes
from triptych.latent.codes import codes_at
from triptych.latent.edits import measure
from triptych.latent.supervised_directions import (
    fit_directions,
    other_factors,
    refine_direction,
    shrink,
    standardized_slopes,
)


def test_fit_directions__is_exact_for_a_linear_generator(bands: Pipeline, reader) -> None:
    fitted = fit_directions(bands, reader, sample_attributes(bands, reader, 300))
    assert [d.name for d in fitted] == ["top", "middle", "bottom"]  # "nothing" never varies
    for k, direction in enumerate(fitted):
        assert direction.vector.norm() == pytest.approx(1, abs=1e-5)  # a standard deviation of noise
        moved = torch.tensor(MIXING) @ direction.vector
        assert moved[k] > 0.5
        assert np.abs(np.delete(moved.numpy(), k)).max() < 0.005


def test_fit_directions__holds_on_other_samples(bands: Pipeline, reader) -> None:
    fitted = fit_directions(bands, reader, sample_attributes(bands, reader, 300), ["middle"])
    effect = measure(bands, codes_at(bands, range(200)), fitted, 1.0, reader)[0]
    assert effect.target is not None and effect.target.attribute == "middle"
    deviation = np.linalg.norm(MIXING[1])
    expected = float(torch.tensor(MIXING)[1] @ fitted[0].vector) / deviation
    assert effect.target.two_sided == pytest.approx(
        expected, rel=0.15
    )  # the standard deviation is of 200 samples
    assert effect.ratio is not None and effect.ratio > 50
    assert {c.factor for c in effect.others} == {"top", "bottom"}


def test_refinement_reduces_side_effects_of_a_nonlinear_generator(bent: Pipeline, reader) -> None:
    studied = sample_attributes(bent, reader, 1000)
    fresh = codes_at(bent, range(500))
    plain, tried = (
        measure(
            bent,
            fresh,
            fit_directions(bent, reader, studied, ["top"], refinement_samples=tried, amount=2),
            2.0,
            reader,
        )[0]
        for tried in (0, 500)
    )
    assert plain.ratio is not None and tried.ratio is not None
    assert tried.ratio > 3 * plain.ratio


class Uneven(Layers):
    """One layer; each band reads both numbers of its style; one has five times the standard deviation."""

    style_shape = (1, 2)

    def styles(self, noise: torch.Tensor, condition: Any, controls: Any) -> torch.Tensor:
        return (noise[:, None, :2] * torch.tensor([1.0, 0.2])).float()

    def synthesize(self, styles: torch.Tensor, seeds: Any, controls: Any = None) -> torch.Tensor:
        levels = styles[:, 0] @ torch.tensor([[1.0, 1.0, 0.0], [2.0, -3.0, 5.0]])  # (B, 3)
        return (levels / 8).repeat_interleave(2, 1)[:, None, :, None].expand(-1, -1, -1, 6)


def test_refinement_and_fit_have_the_same_unit(reader, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Pipeline(Uneven(1))  # type: ignore[arg-type]
    studied, pairs = sample_attributes(model, reader, 400), []
    best = supervised_directions.refine_direction

    def recorded(white, slopes, k, frozen, chance, changes):
        pairs.append((changes(white)[0], slopes.T @ (white / np.linalg.norm(white))))
        return best(white, slopes, k, frozen, chance, changes)

    monkeypatch.setattr(supervised_directions, "refine_direction", recorded)
    fit_directions(model, reader, studied, ["top", "middle"], refinement_samples=400)
    assert len(pairs) == 2
    for means, promised in pairs:  # both estimates agree for a linear generator
        np.testing.assert_allclose(means, [promised, promised], rtol=0.06, atol=0.02)  # ridge, gray levels


def test_weights_are_hashed_once_for_all_directions_and_rounds(
    bands: Pipeline, reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed, true = [], codes.model_hash
    for module in (supervised_directions, directions, edits):
        monkeypatch.setattr(module, "model_hash", lambda model: hashed.append(model) or true(model))
    fitted = fit_directions(bands, reader, sample_attributes(bands, reader, 200), refinement_samples=20)
    assert len(fitted) == 3 and len(hashed) == 1
    measure(bands, codes_at(bands, range(20)), fitted, 1.0, reader)
    assert len(hashed) == 2
    assert len(directions.coordinate_directions(bands)) == 6 and len(hashed) == 3


def test_other_factors__include_attributes_that_no_sample_showed(bands: Pipeline, reader) -> None:
    studied = sample_attributes(bands, reader, 200)
    assert studied.stds[3] == 0 and other_factors(studied, 0) == [1, 2, 3]
    assert studied.units[3] == 0.01 and (standardized_slopes(studied)[:, 3] == 0).all()


def test_fit_directions__moves_all_layers_or_the_chosen(layers: Pipeline, reader) -> None:
    studied = sample_attributes(layers, reader, 300, per_layer=False)
    assert studied.codes.space == "style" and studied.whitened.shape == (300, 2) and studied.blocks == 1
    alike = fit_directions(layers, reader, studied, ["top"])  # one style moves all three bands alike
    effect = measure(layers, codes_at(layers, range(50), "style"), alike, 1.0, reader)[0]
    assert effect.ratio == pytest.approx(1, abs=0.01)
    for apart in (True, False):
        sampled = sample_attributes(layers, lone(reader), 300, per_layer=apart)
        one = fit_directions(layers, lone(reader), sampled, layers=[0])[0]
        assert one.vector[1:].eq(0).all() and one.vector[0].abs().sum() > 0


def test_fit_directions__per_layer(layers: Pipeline, reader) -> None:
    progress: list[tuple[str, int, int]] = []
    studied = sample_attributes(layers, reader, 300, progress=lambda *now: progress.append(now))
    assert studied.blocks == 3 and studied.whitened.shape == (300, 6) and progress[-1][1:] == (600, 600)
    fitted = fit_directions(layers, reader, studied, refinement_samples=100)
    effects = measure(layers, codes_at(layers, range(50), "style"), fitted, 1.0, reader)
    assert len(effects) == 3
    for k, effect in enumerate(effects):  # layer k draws band k
        assert effect.ratio is None or effect.ratio > 20
        assert effect.target is not None and effect.target.two_sided > 0.5
        strengths = fitted[k].vector.norm(dim=1)  # (layers,)
        assert strengths.argmax() == k and strengths.sum() < 1.1 * strengths[k]
        assert strengths[k] == pytest.approx(1, abs=0.05)  # a standard deviation, where it moves most
    two = fit_directions(layers, reader, studied, ["middle"], layers=[1, 2], refinement_samples=100)[0]
    assert two.vector[0].eq(0).all() and two.vector[1].norm() > 0.9
    with pytest.raises(ValueError, match="or on 20 or more, got 19"):
        fit_directions(layers, reader, studied, refinement_samples=19)


def test_fit_directions__stays_within_a_label(labeled_bands: Pipeline, reader) -> None:
    assert sample_attributes(labeled_bands, reader, 300).blocks == 1  # it was not trained on mixed styles
    studied = sample_attributes(labeled_bands, reader, 300, per_layer=True)
    assert studied.codes.labels is not None and len(studied.codes.labels.unique()) == 3
    assert studied.distribution.std_along(np.array([1.0, 0.0])) == pytest.approx(1, abs=0.1)  # not some 8
    fitted = fit_directions(labeled_bands, reader, studied)
    effects = measure(labeled_bands, codes_at(labeled_bands, range(60), "style"), fitted, 0.5, reader)
    assert [e.direction for e in effects] == ["top", "middle", "bottom"]
    assert all(e.ratio is None or e.ratio > 10 for e in effects)
    one = sample_attributes(labeled_bands, reader, 200, labels=[2])
    assert one.codes.labels is not None and set(one.codes.labels.tolist()) == {2}


def test_mixed_rows__permute_within_a_label(labeled_bands: Pipeline) -> None:
    drawn = codes_at(labeled_bands, range(50), "style")
    rows = mixed_rows(drawn, 3, 7)
    np.testing.assert_array_equal(rows, mixed_rows(drawn, 3, 7))
    np.testing.assert_array_equal(np.sort(rows, 1), [range(50)] * 3)
    assert drawn.labels is not None and (drawn.labels[rows] == drawn.labels).all()
    assert not (rows[0] == rows[1]).all()


def test_sample_attributes__refuses_missing_layers_and_too_few_samples(
    bands: Pipeline, layers: Pipeline, reader
) -> None:
    with pytest.raises(ValueError, match="noise space of Bands has no layers to move separately"):
        sample_attributes(bands, reader, 300, per_layer=True)
    wide = Pipeline(Layers(40))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"40 layers of 2 dimensions .* at least 240 samples, got 200"):
        sample_attributes(wide, reader, 200, per_layer=True)


def lone(reader):
    class First:
        name, attributes, accuracy = reader.name, reader.attributes[:1], reader.accuracy

        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            return reader(pixels)[:, :1]

    return First()


def test_fit_directions__refuses_unknown_and_constant_attributes(bands: Pipeline, reader) -> None:
    with pytest.raises(ValueError, match="at least 200 samples"):
        sample_attributes(bands, reader, 199)
    studied = sample_attributes(bands, reader, 200)
    with pytest.raises(ValueError, match=r"band reader predicts no 'left'\. There are: top, middle"):
        fit_directions(bands, reader, studied, ["left"])
    with pytest.raises(ValueError, match="200 samples have the same 'nothing'"):
        fit_directions(bands, reader, studied, ["nothing"])


def test_shrink__is_zero_within_the_error() -> None:
    np.testing.assert_allclose(
        shrink(np.array([1.0, -1.0, 0.3, 0.0]), np.array([0.25, 0.0, 0.2, 0.1])), [0.75, -1, 0, 0]
    )


def test_refine_direction__keeps_the_best_step() -> None:
    slopes, tried = np.eye(3), []

    def changes(white: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tried.append(white / np.linalg.norm(white))
        return np.array([[1.0, 0.1 + 0.4 * len(tried), 0.0]]), np.zeros((1, 3))  # ever worse

    best = refine_direction(np.array([1.0, 0, 0]), slopes, 0, [1, 2], 0.0, changes)
    np.testing.assert_array_equal(best, [1, 0, 0])
    assert len(tried) == supervised_directions.ROUNDS and not np.allclose(tried[0], tried[1])


def test_refine_direction__counts_both_measures() -> None:
    """The second number bends reading 1 in one of the two estimates only, which the slopes do not show."""

    def changes(white: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b, c = white / np.linalg.norm(white)
        return np.array([[a, c, 0.0], [a, c + 0.8 * a + b, 0.0]]), np.full((2, 3), 1e-3)

    slopes = np.array([[1.0, 0, 0], [0, 0, 0], [0, 1, 0]])  # (R, K)
    best = refine_direction(np.array([1.0, 0, 0]), slopes, 0, [1, 2], 0.0, changes)
    before, after = (np.abs(changes(white)[0][:, 1]).max() for white in (np.array([1.0, 0, 0]), best))
    assert after < 0.6 * before


def test_fit_directions__refuses_codes_without_variance(
    layers: Pipeline, reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    studied = sample_attributes(layers, lone(reader), 300, per_layer=True)
    studied.fitted_values[:] = np.sin(np.arange(300.0))[:, None]  # varies
    monkeypatch.setattr(
        supervised_directions, "least_squares_slopes", lambda white, *_: np.zeros((white.shape[1], 1))
    )
    with pytest.raises(ValueError, match=r"^no step changes 'top'$"):
        fit_directions(layers, lone(reader), studied)
    with pytest.raises(ValueError, match=r"^no step of the layers 1, 2 alone changes 'top'$"):
        fit_directions(layers, lone(reader), studied, layers=[1, 2])


def test_sample_attributes__refuses_equal_styles(
    labeled_bands: Pipeline, reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        type(labeled_bands.model),
        "styles",
        lambda self, noise, condition, controls: (condition.labels[:, None, None] + 0.1).expand(-1, 3, 2),
    )
    with pytest.raises(ValueError, match="all styles are alike"):
        sample_attributes(labeled_bands, reader, 200)
