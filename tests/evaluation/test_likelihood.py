"""The likelihood axis: a model's mean bits per dimension with an interval and a card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from triptych.core.bits_per_dim import nats_to_bits_per_dim
from triptych.core.config import Settings
from triptych.core.errors import UnlikeCardsError
from triptych.core.generative_model import GenerativeModel
from triptych.core.objectives import Objective
from triptych.core.types import Condition, GenerationStep, ImageSpec, LikelihoodQuery
from triptych.data.dataset import Dataset, Split
from triptych.evaluation.likelihood import likelihood_score
from triptych.inference.pipeline import Pipeline
from triptych.metrics.score import comparable
from triptych.models.dcgan import Dcgan, DcganConfig


class Nothing(Settings):
    pass


class Weigher(GenerativeModel[Nothing, Nothing]):
    """Returns as many bits as its first pixel is bright, and records its queries."""

    Config, Controls, title = Nothing, Nothing, "Weigher"
    likelihood_bounds = ("loose", "tight")

    def __init__(self, spec: ImageSpec, conditional: bool = False) -> None:
        super().__init__(Nothing(), spec)
        self.noise_shape, self.conditional = (1,), conditional
        self.place = torch.nn.Parameter(torch.zeros(()))
        self.queries: list[LikelihoodQuery] = []

    def objectives(self) -> list[Objective]:
        return []

    def generate(
        self, noise: Tensor, condition: Condition, controls: Nothing, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        raise NotImplementedError

    def bits_per_dim(self, query: LikelihoodQuery) -> Tensor:
        self.queries.append(query)
        nats = query.pixels[:, 0, 0, 0].double() * np.log(2)
        return nats_to_bits_per_dim(nats, query.pixels.shape[1:], query.box)


def source(count: int = 90, box: tuple[int, int, int, int] | None = None) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 1), dtype=np.uint8)
    split = Split(pixels, np.arange(count) % 3)
    return Dataset("s", "s", split, split, ("a", "b", "c"), content_box=box, fingerprint="f" * 64)


SPEC = ImageSpec(channels=1, size=4, classes=3)


def test_the_score_is_a_mean_with_students_interval() -> None:
    data = source()
    score = likelihood_score(Pipeline(Weigher(SPEC)), data)
    assert score is not None
    values = data.test.pixels[:, 0, 0, 0] / 16
    low, high = stats.t.interval(0.95, 89, values.mean(), stats.sem(values))
    assert (score.value, score.low, score.high) == pytest.approx((values.mean(), low, high))
    assert score.name == "bits/dim[loose]" and score.better == "lower" and score.floor is None
    card = score.card
    assert card.metric == "bits/dim" and card.data == "f" * 64 and card.split == "test"
    assert (card.n_real, card.n_fake, card.extractor) == (90, 0, "none")
    assert card.parameters == {
        "bound": "loose", "draws": 16, "dequantisation": "discretised", "counted": 16,
    }  # fmt: skip
    assert card.model == "Weigher" and card.labels == "none"


def test_a_subset_of_images_is_seeded_and_each_keeps_its_seed() -> None:
    data, model = source(), Weigher(SPEC)
    score = likelihood_score(Pipeline(model), data, n=70)
    assert score is not None and score.card.n_real == 70
    seeds = [seed for call in model.queries for seed in call.seeds][:70]
    assert seeds == sorted(set(seeds)) and max(seeds) > 70
    values = data.test.pixels[seeds, 0, 0, 0] / 16
    assert score.value == pytest.approx(values.mean())
    again = likelihood_score(Pipeline(Weigher(SPEC)), data, n=70)
    assert again is not None and again.value == score.value


def test_bound_draws_labels_and_box_are_passed_on() -> None:
    model, data = Weigher(SPEC, conditional=True), source(30, box=(1, 1, 3, 3))
    score = likelihood_score(Pipeline(model), data, bound="tight", draws=5)
    assert score is not None
    (call,) = model.queries
    assert call.bound == "tight" and call.draws == 5 and call.box == (1, 1, 3, 3)
    assert call.condition.labels.tolist() == [i % 3 for i in range(30)]
    assert score.card.parameters["counted"] == 4 and score.card.labels == "of the images"
    assert score.value == pytest.approx(data.test.pixels[:, 0, 0, 0].mean() / 4)


def test_two_bounds_are_not_compared() -> None:
    model, data = Pipeline(Weigher(SPEC)), source(30)
    loose, tight = (likelihood_score(model, data, bound=bound) for bound in ("loose", "tight"))
    assert loose is not None and tight is not None
    comparable(loose, loose)
    with pytest.raises(UnlikeCardsError, match="parameters differs"):
        comparable(loose, tight)


def test_an_implicit_model_has_no_score() -> None:
    model = Pipeline(Dcgan(DcganConfig(latent=4, width=2), ImageSpec(channels=1, size=16)))
    assert likelihood_score(model, source()) is None


def test_what_is_wrong_is_said() -> None:
    model, data = Pipeline(Weigher(SPEC)), source(30)
    pixels = data.test.pixels
    with pytest.raises(ValueError, match="at least 20 test images, got 12"):
        likelihood_score(model, data, n=12)
    with pytest.raises(ValueError, match="no bound 'vlb': there are loose, tight"):
        likelihood_score(model, data, bound="vlb")
    with pytest.raises(
        ValueError, match=r"bounds the likelihood of images \(N, \(4, 4, 1\)\) uint8, got \(30, 4, 4\)"
    ):
        model.bits_per_dim(pixels[..., 0])
    with pytest.raises(ValueError, match="2 seeds for 30 images"):
        model.bits_per_dim(pixels, seeds=[1, 2])
    with pytest.raises(ValueError, match="at least 1 draw, got 0"):
        model.bits_per_dim(pixels, draws=0)
    with pytest.raises(ValueError, match="leave them out"):
        model.bits_per_dim(pixels, labels=[0])
    with pytest.raises(ValueError, match="does not lie in an image of 4x4"):
        model.bits_per_dim(pixels, box=(0, 0, 5, 4))
    with pytest.raises(ValueError, match="uint8"):
        model.bits_per_dim(pixels.astype(np.float32))
