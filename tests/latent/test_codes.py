from __future__ import annotations

import numpy as np
import pytest
import torch

from triptych.inference.pipeline import Pipeline
from triptych.latent.codes import codes_at, model_hash, spaces_of, synthesize


def test_synthesize__gives_the_samples_of_the_seeds(
    bands: Pipeline, layers: Pipeline, conditional_dcgan: Pipeline
) -> None:
    np.testing.assert_array_equal(synthesize(bands, codes_at(bands, [3, 9])), bands.sample([3, 9]))
    np.testing.assert_array_equal(
        synthesize(conditional_dcgan, codes_at(conditional_dcgan, [3, 9])), conditional_dcgan.sample([3, 9])
    )
    styles = codes_at(layers, range(70), "style")
    assert styles.values.shape == (70, 3, 2) and not styles.values.is_inference()
    noise = codes_at(layers, range(70)).values
    torch.testing.assert_close(styles.values[:, 1, 0], noise[:, 0])
    assert (
        synthesize(layers, styles.select([0]), shade=0.0) == 128
    ).all()  # a control that acts after the styles
    assert spaces_of(layers) == ("noise", "style") and spaces_of(bands) == ("noise",)


def test_codes_select__keeps_seeds_and_labels(conditional_dcgan: Pipeline) -> None:
    codes = codes_at(conditional_dcgan, [3, 9, 5], labels=[0, 1, 2]).select([2, 0, 0])
    assert codes.seeds == (5, 3, 3) and codes.labels is not None and codes.labels.tolist() == [2, 0, 0]
    np.testing.assert_array_equal(
        synthesize(conditional_dcgan, codes)[1], conditional_dcgan.sample([3], [0])[0]
    )
    assert codes_at(conditional_dcgan, [3, 9], labels=[1]).labels.tolist() == [1, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize("labels", [[1, 2], [], [0] * 5])
def test_codes_at__the_number_of_labels_must_fit(conditional_dcgan: Pipeline, labels: list[int]) -> None:
    with pytest.raises(ValueError, match=f"one label, or one per code: got {len(labels)} labels for 4 codes"):
        codes_at(conditional_dcgan, range(4), labels=labels)


def test_codes_at__labels_of_an_unconditional_model_are_refused(bands: Pipeline) -> None:
    with pytest.raises(ValueError, match="was trained without labels: leave them out"):
        synthesize(bands, codes_at(bands, [1], labels=[0]))
    with pytest.raises(ValueError, match="at least one seed"):
        codes_at(bands, [])


def test_model_hash__is_of_the_weights_used_for_sampling(conditional_dcgan: Pipeline) -> None:
    before = model_hash(conditional_dcgan)
    with torch.no_grad():
        next(conditional_dcgan.model.discriminator.parameters()).add_(1)
    assert model_hash(conditional_dcgan) == before
    with torch.no_grad():
        next(conditional_dcgan.model.generator.parameters()).add_(1)
    assert model_hash(conditional_dcgan) != before
