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


def model_of(family: str, conditional: bool = False, **config) -> Pipeline:
    kind = load_model_class(family)
    torch.manual_seed(0)
    return Pipeline(kind(kind.Config(**config), ImageSpec(1, 16, 10 if conditional else 0)))


def test_sweep__scores_each_value_on_the_same_seeds(digits: Dataset) -> None:
    model = model_of("vae", latent=4, width=2)
    found = sweep(model, [0, 2.5], seeds=[7, 8, 9], samples=64, features=random_conv(16), data=digits)
    assert found.images.shape == (2, 3, 16, 16, 1)
    assert (found.images[0] == found.images[0, :1]).all()  # at truncation 0 there is one picture
    assert (found.images[1] == model.sample([7, 8, 9], truncation=2.5)).all()
    none, much = found.scores.points
    assert none.vendi == pytest.approx(1, abs=1e-3) and much.vendi > none.vendi
    assert none.score("recall").value == 0
    assert {s.card.controls["truncation"] for s in much.scores} == {2.5}
    assert none.score("FID").card.data == digits.fingerprint
    assert found.scores.vendi_real > much.vendi
    fid, vendi = much.score("FID"), f"Vendi[random-conv] {much.vendi:.1f}"
    told = f"FID[random-conv] {fid.value:.3g} ({fid.low:.3g} to {fid.high:.3g})"
    assert row_labels(found.scores)[1].startswith(f"truncation 2.5, {vendi}\n{told}\nprecision[random-conv] ")
    said = summary_lines(found.scores)
    assert said[5:7] == ["truncation 2.5", f"  {told}"] and said[9] == f"  {vendi}"
    assert said[10].startswith("64 samples against 346 real") and "95 % intervals by" in said[10]
    drawn = chart(found.scores)
    assert drawn.startswith("<svg") and drawn.count("<path") == 3 and "recall[random-conv]" in drawn


def test_sweep__integer_controls(digits: Dataset) -> None:
    with pytest.raises(ValueError, match=r"no control 'truncation'\. There are"):
        sweep(model_of("diffusion", channels=(8, 8), blocks_per_level=1), [1], data=digits)
    with pytest.raises(ValueError, match="steps"):
        sweep(model_of("diffusion", channels=(8, 8), blocks_per_level=1), [2.5], control="steps", data=digits)


def test_sweep__labels_are_of_the_kept_images(digits: Dataset) -> None:
    model = model_of("dcgan", latent=4, width=2, conditional=True)
    asked = {"samples": 20, "features": random_conv(16), "data": digits}
    found = sweep(model, [0.5, 1], seeds=iter([7, 8]), labels=[3], **asked)
    for shown, value in zip(found.images, (0.5, 1), strict=True):
        assert (shown == model.sample([7, 8], [3], truncation=value)).all()
    assert not (found.images[1] == model.sample([7, 8])).all()
    assert found.scores == sweep(model, [0.5, 1], **asked).scores


def test_sweep__checks_labels_first() -> None:
    model = model_of("vae", latent=4, width=2)  # of no run: its data would be asked for
    with pytest.raises(ValueError, match="was trained without labels"):
        sweep(model, [1], labels=[3])


@pytest.mark.parametrize(
    ("values", "samples", "told"),
    [([], 64, "needs a value"), ([-1.0], 64, "truncation"), ([1.0], 19, "at least 20")],
)
def test_sweep__refuses_bad_values(digits: Dataset, values, samples: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        sweep(model_of("vae", latent=4, width=2), values, samples=samples, data=digits)
