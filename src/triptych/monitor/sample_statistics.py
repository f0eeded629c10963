"""What the watch sees: a few hundred samples, measured in the units of the source's own pictures.

Everything is a ratio to what real pictures score in the samples' place, so that 1 means "as the data" on
every source, and nothing needs a unit.
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
from triptych.monitor.feature_space import Space, distances
from triptych.monitor.label_probe import Reader, association
from triptych.monitor.likeness import Likeness

SAMPLES = 256  # pictures a look
POOL = 1024  # training pictures that samples are compared with
CELLS = 20  # of the source's pictures by k-means: its modes, with labels or without
SKETCHED = 24  # samples whose place is noted, to see from one look to the next whether they move
SKETCH_AXES = 6
NEIGHBOURS = 5  # of the balls whose covering is counted (Naeem et al. 2020)
TWIN = 0.1  # of the data's nearest distance: two pictures so near to each other are one
BLANK = 1e-3  # of the spread: a median distance to the nearest so small is of pictures that are the same
FEWEST_TWINS = 4  # with fewer a pair that happens to be alike, at seeds that stay, would be a share of a few
SURE_CLASSES = 40  # with more, too few samples a class to ask what a label does
SATURATED = 0.99  # of the range [-1, 1]

Numbers = dict[str, float]


class Reference:
    """A source as the watch knows it: features of some training pictures and what they score themselves.

    split: the training pictures. The choice of pictures depends on nothing but their number.
    """

    def __init__(self, split: Split, classes: int = 0) -> None:
        with one_thread():  # the same cells whatever the machine
            self._learn(split, classes)

    def _learn(self, split: Split, classes: int) -> None:
        self.count = count = len(split)
        self.classes = classes
        self.samples = max(8, min(SAMPLES, count // 4))
        # of samples that are pictures of the source, drawn evenly: a generator that learnt them by heart
        self.chance_twins = 1 - (1 - 1 / max(count, 1)) ** (self.samples - 1)
        rows = np.random.default_rng(mix("watch", count)).permutation(count)[: POOL + 2 * self.samples]
        pixels = np.asarray(split.pixels[np.sort(rows)])[np.argsort(np.argsort(rows))]
        self.space = Space(pixels)
        features = self.space.real  # (R, D)
        first, second, self.pool = np.split(features, [self.samples, 2 * self.samples])
        others = pixels[2 * self.samples :]
        if len(self.pool) < 2:
            self.pool, others = features, pixels
        self.likeness = Likeness(pixels[: self.samples], others)
        self.spread = float(distances(first, second).mean())  # of two pictures of the source
        self._axes(features)
        self.cells = _cells(features)
        self.balls = _nearest(first, NEIGHBOURS)  # radius of each real picture's ball
        self.real = first
        self.within = _apart(distances(first, first))
        self.reader = None
        if split.labels is not None and 1 < classes <= SURE_CLASSES:
            told = np.asarray(split.labels)[rows]
            self.reader = Reader(pixels, features, told, classes, 2 * self.samples)
        self.saturated = saturated_share(pixels)
        self.twin = TWIN * float(np.median(_nearest(second, 1)))
        self.scores = self.measure(second)
        if self.scores["distance"] <= BLANK * self.spread:  # most have a copy: those that have none tell
            self.scores["distance"] = _to_another(distances(second, self.pool), BLANK * self.spread)

    def _axes(self, features: np.ndarray) -> None:
        self.mean = features.mean(axis=0)
        _, _, axes = np.linalg.svd(features - self.mean, full_matrices=False)
        self.axes = axes[:SKETCH_AXES]

    def measure(self, features: np.ndarray) -> Numbers:
        """Plain numbers of a set of pictures; see `look_at` for what they become."""
        own = distances(features, features)
        spread = _apart(own)
        np.fill_diagonal(own, np.inf)
        near = np.sort(own, axis=1)[:, :2]  # (N, 2): nearest and second nearest
        to_real = distances(features, self.real)
        shares = np.bincount(self.cell_of(features), minlength=len(self.cells)) / len(features)
        far = 2 * float(to_real.mean()) - spread - self.within
        return {
            "spread": spread,
            "gap": float(np.median(near[:, 0])),
            "twins": float((near[:, 0] <= self.twin).mean()),
            "dimension": dimension(near),
            "modes": math.exp(entropy(shares)),
            "hit": float((shares > 0).sum()),
            "distance": float(np.median(distances(features, self.pool).min(axis=1))),
            "covered": float((to_real.min(axis=0) <= self.balls).mean()),
            # Szekely and Rizzo 2013, "Energy statistics": 0 only for equal distributions, and unlike the
            # distance to a neighbour not small for pale pictures, which lie near everything
            "energy": far / max(self.spread, 1e-12),
        }

    def cell_of(self, features: np.ndarray) -> np.ndarray:
        """The cell each picture falls into: (N,)."""
        return distances(features, self.cells).argmin(axis=1)

    def sketch(self, features: np.ndarray) -> list[list[float]]:
        """Where the first few samples lie on the source's widest axes, in units of its spread."""
        placed = (features[:SKETCHED] - self.mean) @ self.axes.T / self.spread
        return [[round(float(x), 3) for x in row] for row in placed]


