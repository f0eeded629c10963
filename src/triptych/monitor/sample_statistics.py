"""Statistics of a few hundred samples, each divided by its value on real training images.

So 1 means "as the data" on every data set, and no statistic needs a unit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from triptych.core.images import HALF_RANGE
from triptych.core.rng import mix
from triptych.core.threads import one_thread
from triptych.data.dataset import Split
from triptych.metrics.association import cramers_v_squared
from triptych.metrics.energy_distance import energy_distance, mean_pairwise_distance
from triptych.metrics.intrinsic_dimension import two_nn
from triptych.monitor.feature_space import FeatureSpace, distances
from triptych.monitor.image_statistics import ImageStatistics
from triptych.monitor.label_probe import LabelProbe

SAMPLES = 256  # images per observation
POOL_IMAGES = 1024  # training images that samples are compared with
MODES = 20  # k-means clusters of the real images: their modes, with labels or without
PROJECTED_SAMPLES = 24  # samples whose position is recorded, to see whether they move between observations
PROJECTION_AXES = 6
NEIGHBORS = 5  # k of the balls whose coverage is measured (Naeem et al. 2020)
DUPLICATE_SHARE = 0.1  # of the data's nearest-neighbor distance: two images so near to each other are one
IDENTICAL_SHARE = 1e-3  # of the mean pairwise distance: a median nearest distance below is of equal images
MIN_DUPLICATES = 4  # with fewer, a pair that happens to be alike at fixed seeds would be a share of a few
MAX_PROBE_CLASSES = 40  # with more, there are too few samples per class to measure the effect of a label
SATURATED = 0.99  # of the range [-1, 1]

Numbers = dict[str, float]


class Reference:
    """A data set as the monitor knows it: features of some training images, and their own statistics.

    Args:
        split: The training images. Which of them are used depends on nothing but their number.
        classes: The number of classes of the data set, for the label probe; 0 for none.
    """

    def __init__(self, split: Split, classes: int = 0) -> None:
        with one_thread():  # the same clusters on every machine
            self._fit(split, classes)

    def _fit(self, split: Split, classes: int) -> None:
        self.count = count = len(split)
        self.classes = classes
        self.samples = max(8, min(SAMPLES, count // 4))
        # of samples that are training images, drawn evenly: a generator that memorized them
        self.chance_duplicates = 1 - (1 - 1 / max(count, 1)) ** (self.samples - 1)
        # "watch" is the old name of this stream: another would choose other images
        rows = np.random.default_rng(mix("watch", count)).permutation(count)[: POOL_IMAGES + 2 * self.samples]
        pixels = np.asarray(split.pixels[np.sort(rows)])[np.argsort(np.argsort(rows))]
        self.space = FeatureSpace(pixels)
        features = self.space.real  # (R, D)
        first, second, self.pool = np.split(features, [self.samples, 2 * self.samples])
        others = pixels[2 * self.samples :]
        if len(self.pool) < 2:
            self.pool, others = features, pixels
        self.image_statistics = ImageStatistics(pixels[: self.samples], others)
        self.scale = float(distances(first, second).mean())  # between two real images
        self._fit_axes(features)
        self.modes = _cluster_centers(features)
        self.radii = _kth_nearest(first, NEIGHBORS)  # of each real image's ball
        self.real = first
        self.real_distances = distances(first, first)
        self.label_probe = None
        if split.labels is not None and 1 < classes <= MAX_PROBE_CLASSES:
            labels = np.asarray(split.labels)[rows]
            self.label_probe = LabelProbe(pixels, features, labels, classes, 2 * self.samples)
        self.saturation = saturated_share(pixels)
        self.duplicate_radius = DUPLICATE_SHARE * float(np.median(_kth_nearest(second, 1)))
        self.statistics = self.measure(second)
        if self.statistics["data_distance"] <= IDENTICAL_SHARE * self.scale:  # duplicates
            to_pool = distances(second, self.pool)
            self.statistics["data_distance"] = _nearest_other(to_pool, IDENTICAL_SHARE * self.scale)

    def _fit_axes(self, features: np.ndarray) -> None:
        self.mean = features.mean(axis=0)
        _, _, axes = np.linalg.svd(features - self.mean, full_matrices=False)
        self.axes = axes[:PROJECTION_AXES]

    def measure(self, features: np.ndarray) -> Numbers:
        """Absolute statistics of a set of images, from its features (N, D); see `observe_samples`."""
        own = distances(features, features)
        to_real = distances(features, self.real)
        energy = energy_distance(to_real, own, self.real_distances)
        pairwise = mean_pairwise_distance(own)
        np.fill_diagonal(own, np.inf)
        nearest = np.sort(own, axis=1)[:, :2]  # (N, 2): nearest and second nearest
        shares = np.bincount(self.mode_of(features), minlength=len(self.modes)) / len(features)
        return {
            "pairwise_distance": pairwise,
            "nearest_sample_distance": float(np.median(nearest[:, 0])),
            "duplicates": float((nearest[:, 0] <= self.duplicate_radius).mean()),
            "intrinsic_dimension": two_nn(nearest),
            "modes": math.exp(entropy(shares)),
            "occupied_modes": float((shares > 0).sum()),
            "data_distance": float(np.median(distances(features, self.pool).min(axis=1))),
            "coverage": float((to_real.min(axis=0) <= self.radii).mean()),
            # unlike the distance to a neighbor not small for low-contrast images, which lie near everything
            "energy_distance": energy / max(self.scale, 1e-12),
        }

    def mode_of(self, features: np.ndarray) -> np.ndarray:
        """The nearest mode of each image: (N,)."""
        return distances(features, self.modes).argmin(axis=1)

    def project(self, features: np.ndarray) -> list[list[float]]:
        """The first few samples on the data's principal axes, in units of its scale."""
        placed = (features[:PROJECTED_SAMPLES] - self.mean) @ self.axes.T / self.scale
        return [[round(float(x), 3) for x in row] for row in placed]


