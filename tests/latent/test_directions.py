from __future__ import annotations

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Bands, Layers
from safetensors.torch import save_file

from triptych.core.errors import UsageError
from triptych.core.types import ImageSpec
from triptych.inference.pipeline import Pipeline
from triptych.latent import directions
from triptych.latent.directions import (
    check_matches,
    closed_form_directions,
    coordinate_directions,
    latent_distribution,
    load,
    make_direction,
    noise_weight_matrix,
    save,
    select_directions,
)
from triptych.models.registry import load_model_class


def model_of(name: str, **config) -> Pipeline:
    model_class = load_model_class(name)
    torch.manual_seed(0)
    return Pipeline(model_class(model_class.Config(**config), ImageSpec(1, 8)))


def test_directions_are_loaded_as_they_were_saved(bands: Pipeline, tmp_path: Path) -> None:
    kept = coordinate_directions(bands, [0, 5])
    kept[0] = make_direction(bands, "a=b", "noise", "by hand", torch.randn(6), effects={"top": 0.5})
    save(tmp_path / "x.safetensors", kept)
    loaded = load(tmp_path / "x.safetensors")
    assert [d.info for d in loaded] == [d.info for d in kept]
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(loaded, kept, strict=True))
    for direction in loaded:
        check_matches(direction, bands)


def test_a_direction_belongs_to_one_set_of_weights(bands: Pipeline, layers: Pipeline) -> None:
    direction = coordinate_directions(bands, [0])[0]
    other = Bands()
    with torch.no_grad():
        other.mixing += 1e-3
    with pytest.raises(ValueError, match="a direction has a meaning for one set of weights only"):
        check_matches(direction, Pipeline(other))
    with pytest.raises(ValueError, match=r"has the shape \(3, 2\), this model's noise \(6,\)"):
        check_matches(make_direction(bands, "x", "noise", "by hand", torch.zeros(3, 2)), bands)
    with pytest.raises(ValueError, match="no style space"):
        check_matches(coordinate_directions(layers, [0], "style")[0], bands)


def test_one_unit_is_a_standard_deviation_of_the_codes(layers: Pipeline) -> None:
    assert coordinate_directions(layers, [4])[0].vector.tolist() == [0, 0, 0, 0, 1, 0]
    half = coordinate_directions(layers, [1], "style", [0, 2])[0].vector
    np.testing.assert_allclose(half[:, 1], [0.5, 0, 0.5], rtol=0.1)
    assert half[:, 0].eq(0).all()


class Truncated(Layers):
    """Layers whose `scale` truncates before the images are painted."""

    def styles(self, noise: torch.Tensor, condition: Any, controls: Any) -> torch.Tensor:
        return controls.scale * super().styles(noise, condition, controls)


def test_a_unit_depends_on_truncation() -> None:
    model = Pipeline(Truncated())  # type: ignore[arg-type]
    for method in (coordinate_directions, partial(closed_form_directions, count=2)):
        whole, half = (method(model, space="style", scale=scale)[0].vector for scale in (1.0, 0.5))
        torch.testing.assert_close(half, whole / 2)


def test_weights_are_moved_to_the_cpu_before_float64(flat: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnApple:
        """A matrix on a GPU that knows no float64."""

        shape = (4, 2)

        def cpu(self) -> torch.Tensor:
            return torch.tensor([[1.0, 0.0], [0.0, 3.0]] * 2)

        def double(self) -> torch.Tensor:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    monkeypatch.setattr(directions, "noise_weight_matrix", lambda model: OnApple())
    assert closed_form_directions(flat, 1)[0].vector.tolist() == [0, 1]


def test_closed_form_directions_of_styles(layers: Pipeline) -> None:
    first, second = closed_form_directions(layers, 2)
    assert first.info.space == "style" and first.name == "closed form 1"
    np.testing.assert_allclose(first.vector, [[1, 0]] * 3, atol=0.1)
    np.testing.assert_allclose(second.vector, [[0, 0.5]] * 3, atol=0.05)
    assert closed_form_directions(layers, 1, layers=[1])[0].vector[[0, 2]].eq(0).all()


def test_the_first_layer_weight_of_dcgan_is_its_first_layer_as_it_draws() -> None:
    model = model_of("dcgan", latent=5, width=2)
    stamp, norm = model.model.generator[0], model.model.generator[1]
    with torch.no_grad():
        norm.running_var.uniform_(0.5, 2)
        norm.weight.uniform_(0.5, 2)
        noise, zero = torch.randn(3, 5), torch.zeros(3, 5)
        met = [norm(stamp(codes[:, :, None, None])).flatten(1) for codes in (noise, zero)]
        torch.testing.assert_close(noise @ noise_weight_matrix(model).T, met[0] - met[1])


def test_the_first_layer_weight_leaves_the_label_out(conditional_dcgan: Pipeline) -> None:
    assert noise_weight_matrix(conditional_dcgan).shape[1] == 4


def test_the_first_layer_weight_of_a_textbook_vae(flat: Pipeline) -> None:
    noise = torch.randn(3, 2)
    with torch.no_grad():
        met = flat.model.decoder[0](noise) - flat.model.decoder[0](torch.zeros(3, 2))
    torch.testing.assert_close(noise @ noise_weight_matrix(flat).T, met)
    assert [d.vector.norm() for d in closed_form_directions(flat, 2)] == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("name", "why"), [("diffusion", ":"), ("vae", " with the settings that it was trained with:")]
)
def test_noise_weight_matrix__refuses_models_without_one(name: str, why: str) -> None:
    with pytest.raises(
        ValueError, match=rf"no single matrix takes the noise of this \w+{why}.*dcgan.*--method labels"
    ):
        closed_form_directions(model_of(name))