def look_at(
    reference: Reference,
    pixels: np.ndarray,
    labels: np.ndarray | None = None,
    before: Mapping[str, Any] | None = None,
    detailed: np.ndarray | None = None,
) -> dict[str, Any]:
    """What one look shows, as numbers for `watch.jsonl`.

    pixels: (N, H, W, C) uint8 samples at the fixed seeds, N = reference.samples. labels: (N,) asked for,
    None when the family is not conditional. before: the look before this one. detailed: (M, H, W, C), some
    of them with the random detail that a person sees, where the family draws `pixels` without.
    """
    features = reference.space(pixels)
    own, real = reference.measure(features), reference.scores
    found: dict[str, Any] = {name: _ratio(own[name], real[name]) for name in own}
    found["energy"] = own["energy"]  # the data's own is 0
    # neighbours in units of the samples' own spread: crowding, however pale or wild the pictures are
    twins_are_usual = real["gap"] <= BLANK * real["spread"]  # then near neighbours say nothing
    found["sparse"] = 1.0 if twins_are_usual else _ratio(found["gap"], found["spread"])
    del found["twins"]
    usual = max(real["twins"], reference.chance_twins)  # blank pictures may be many in the data too
    enough = own["twins"] * len(pixels) >= FEWEST_TWINS
    found["duplicates"] = max(0.0, own["twins"] - usual) if enough else 0.0
    found["saturated"], found["saturated_real"] = saturated_share(pixels), reference.saturated
    found |= {"samples": len(pixels), "images": reference.count}
    found |= reference.likeness(pixels, detailed)
    shares = np.bincount(reference.cell_of(features), minlength=len(reference.cells)) / len(features)
    found["cells"] = [round(float(s), 4) for s in shares]
    found["sketch"] = reference.sketch(features)
    if before is not None and before.get("sketch"):
        found["moved"] = _moved(before["sketch"], found["sketch"])
        found["shifted"] = 0.5 * float(np.abs(shares - np.array(before["cells"])).sum())
    if reference.reader is not None:
        found |= _classes(reference.reader, pixels, features, labels)
    elif labels is not None and reference.classes < 2:
        found["unread"] = "there is only one class"
    elif labels is not None:
        found["unread"] = f"with more than {SURE_CLASSES} classes there are too few samples of each"
    return {name: round(v, 5) if isinstance(v, float) else v for name, v in found.items()}


def _classes(
    reader: Reader, pixels: np.ndarray, features: np.ndarray, labels: np.ndarray | None
) -> dict[str, Any]:
    guesses = reader(pixels, features)
    shares = np.bincount(guesses, minlength=reader.classes) / len(guesses)
    found: dict[str, Any] = {"classes": [round(float(s), 4) for s in shares]}
    if reader.reads:
        found["kinds"] = math.exp(entropy(shares) - entropy(reader.prior))
        found["told_real"] = reader.real
    if labels is not None and not reader.reads:
        found["unread"] = "a reader cannot find them in real pictures: some are rare, or the pictures few"
    elif labels is not None:
        found["told"] = association(labels, guesses, reader.classes)
    return found


def dimension(near: np.ndarray) -> float:
    """Intrinsic dimension of a set from each point's nearest and second nearest distance, (N, 2).

    Facco et al. 2017, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
    information" (TwoNN), the maximum-likelihood form N / sum log(r2 / r1).
    """
    kept = near[near[:, 0] > 0]
    logs = np.log(kept[:, 1] / kept[:, 0]) if len(kept) else np.zeros(1)
    total = float(logs.sum())
    return len(kept) / total if total > 0 else 0.0


def entropy(shares: Sequence[float] | np.ndarray) -> float:
    """Of shares that sum to 1, in nats."""
    known = np.asarray(shares)[np.asarray(shares) > 0]
    return float(-(known * np.log(known)).sum())


def saturated_share(pixels: np.ndarray) -> float:
    """Share of pixels within a hundredth of the range's ends."""
    far = np.abs(pixels.astype(np.float32) / HALF_RANGE - 1.0) > SATURATED
    return float(far.mean())


def _cells(features: np.ndarray) -> np.ndarray:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():  # fewer different pictures than cells: some cells stay empty
        warnings.simplefilter("ignore", ConvergenceWarning)
        made = KMeans(min(CELLS, len(features) // 4), n_init=1, random_state=0, max_iter=50).fit(features)
    return np.asarray(made.cluster_centers_, dtype=np.float32)


def _nearest(features: np.ndarray, k: int) -> np.ndarray:
    own = np.sort(distances(features, features), axis=1)  # the first is the picture itself
    return own[:, min(k, own.shape[1] - 1)]


def _to_another(to_pool: np.ndarray, least: float) -> float:
    """Median distance to the nearest picture that is no copy, farther than `least`; 0 if all are. (N, M)."""
    others = np.where(to_pool > least, to_pool, np.inf).min(axis=1)
    others = others[np.isfinite(others)]
    return float(np.median(others)) if len(others) else 0.0


def _apart(own: np.ndarray) -> float:
    """Mean distance between two of a set. own: (N, N), from each to each."""
    return float(own.sum()) / (len(own) * (len(own) - 1))


def _ratio(value: float, real: float) -> float:
    return value / real if real > 0 else float(value > 0)


def _moved(before: Sequence[Sequence[float]], now: Sequence[Sequence[float]]) -> float:
    steps = np.linalg.norm(np.array(now) - np.array(before), axis=1)
    return float(np.median(steps))