def observe_samples(
    reference: Reference,
    pixels: np.ndarray,
    labels: np.ndarray | None = None,
    before: Mapping[str, Any] | None = None,
    detailed: np.ndarray | None = None,
) -> dict[str, Any]:
    """Measure samples, as numbers for one line of monitor.jsonl.

    Args:
        reference: The data set.
        pixels: (N, H, W, C) uint8 samples at fixed seeds, N = `reference.samples`.
        labels: (N,) the samples were conditioned on; None for an unconditional model.
        before: The previous observation.
        detailed: (M, H, W, C) samples with the random detail that a person sees, where the model draws
            `pixels` without it.

    Returns:
        Ratios to the data's own values, under the names of `Reference.measure`, and what the line has beside
        them. `duplicates` is the share of samples beyond that of the data; `energy_distance` no ratio.
    """
    features = reference.space(pixels)
    own, real = reference.measure(features), reference.statistics
    line: dict[str, Any] = {name: _ratio(own[name], real[name]) for name in own}
    line["energy_distance"] = own["energy_distance"]  # the data's own is 0
    # relative to the samples' own pairwise distance: crowding at any contrast
    identical = real["nearest_sample_distance"] <= IDENTICAL_SHARE * real["pairwise_distance"]
    ratio = 1.0 if identical else _ratio(line["nearest_sample_distance"], line["pairwise_distance"])
    line["nearest_sample_ratio"] = ratio
    usual = max(real["duplicates"], reference.chance_duplicates)  # the data may hold many blank images too
    enough = own["duplicates"] * len(pixels) >= MIN_DUPLICATES
    line["duplicates"] = max(0.0, own["duplicates"] - usual) if enough else 0.0
    line["saturation"], line["saturation_real"] = saturated_share(pixels), reference.saturation
    line |= {"samples": len(pixels), "images": reference.count}
    line |= reference.image_statistics(pixels, detailed)
    shares = np.bincount(reference.mode_of(features), minlength=len(reference.modes)) / len(features)
    line["mode_shares"] = [round(float(s), 4) for s in shares]
    line["projections"] = reference.project(features)
    if before is not None and before.get("projections"):
        line["projection_shift"] = _shift(before["projections"], line["projections"])
        line["mode_shift"] = 0.5 * float(np.abs(shares - np.array(before["mode_shares"])).sum())
    if reference.label_probe is not None:
        line |= _class_statistics(reference.label_probe, pixels, features, labels)
    elif labels is not None and reference.classes < 2:
        line["labels_not_measured"] = "there is only one class"
    elif labels is not None:
        line["labels_not_measured"] = (
            f"with more than {MAX_PROBE_CLASSES} classes there are too few samples of each"
        )
    return {name: round(v, 5) if isinstance(v, float) else v for name, v in line.items()}


def _class_statistics(
    probe: LabelProbe, pixels: np.ndarray, features: np.ndarray, labels: np.ndarray | None
) -> dict[str, Any]:
    predictions = probe(pixels, features)
    shares = np.bincount(predictions, minlength=probe.classes) / len(predictions)
    line: dict[str, Any] = {"class_shares": [round(float(s), 4) for s in shares]}
    if probe.reliable:
        line["class_diversity_ratio"] = math.exp(entropy(shares) - entropy(probe.prior))
        line["label_association_real"] = probe.real
    if labels is not None and not probe.reliable:
        line["labels_not_measured"] = (
            "the label probe cannot predict them from real images: some classes are rare, or images are few"
        )
    elif labels is not None:
        line["label_association"] = cramers_v_squared(labels, predictions, probe.classes)
    return line


def entropy(shares: Sequence[float] | np.ndarray) -> float:
    """Entropy in nats of shares that sum to 1."""
    known = np.asarray(shares)[np.asarray(shares) > 0]
    return float(-(known * np.log(known)).sum())


def saturated_share(pixels: np.ndarray) -> float:
    """Share of uint8 pixels within a hundredth of the range's ends."""
    far = np.abs(pixels.astype(np.float32) / HALF_RANGE - 1.0) > SATURATED
    return float(far.mean())


def _cluster_centers(features: np.ndarray) -> np.ndarray:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():  # fewer distinct images than clusters: some stay empty
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit = KMeans(min(MODES, len(features) // 4), n_init=1, random_state=0, max_iter=50).fit(features)
    return np.asarray(fit.cluster_centers_, dtype=np.float32)


def _kth_nearest(features: np.ndarray, k: int) -> np.ndarray:
    own = np.sort(distances(features, features), axis=1)  # the first is the image itself
    return own[:, min(k, own.shape[1] - 1)]


def _nearest_other(to_pool: np.ndarray, radius: float) -> float:
    """Median over (N, M) of the distance to the nearest image beyond `radius`; 0 if there is none."""
    others = np.where(to_pool > radius, to_pool, np.inf).min(axis=1)
    others = others[np.isfinite(others)]
    return float(np.median(others)) if len(others) else 0.0


def _ratio(value: float, real: float) -> float:
    return value / real if real > 0 else float(value > 0)


def _shift(before: Sequence[Sequence[float]], now: Sequence[Sequence[float]]) -> float:
    steps = np.linalg.norm(np.array(now) - np.array(before), axis=1)
    return float(np.median(steps))