def test_noise_weight_matrix__explains_points_and_styles(layers: Pipeline) -> None:
    model_class = load_model_class("dcgan")
    points = Pipeline(model_class(model_class.Config(latent=4, width=2), ImageSpec(2, 1, 3)))
    with pytest.raises(ValueError, match="this DCGAN draws 2-D points, and no single matrix") as refused:
        closed_form_directions(points)
    assert "Families" not in str(refused.value)
    layers.model.first_layer_weight = lambda: None
    with pytest.raises(ValueError, match="the weights that take its styles: --space style"):
        closed_form_directions(layers, space="noise")


def test_latent_distribution__of_noise_is_standard_normal(bands: Pipeline) -> None:
    np.testing.assert_array_equal(latent_distribution(bands, "noise").factor, np.eye(6))


def test_directions__bad_dimensions_counts_and_names(bands: Pipeline) -> None:
    with pytest.raises(ValueError, match=r"dimensions 0-5, got \[6\]"):
        coordinate_directions(bands, [6])
    with pytest.raises(ValueError, match="1-2 closed-form directions, got --count 3"):
        closed_form_directions(
            Pipeline(
                load_model_class("vae")(
                    load_model_class("vae").Config(latent=2, width=2, prior="normal"), ImageSpec(1, 8)
                )
            ),
            3,
        )
    directions = coordinate_directions(bands, [0, 1])
    assert (
        select_directions(directions, "coordinate 1") == [directions[1]]
        and select_directions(directions, None) == directions
    )
    with pytest.raises(ValueError, match="Did you mean coordinate 1\\?"):
        select_directions(directions, "coordinat 1")


def test_load__refuses_other_files(bands: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make one with triptych steer RUN directions"):
        load(tmp_path / "none.safetensors")
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match="not a file of directions"):
        load(bad)
    save_file({"0": torch.zeros(3)}, bad)
    with pytest.raises(ValueError, match="no format that this version knows"):
        load(bad)
    save_file(
        {"0": torch.zeros(3)}, bad, metadata={"triptych": json.dumps({"format": 1, "directions": [{}]})}
    )
    with pytest.raises(ValueError, match="not a file of directions"):
        load(bad)
    save(bad, [make_direction(bands, "x", "noise", "by hand", torch.full((6,), torch.nan))])
    with pytest.raises(ValueError, match="not finite"):
        load(bad)
    with pytest.raises(ValueError, match=r"written to a \.safetensors file"):
        save(tmp_path / "x.json", [])
    (tmp_path / "g.png").touch()
    with pytest.raises(ValueError, match=r"g\.png is no file of directions.*--save directions\.safetensors"):
        load(f"{tmp_path / 'g.png'}:x")
    with pytest.raises(
        ValueError, match=r"no file of directions at .*h\.png:x.*--save directions\.safetensors"
    ):
        load(f"{tmp_path / 'h.png'}:x")


def test_a_file_of_directions_has_the_usual_mode(bands: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    save(tmp_path / "x.safetensors", coordinate_directions(bands, [0]))
    assert (tmp_path / "x.safetensors").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_save__refuses_what_cannot_be_written(
    bands: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directions = coordinate_directions(bands, [0])
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is a file, and a folder is needed there"):
        save(tmp_path / "file" / "x.safetensors", directions)

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(self), None, str(target))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(
        OSError, match=r"^the directions could not be written to .*: No space left on device$"
    ):
        save(tmp_path / "x.safetensors", directions)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
