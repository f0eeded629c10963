"""Compares the raw weights of a training with their EMA on held-out images, to sample from the better.

An average over the last tenth of a run is better than its last weights late in a long run, and far worse
early in a GAN's, while the generator still changes fast. Neither is known beforehand, so both are measured,
from the same noise, on the half of the test images that choices are made by (`held_out`):

- An adversarial model by the Frechet distance of features: with weak features it separates the two with fewer
  samples than KID does, and its bias at few samples is that of both. The extractor is a classifier of the
  source's classes, trained on an eighth as many images as the training sees; without labels, and in a very
  short run, the fixed random network. It does not depend on what is cached: the same command makes the same
  choice.
- Any other model by its own loss: one pass for each image, however slow its sampler.

The training itself is not touched: a copy of the model is loaded with each of the two, and all draws are
functions of fixed seeds.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from triptych.core import rng
from triptych.core.images import is_points, to_float
from triptych.core.objectives import StepContext
from triptych.core.threads import one_thread
from triptych.core.types import Batch
from triptych.evaluation.classifier import BATCH as CLASSIFIER_BATCH
from triptych.evaluation.classifier import fit_classifier
from triptych.evaluation.known_mode_classifiers import RingClassifier
from triptych.evaluation.scoring import subset_rows
from triptych.inference.pipeline import SAMPLING_BATCH
from triptych.metrics.extractors.base import Extractor, NetworkExtractor
from triptych.metrics.extractors.domain_cnn import DomainCNN
from triptych.metrics.extractors.random_conv import random_conv
from triptych.metrics.fid import fid_leave_groups_out
from triptych.metrics.stats.intervals import MIN_IMAGES, groups_for, jackknife_interval
from triptych.metrics.stats.quantiles import t_quantile
from triptych.metrics.stats.resampling import split_groups
from triptych.runs.weights import Comparison, Which

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset, Split
    from triptych.inference.pipeline import Pipeline
    from triptych.training.trainer import Trainer

log = logging.getLogger(__name__)

SplitName = Literal["test", "selection", "report"]
FIRST_SEED = 3_000_000  # of the samples: far from those of the sample grids and those that are scored
SAMPLES = (128, 1024)  # drawn from each, at least and at most: ...
SAMPLES_SHARE = 64  # ... one for so many images trained on, about a hundredth of the training's work
LOSSES = (64, 1024)  # images whose loss is taken, at least and at most, ...
LOSSES_SHARE = 32
LOSS_BATCH = 16  # the unit of the paired interval
MOST_REAL = 1024  # held-out images that samples are compared with
CLASSIFIER_SHARE = 8  # the classifier sees one image for so many of the whole training, ...
CLASSIFIER_STEPS = (25, 400)  # ... and is not worth while with fewer steps


def held_out(test: int, split: SplitName) -> np.ndarray:
    """Rows of the test images, or of one of two fixed halves that share none.

    Args:
        test: how many test images there are.
        split: "test", "selection" or "report".

    Returns:
        Row numbers, ascending, (N,).
    """
    if split == "test":
        return np.arange(test)
    order = np.random.default_rng(0).permutation(test)
    return np.sort(order[: test // 2] if split == "selection" else order[test // 2 :])


class Selector:
    """Compares raw weights and EMA of one training, once a step at most."""

    def __init__(
        self, trainer: Trainer, pipeline: Pipeline, dataset: Dataset, last: Comparison | None = None
    ) -> None:
        """Prepare; nothing is computed yet.

        Args:
            trainer: the training whose weights are compared.
            pipeline: with a copy of the model, into which each of the two is loaded.
            dataset: the source.
            last: the newest comparison on the course of this training; None: there is none yet.
        """
        self.trainer, self.pipeline, self.dataset = trainer, pipeline, dataset
        self.last = last
        self._reference_features: tuple[Extractor, np.ndarray, str] | None = None

    def compare(self) -> Which:
        """Compare both as they are after this step; returns which are better to sample from.

        Too few images, and a loss of the user's own that cannot be taken of weights that do not learn,
        leave no comparison: the training must not fail for it.
        """
        if self.last is not None and self.last.step == self.trainer.step:
            return self.last.selected
        try:
            self.last = self._by_samples() if self.trainer.model.adversarial else self._by_loss()
        except (RuntimeError, ValueError) as error:
            log.warning("raw and EMA weights could not be compared (%s): the raw ones are used", error)
            self.last = None
        return "raw" if self.last is None else self.last.selected

    def load(self, which: Which) -> Pipeline:
        """The model with these weights of the training as it is now."""
        ema_weights = self.trainer.ema.tensors if which == "ema" else {}
        self.pipeline.model.load_state_dict({**self.trainer.model.state_dict(), **ema_weights})
        self.pipeline.weights = which
        return self.pipeline

    def _by_samples(self) -> Comparison:
        began = time.perf_counter()
        with one_thread():  # equal features then, whatever else the machine does
            extractor, real, split = self._features()
            count = between(self._training_images() // SAMPLES_SHARE, *SAMPLES)
            raw, ema = (extractor(draw(self.load(which), count)) for which in ("raw", "ema"))
            scores, difference, reach = frechet_pair(real, raw, ema)
        return self._comparison(
            "FD", scores, difference, reach, began, n=count, n_real=len(real), split=split,
            features=extractor.name, features_hash=extractor.hash,
        )  # fmt: skip

    def _by_loss(self) -> Comparison:
        began = time.perf_counter()
        split, rows, where = self._reference(2)
        rows = rows[subset_rows(len(rows), between(self._training_images() // LOSSES_SHARE, *LOSSES))]
        device = self.trainer.device
        raw, ema = (losses(self.load(which), split, rows, device) for which in ("raw", "ema"))  # (units,)
        gaps = raw - ema
        reach = float(t_quantile(len(gaps) - 1, 0.95) * gaps.std(ddof=1) / len(gaps) ** 0.5)
        name = f"{self.trainer.objectives[0].name}/loss"
        both = float(raw.mean()), float(ema.mean())
        count = len(rows)
        return self._comparison(
            name, both, float(gaps.mean()), reach, began, n=count, n_real=count, split=where
        )

    def _comparison(
        self,
        metric: str,
        scores: tuple[float, float],
        difference: float,
        reach: float,
        began: float,
        **more: Any,
    ) -> Comparison:
        """The raw weights if the whole interval favors them or the EMA's score is not finite, else EMA."""
        better = difference + reach < 0 or not np.isfinite(scores[1])
        return Comparison(
            step=self.trainer.step,
            selected="raw" if better and np.isfinite(scores[0]) else "ema",
            metric=metric,
            raw=scores[0],
            ema=scores[1],
            difference=difference,
            low=difference - reach,
            high=difference + reach,
            seconds=round(time.perf_counter() - began, 4),
            **more,
        )

    def _training_images(self) -> int:
        return self.trainer.step * self.trainer.options.batch

    def _reference(self, least: int) -> tuple[Split, np.ndarray, str]:
        """The selection half; where it holds fewer than `least` images, the training images.

        Raises ValueError where these are too few as well.
        """
        rows = held_out(len(self.dataset.test), "selection")
        if len(rows) >= least:
            return self.dataset.test, rows, "selection half of test"
        if len(self.dataset.train) < least:
            raise ValueError(f"{len(self.dataset.train)} training images, and at least {least} are needed")
        return self.dataset.train, np.arange(len(self.dataset.train)), "train"

    def _features(self) -> tuple[Extractor, np.ndarray, str]:
        """The feature extractor, those of held-out images, (N, D), and where these come from: made once."""
        if self._reference_features is None:
            extractor = quick_extractor(self.dataset, self.trainer.plan.steps * self.trainer.options.batch)
            split, rows, where = self._reference(MIN_IMAGES)
            rows = rows[subset_rows(len(rows), MOST_REAL)]
            self._reference_features = extractor, extractor(np.asarray(split.pixels[rows])), where
        return self._reference_features


