from __future__ import annotations

import numpy as np
import pytest
import torch

from triptych.inference.pipeline import Pipeline
from triptych.latent.style_mixing import mix, mix_styles, parse_layers


@pytest.mark.parametrize(
    ("name", "layers_chosen"),
    [
        ("coarse", [0, 1]),
        ("middle", [2, 3]),
        ("fine", [4, 5, 6]),
        ("all", list(range(7))),
        ("0-2,5", [0, 1, 2, 5]),
    ],
)
def test_parse_layers__names_and_ranges(name: str, layers_chosen: list[int]) -> None:
    assert parse_layers(name, 7) == layers_chosen


@pytest.mark.parametrize(
    ("name", "message"), [("course", "coarse, middle, fine"), ("3-7", "layers are 0-6"), ("", "numbers like")]
)
def test_parse_layers__refuses_missing_layers(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_layers(name, 7)


def test_mix_styles__replaces_the_chosen_layers() -> None:
    base, donor = torch.zeros(4, 3, 2), torch.ones(4, 3, 2)
    mixed = mix_styles(base, donor, [1])
    assert mixed[:, 1].eq(1).all() and mixed[:, [0, 2]].eq(0).all()
    assert base.eq(0).all()


def test_mix__changes_the_chosen_layers_only(layers: Pipeline) -> None:
    grid, donors, bases = mix(layers, [1, 2], [3, 4, 5], "middle")
    assert grid.shape == (2, 3, 6, 6, 1) and donors.shape[0] == 2 and bases.shape[0] == 3
    for row in range(2):
        for column in range(3):
            expected = bases[column].copy()
            expected[2:4] = donors[row, 2:4]  # the middle band
            np.testing.assert_array_equal(grid[row, column], expected)


def test_mix__all_layers_give_the_donor(layers: Pipeline) -> None:
    grid, donors, _ = mix(layers, [1, 2], [3], "all")
    np.testing.assert_array_equal(grid[:, 0], donors)


def test_mix__one_label_for_donors_and_bases(labeled_bands: Pipeline) -> None:
    grid, _, _ = mix(labeled_bands, [1, 2], [3, 4], labels=[2])
    assert grid.shape[:2] == (2, 2)
    with pytest.raises(ValueError, match="one label for all donors and bases, got 2"):
        mix(labeled_bands, [1, 2], [3, 4], labels=[2, 0])


def test_mix__refuses_runs_of_unlike_shape(layers: Pipeline, five_layers: Pipeline) -> None:
    with pytest.raises(
        ValueError, match=r"cannot be mixed: one has 3 layers of 2 for 6 px .*, the other 5 layers"
    ):
        mix(layers, [1], [2], donor_model=five_layers)
    grid, _, _ = mix(layers, [1], [2], donor_model=layers)
    np.testing.assert_array_equal(grid, mix(layers, [1], [2])[0])


def test_mix__refuses_a_model_without_styles(bands: Pipeline) -> None:
    with pytest.raises(ValueError, match="models that have one"):
        mix(bands, [1], [2])
