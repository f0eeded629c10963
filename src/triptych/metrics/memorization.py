"""Memorization: generated images closer to a training image than chance allows.

A model that only returned its training set would have perfect FID, precision and recall. Whether samples are
copies shows only in comparison with images of the same distribution that the model never saw. Distances are
exact (see `knn.distances`): the rounding error of |a|^2 + |b|^2 - 2 a.b is largest, relative to the distance,
for exactly the pairs that matter here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.knn.search import k_nearest
from triptych.metrics.metric import TRAINING_IMAGES, Better, Metric
from triptych.metrics.stats.binomial import Proportion, beta_binomial_tail
from triptych.metrics.stats.intervals import Estimate
from triptych.metrics.validation import checked_sets

VERSION = 1
ALPHA = 0.01  # proportion of held-out images below the threshold
SIGNIFICANCE = 0.01  # p-value below which a test is significant: 1 in 100 models without copies is flagged


@dataclass(frozen=True)
class NearDuplicates:
    """How many images lie below a distance threshold, and how many would if nothing was memorized."""

    share: Proportion
    """Proportion of images below the threshold."""
    expected: float
    """Proportion expected without memorization; less if distances tie."""
    threshold: float
    p_value: float
    """Probability of as many or more below the threshold without memorization, including the sampling error
    of the threshold."""
    indices: tuple[int, ...] = field(repr=False)
    """Numbers of the images below the threshold, the nearest first."""

    @property
    def significant(self) -> bool:
        """Whether p < 0.01."""
        return self.p_value < SIGNIFICANCE

    def __str__(self) -> str:
        share = self.share
        verdict = "significantly more" if self.significant else "not significantly more"
        return (
            f"{share.count} of {share.total} images ({share.value:.1%} [{share.low:.1%}, {share.high:.1%}]) "
            f"are nearer to a training image than the threshold; {self.expected:.1%} expected by chance: "
            f"{verdict} (p = {self.p_value:.2g})"
        )


def near_duplicate_test(
    train: np.ndarray, fake: np.ndarray, held_out: np.ndarray, alpha: float = ALPHA
) -> NearDuplicates:
    """Test whether samples lie nearer to training images than held-out images do.

    Held-out images stand for samples of a model that memorized nothing. The threshold is the j-th smallest
    of their H distances to the nearest training image, j = floor(alpha (H + 1)). A sample of the same
    distribution lies below it with probability j / (H + 1), whatever the distribution, and the number of M
    samples that do is beta-binomial: p = P(X >= count), X ~ BetaBinomial(M, j, H + 1 - j), exact for
    independent images and conservative where distances tie. A model that returns training images, or
    slightly noisy ones, scores 1.

    A significant result is a reason to look at the images, not a proof: images of the most common kind, or
    very smooth ones, have near neighbors too. A result that is not significant does not exclude rare copies:
    a proportion far below alpha cannot be seen.

    Raises ValueError if features contain NaN or infinity or differ in width, held-out images are too few,
    or the threshold is 0 because held-out images are themselves copies.

    Args:
        train: features (N, D) of the training images.
        fake: features (M, D) of generated images.
        held_out: features (H, D) of images that are not in the training set, H >= 1 / alpha - 1.
        alpha: proportion of held-out images below the threshold, in (0, 0.5].

    Returns:
        The proportion of near duplicates, with the test.
    """
    sets = checked_sets({"training": train, "fake": fake, "held-out": held_out}, 1, "a test for memorization")
    distances, reference = (
        k_nearest(sets[name], sets["training"], 1)[0][:, 0] for name in ("fake", "held-out")
    )
    return _test(distances, reference, alpha, "held-out images", "training images")


def canary_test(
    canaries: np.ndarray, fake: np.ndarray, controls: np.ndarray, alpha: float = ALPHA
) -> NearDuplicates:
    """Test how many canaries, marked images put into the training set, come back among the samples.

    A canary has come back if a sample lies nearer to it than the j-th smallest distance of H controls to
    their nearest sample, j = floor(alpha (H + 1)). Controls are images that the model never saw: ideally
    images with the same marks that were kept out, so that the expected proportion and the p-value hold as
    in `near_duplicate_test`. With plain held-out images, marks that nothing else has make the test too
    lenient.

    Raises ValueError as for `near_duplicate_test`.

    Args:
        canaries: features (C, D) of the marked training images.
        fake: features (M, D) of generated images.
        controls: features (H, D) of images kept out of training, H >= 1 / alpha - 1.
        alpha: proportion of controls below the threshold, in (0, 0.5].

    Returns:
        The proportion of canaries that came back, with the test; `indices` are their numbers.
    """
    sets = checked_sets({"canary": canaries, "fake": fake, "control": controls}, 1, "a test with canaries")
    distances, reference = (k_nearest(sets[name], sets["fake"], 1)[0][:, 0] for name in ("canary", "control"))
    return _test(distances, reference, alpha, "controls", "samples")


def authenticity(train: np.ndarray, fake: np.ndarray) -> Proportion:
    """Proportion of samples that are authentic, not copies.

    A sample is authentic if its nearest training image has another training image nearer to it than the
    sample is. No held-out images are needed, but a model that memorized nothing has no fixed value: compare
    with that of held-out images. Next to a training image with a duplicate in the training set only exact
    copies count as not authentic: remove duplicates first.

    Args:
        train: features (N, D) of the training images, N >= 2.
        fake: features (M, D) of generated images, M >= 1.

    Returns:
        The proportion with its interval.

    Raises:
        ValueError: if features contain NaN or infinity, differ in width or are too few.

    References:
        Alaa et al. 2022, "How Faithful is your Synthetic Data?", section 3.3.
    """
    sets = checked_sets({"training": train, "fake": fake}, 1, "authenticity")
    if len(train) < 2:
        raise ValueError(f"authenticity needs at least 2 training images, got {len(train)}: give more images")
    distances, numbers = k_nearest(sets["fake"], sets["training"], 1)
    neighbors, which = np.unique(numbers[:, 0], return_inverse=True)
    # [:, 0] is the image itself
    between = k_nearest(sets["training"][neighbors], sets["training"], 2)[0][:, 1]
    authentic = between[which] < distances[:, 0]
    return Proportion.of(int(authentic.sum()), len(authentic))


def nearest_training_images(train: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest training images of each sample, for display beside it.

    Args:
        train: features (N, D) of the training images, N >= k.
        fake: features (M, D) of generated images.
        k: number of neighbors, at least 1.

    Returns:
        The numbers of the training images, (M, k) int64, and their distances, (M, k) float64, nearest
        first; of equal distances the lowest numbers.

    Raises:
        ValueError: if features contain NaN or infinity or differ in width, or k is out of range.
    """
    sets = checked_sets({"training": train, "fake": fake}, 1, "a search for nearest training images")
    if not 1 <= k <= len(train):
        raise ValueError(f"k must lie between 1 and the number of training images, {len(train)}, got {k}")
    distances, numbers = k_nearest(sets["fake"], sets["training"], k)
    return numbers.astype(np.int64), distances


