from __future__ import annotations

import pytest
import torch

from triptych.core.types import ImageSpec
from triptych.data.dataset import Dataset
from triptych.data.load import load
from triptych.inference.pipeline import Pipeline
from triptych.latent.sweep import chart, row_labels, summary_lines, sweep
from triptych.metrics.extractors.random_conv import random_conv
from triptych.models.registry import load_model_class


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def model_of(name: str, conditional: bool = False, **config) -> Pipeline:
    model_class = load_model_class(name)
    torch.manual_seed(0)
    return Pipeline(model_class(model_class.Config(**config), ImageSpec(1, 16, 10 if conditional else 0)))


def test_sweep__scores_each_value_on_the_same_seeds(digits: Dataset) -> None:
    model = model_of("vae", latent=4, width=2)
    result = sweep(model, [0, 2.5], seeds=[7, 8, 9], samples=64, features=random_conv(16), data=digits)
    assert result.images.shape == (2, 3, 16, 16, 1)
    assert (result.images[0] == result.images[0, :1]).all()  # at truncation 0 there is one image
    assert (result.images[1] == model.sample([7, 8, 9], truncation=2.5)).all()
    none, much = result.scores.points
    assert none.vendi == pytest.approx(1, abs=1e-3) and much.vendi > none.vendi
    assert none.score("recall").value == 0
    assert {s.card.controls["truncation"] for s in much.scores} == {2.5}
    assert none.score("FID").card.data == digits.fingerprint
    assert result.scores.vendi_real > much.vendi
    fid, vendi = much.score("FID"), f"Vendi[random-conv] {much.vendi:.1f}"
    fid_text = f"FID[random-conv] {fid.value:.3g} ({fid.low:.3g} to {fid.high:.3g})"
    assert row_labels(result.scores)[1].startswith(
        f"truncation 2.5, {vendi}\n{fid_text}\nprecision[random-conv] "
    )
    lines = summary_lines(result.scores)
    assert lines[5:7] == ["truncation 2.5", f"  {fid_text}"] and lines[9] == f"  {vendi}"
    assert lines[10].startswith("64 samples against 346 real") and "95% intervals by" in lines[10]
    drawn = chart(result.scores)
    assert drawn.startswith("<svg") and drawn.count("<path") == 3 and "recall[random-conv]" in drawn


def test_sweep__integer_controls(digits: Dataset) -> None:
    with pytest.raises(ValueError, match=r"no control 'truncation'\. There are"):
        sweep(model_of("diffusion", channels=(8, 8), blocks_per_level=1), [1], data=digits)
    with pytest.raises(ValueError, match="steps"):
        sweep(model_of("diffusion", channels=(8, 8), blocks_per_level=1), [2.5], control="steps", data=digits)


def test_sweep__labels_are_of_the_kept_images(digits: Dataset) -> None:
    model = model_of("dcgan", latent=4, width=2, conditional=True)
    settings = {"samples": 20, "features": random_conv(16), "data": digits}
    result = sweep(model, [0.5, 1], seeds=iter([7, 8]), labels=[3], **settings)
    for images, value in zip(result.images, (0.5, 1), strict=True):
        assert (images == model.sample([7, 8], [3], truncation=value)).all()
    assert not (result.images[1] == model.sample([7, 8])).all()
    assert result.scores == sweep(model, [0.5, 1], **settings).scores


def test_sweep__checks_labels_first() -> None:
    model = model_of("vae", latent=4, width=2)  # of no run: its data would be required
    with pytest.raises(ValueError, match="was trained without labels"):
        sweep(model, [1], labels=[3])


@pytest.mark.parametrize(
    ("values", "samples", "message"),
    [([], 64, "needs a value"), ([-1.0], 64, "truncation"), ([1.0], 19, "at least 20")],
)
def test_sweep__refuses_bad_values(digits: Dataset, values, samples: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(model_of("vae", latent=4, width=2), values, samples=samples, data=digits)
