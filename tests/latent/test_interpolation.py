from __future__ import annotations

import numpy as np
import pytest
import torch

from triptych.inference.pipeline import Pipeline
from triptych.latent.interpolation import interpolate, interpolate_codes, latent_map


def test_interpolate_codes__midpoints() -> None:
    stops = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(interpolate_codes(stops, 3, "slerp")[1], torch.tensor([0.5**0.5, 0.5**0.5]))
    torch.testing.assert_close(interpolate_codes(stops, 3, "lerp")[1], torch.tensor([0.5, 0.5]))


def test_interpolate_codes__slerp_keeps_the_norm() -> None:
    ends = torch.nn.functional.normalize(torch.randn(2, 50), dim=1) * 50**0.5
    arc, line = (interpolate_codes(ends, 7, how).norm(dim=1) for how in ("slerp", "lerp"))
    torch.testing.assert_close(arc, torch.full((7,), 50**0.5))
    assert line[3] < 0.9 * 50**0.5


def test_interpolate_codes__passes_all_stops() -> None:
    stops = torch.randn(3, 2, 4000)
    path = interpolate_codes(stops, 5, "slerp")
    assert path.shape == (9, 2, 4000)
    assert torch.equal(path[::4], stops)


def test_interpolate__ends_are_the_samples_of_the_seeds(bands: Pipeline) -> None:
    images = interpolate(bands, [[3, 4], [5, 6]], frames=4)
    assert images.shape == (2, 4, 6, 6, 1) and images.dtype == np.uint8
    np.testing.assert_array_equal(images[:, 0], bands.sample([3, 5]))
    np.testing.assert_array_equal(images[:, -1], bands.sample([4, 6]))


def test_interpolate__styles_are_linear(layers: Pipeline) -> None:
    images = interpolate(layers, [[3, 4]], frames=3, space="style").astype(int)
    assert np.abs(2 * images[0, 1] - images[0, 0] - images[0, 2]).max() <= 2
    with pytest.raises(ValueError, match="which styles do not have: use --method lerp"):
        interpolate(layers, [[3, 4]], method="slerp", space="style")


def test_interpolate__a_row_of_noise_keeps_its_class(conditional_dcgan: Pipeline) -> None:
    images = interpolate(conditional_dcgan, [[1, 2], [3, 4]], 3, labels=[0, 2])
    np.testing.assert_array_equal(images[1, -1], conditional_dcgan.sample([4], [2])[0])
    np.testing.assert_array_equal(images[0, -1], conditional_dcgan.sample([2], [0])[0])
    own = interpolate(conditional_dcgan, [[1, 2]], 3)
    kept = conditional_dcgan.labels_for([1])
    np.testing.assert_array_equal(own[0, -1], conditional_dcgan.sample([2], kept)[0])
    with pytest.raises(ValueError, match="noise has no class, so a row of noise keeps one label"):
        interpolate(conditional_dcgan, [[1, 2]], labels=[[0, 1]])
    with pytest.raises(ValueError, match="one per row"):
        interpolate(conditional_dcgan, [[1, 2], [3, 4]], labels=[0, 1, 2])


@pytest.mark.parametrize(
    ("paths", "frames", "how", "message"),
    [
        ([[1, 2], [3]], 4, None, "the same number of seeds"),
        ([[1]], 4, None, "two or more"),
        ([[1, 2]], 1, None, "two frames or more"),
        ([[1, 2]], 4, "spline", "'slerp' .* or 'lerp'"),
    ],
)
def test_interpolate__refuses_bad_paths_and_methods(
    bands: Pipeline, paths, frames: int, how, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        interpolate(bands, paths, frames, how)


def test_interpolate__refuses_a_missing_space(bands: Pipeline) -> None:
    with pytest.raises(ValueError, match="Bands has no style space between noise and image"):
        interpolate(bands, [[1, 2]], space="style")
    with pytest.raises(ValueError, match="'noise' or 'style'"):
        interpolate(bands, [[1, 2]], space="w")


def test_latent_map__uses_normal_quantiles(flat: Pipeline) -> None:
    images = latent_map(flat, 3)
    assert images.shape == (3, 3, 8, 8, 1)
    third = 0.9674216  # the 5/6 quantile
    expected = flat.generate(torch.tensor([[third, third], [-third, -third], [0.0, 0.0]]))
    np.testing.assert_array_equal(np.stack([images[0, 2], images[2, 0], images[1, 1]]), expected)
    assert not np.array_equal(images[0, 2], images[2, 0])


def test_latent_map__needs_two_dimensions(bands: Pipeline, flat: Pipeline) -> None:
    with pytest.raises(ValueError, match="this Bands's has 6 dimensions: train one with --latent 2"):
        latent_map(bands)
    with pytest.raises(ValueError, match="at least 2 images across"):
        latent_map(flat, 1)


def test_latent_map__of_two_dimensions_of_a_larger_noise(bands: Pipeline) -> None:
    images = latent_map(bands, 3, dimensions=(4, 1))
    place = 0.9674216
    expected = bands.generate(torch.tensor([[0, place, 0, 0, -place, 0]]))
    np.testing.assert_array_equal(images[0, 0], expected[0])
    for wrong in ((1, 1), (0, 6)):
        with pytest.raises(ValueError, match="two different numbers of 0-5"):
            latent_map(bands, 3, dimensions=wrong)