def _test(
    distances: np.ndarray, reference: np.ndarray, alpha: float, kind: str, others: str
) -> NearDuplicates:
    """distances: (M,) of the tested images; reference: (H,) of images that the model never saw."""
    if not 0 < alpha <= 0.5:
        raise ValueError(f"alpha must be a proportion in (0, 0.5], got {alpha}")
    count = len(reference)
    rank = int(alpha * (count + 1) + 1e-9)
    if rank < 1:
        raise ValueError(
            f"alpha = {alpha:g} needs at least {int(np.ceil(1 / alpha - 1e-9)) - 1} {kind}, got {count}: "
            f"give more, or an alpha of {1 / (count + 1):.2g} or more"
        )
    threshold = float(np.partition(reference, rank - 1)[rank - 1])
    if threshold == 0:
        raise ValueError(
            f"{int((reference == 0).sum())} of {count} {kind} are identical to one of the {others}, so "
            "copies cannot be distinguished from them: remove these"
        )
    below = np.flatnonzero(distances < threshold)
    return NearDuplicates(
        share=Proportion.of(len(below), len(distances)),
        expected=rank / (count + 1),
        threshold=threshold,
        p_value=beta_binomial_tail(len(below), len(distances), rank, count),
        indices=tuple(below[np.argsort(distances[below], kind="stable")].tolist()),
    )


def _metric(
    name: str, better: Better, compute: Callable[[EvaluationInputs, np.ndarray], Proportion]
) -> Metric:
    """The entry of a proportion with its exact interval; compute: of inputs and the training features."""

    def estimate(inputs: EvaluationInputs) -> Estimate:
        assert inputs.train is not None
        proportion = compute(inputs, inputs.train.features)
        return Estimate(proportion.value, proportion.low, proportion.high, "exact binomial", None)

    return Metric(
        name, better, VERSION, estimate_with=estimate, needs=(TRAINING_IMAGES,), stage="sensitivity"
    )


NEAR_DUPLICATES = _metric(
    "near-duplicate share",
    "lower",
    lambda x, train: near_duplicate_test(train, x.fake.features, x.real.features).share,
)
AUTHENTICITY = _metric("authenticity", "higher", lambda x, train: authenticity(train, x.fake.features))