def between(number: int, least: int, most: int) -> int:
    """`number`, but not below `least` nor above `most`.

    Args:
        number: to be limited.
        least: lower limit.
        most: upper limit.

    Returns:
        The limited number.
    """
    return min(max(number, least), most)


def quick_extractor(dataset: Dataset, planned: int) -> Extractor:
    """Features that cost little beside the training: a quick classifier, the random network, or coordinates.

    Args:
        dataset: the source.
        planned: images that the whole training sees.

    Returns:
        The extractor.
    """
    pixels, labels, spec = dataset.train.pixels, dataset.train.labels, dataset.spec
    if is_points(pixels):
        return RingClassifier()
    steps = min(planned // (CLASSIFIER_SHARE * CLASSIFIER_BATCH), CLASSIFIER_STEPS[1])
    if labels is None or spec.classes < 2 or steps < CLASSIFIER_STEPS[0]:
        return random_conv(spec.size)
    with torch.random.fork_rng(devices=[]):  # layers draw their first weights from the global stream
        torch.manual_seed(rng.mix("selection", spec.size, spec.channels, spec.classes))
        network = DomainCNN(spec.channels, spec.size, spec.classes, 64)
    source = rng.generator("selection", len(pixels))
    trained = fit_classifier(network, pixels, np.array(labels, dtype=np.int64), steps, source)
    return NetworkExtractor(trained, f"quick-cnn-{steps}", spec.size)


def draw(model: Pipeline, count: int) -> np.ndarray:
    """Samples at fixed seeds by the model's default controls.

    Args:
        model: the model.
        count: how many.

    Returns:
        (count, H, W, C) uint8.
    """
    starts = range(FIRST_SEED, FIRST_SEED + count, SAMPLING_BATCH)
    return np.concatenate([model.sample(range(k, k + SAMPLING_BATCH)) for k in starts])[:count]


def frechet_pair(
    real: np.ndarray, raw: np.ndarray, ema: np.ndarray
) -> tuple[tuple[float, float], float, float]:
    """Both Frechet distances, their difference, and the half-width of its 95% interval.

    Args:
        real: features of held-out images, (N, D).
        raw: features of samples of the raw weights, (M, D).
        ema: features of samples of the EMA from the same noise, (M, D).

    Returns:
        ((distance of raw, distance of EMA), raw minus EMA, half-width).
    """
    count = groups_for(min(len(real), len(raw)))
    left_out = [(), *((g,) for g in range(count))]
    reals = split_groups(real.astype(np.float64), count, seed=0)
    # dealt with one seed: samples of the same noise are left out together, so what both share cancels
    distances = [
        fid_leave_groups_out(reals, split_groups(x.astype(np.float64), count, seed=1), left_out)
        for x in (raw, ema)
    ]
    gaps = np.array(distances[0]) - np.array(distances[1])
    estimate = jackknife_interval(float(gaps[0]), gaps[1:].tolist())
    return (distances[0][0], distances[1][0]), estimate.value, estimate.high - estimate.value


def losses(model: Pipeline, split: Split, rows: np.ndarray, device: torch.device) -> np.ndarray:
    """The first objective's loss of batches of held-out images, under the noise of fixed seeds.

    Images are used again under other noise where there are fewer than `LOSSES[0]`.

    Args:
        model: the model.
        split: holds the images.
        rows: which images, (N,).
        device: of the model.

    Returns:
        One loss a batch, (units,).
    """
    objective = model.model.objectives()[0]
    again = -(-LOSSES[0] // len(rows))
    order = np.tile(rows, again)
    size = max(1, min(LOSS_BATCH, len(order) // 4))
    values = []
    for number, start in enumerate(range(0, len(order) - size + 1, size)):
        part = order[start : start + size]
        batch = batch_of(split, np.asarray(part)).to(device)
        context = StepContext(rng.mix("selection", 0), number, 1.0, frozenset((objective.name,)), batch)
        values.append(float(objective.loss(batch, context)[0]))
    return np.array(values)


def batch_of(split: Split, rows: np.ndarray) -> Batch:
    """Images as a training batch.

    Args:
        split: holds the images.
        rows: which images, (B,).

    Returns:
        The batch, on the CPU.
    """
    labels: Tensor | None = None if split.labels is None else torch.from_numpy(np.asarray(split.labels)[rows])
    captions = None if split.captions is None else tuple(split.captions[int(k)] for k in rows)
    images = to_float(np.stack([np.asarray(split.pixels[int(k)]) for k in rows]))  # (B, C, H, W)
    return Batch(images, labels, captions, torch.arange(len(rows)), len(rows))
