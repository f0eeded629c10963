"""FD-infinity: the Frechet distance extrapolated to an infinite number of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from triptych.metrics.fid import Moments, frechet_distance, moments_leave_one_out
from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.metric import LeaveOneOut, Metric, enough_for_width
from triptych.metrics.validation import checked_pair

VERSION = 1
POINTS = 15
LARGEST_START, START_SHARE = 5000, 0.1  # the smallest sample: 5,000 images or a tenth of them
Vary = Literal["both", "fake"]


def fd_infinity(
    real: np.ndarray, fake: np.ndarray, points: int = POINTS, vary: Vary = "both", seed: int = 0
) -> float:
    """FID at 1/N = 0, extrapolated along a line fitted to FIDs of smaller samples.

    FID_N = FID_inf + c/N to first order. FID is computed at `points` sizes, spaced evenly from
    min(5000, M/10) to all M generated images, and a least-squares line in 1/N is evaluated at 0. Three things
    differ from the paper. (1) vary="both" subsamples real images in the same proportion, because their number
    biases FID as much; the target is then the distance between the two *distributions*, 0 for equal ones.
    vary="fake" is the paper's form with all real images at every size: the target is the distance to this
    very set, and half of the bias remains. (2) A size is measured on as many disjoint blocks as there are,
    not on one, because the small samples, which determine the slope most, are the noisiest. (3) No sample is
    smaller than D + 1: below that covariances are singular and the line bends.

    Costs 37 FIDs with 15 points from a tenth to all, 16 with points=5, whose standard error is no larger. On
    one core 0.1 s at D = 64 and 0.3 s at D = 128; at D = 2048 about 160 s, and 70 s with points=5.

    Raises ValueError if features contain NaN or infinity, differ in width or are too few, or an option is
    unknown.

    Args:
        real: features (N, D) of real images, N >= 2(D + 1), or N >= 2 with vary="fake".
        fake: features (M, D) of generated images, M >= 2(D + 1).
        points: number of sample sizes, at least 2.
        vary: which sets are subsampled.
        seed: seed of the subsampling.

    Returns:
        The extrapolated distance in squared units of the features; near 0 it may be negative.

    References:
        Chong & Forsyth 2020, "Effectively Unbiased FID and Inception Score and where to find them".
    """
    return fd_infinity_leave_one_out([real], [fake], points, vary, seed)[0]


def fd_infinity_leave_one_out(
    real: Sequence[np.ndarray],
    fake: Sequence[np.ndarray],
    points: int = POINTS,
    vary: Vary = "both",
    seed: int = 0,
) -> tuple[float, list[float]]:
    """FD-infinity of all groups, and with the g-th real and g-th fake group left out, for each g.

    A left-out group is removed from every sample that contains it; samples are not redrawn, because the
    values would then differ by the draw, which a jackknife takes for sampling error.

    Costs G + 1 times the eigenvalue problems of one value: for 20 groups 0.6 s at D = 64, 2 s at D = 128, and
    at D = 2048 an hour, or 25 minutes with points=5.

    Args:
        real: G groups of features, (n_g, D) each.
        fake: G groups of features, (m_g, D) each.
        points: number of sample sizes, at least 2.
        vary: which sets are subsampled.
        seed: seed of the subsampling.

    Returns:
        The distance, and a list of G distances, each without one group (empty for G = 1).

    Raises:
        ValueError: as for `fd_infinity`, or if the numbers of groups differ.
    """
    if points < 2 or len(real) != len(fake):
        raise ValueError(
            f"the fit needs at least 2 points and as many real as fake groups, got points={points}, "
            f"{len(real)} real and {len(fake)} fake groups"
        )
    if vary not in ("both", "fake"):
        raise ValueError(f"vary must be 'both' or 'fake', got {vary!r}")
    count = len(real)
    groups = [np.repeat(np.arange(count), [len(x) for x in sets]) for sets in (real, fake)]
    all_real, all_fake = checked_pair(np.concatenate(real), np.concatenate(fake), 2, "FD-infinity")
    shares = _shares(len(all_real), len(all_fake), all_real.shape[1], points, vary)
    orders = [
        np.random.default_rng([seed, which]).permutation(len(x))
        for which, x in enumerate((all_real, all_fake))
    ]
    fixed = None if vary == "both" else _LeaveOneOut(all_real, groups[0], count)
    inverse, distances = [], []  # each (points, 1 + G): 1/N, and FID at that N
    for share in shares:
        xs, ys = [], []
        for real_rows, fake_rows in _blocks(orders, share, vary):
            first = fixed or _LeaveOneOut(all_real[real_rows], groups[0][real_rows], count)
            second = _LeaveOneOut(all_fake[fake_rows], groups[1][fake_rows], count)
            xs.append(second.inverse if fixed else first.inverse + second.inverse)
            ys.append([frechet_distance(r, f) for r, f in zip(first.moments, second.moments, strict=True)])
        inverse.append(np.mean(xs, axis=0))
        distances.append(np.mean(ys, axis=0))
    values = _intercepts(np.array(inverse), np.array(distances))
    return float(values[0]), values[1:].tolist()


class _LeaveOneOut:
    """Moments of one sample: of all rows, then without each group (a single group: of all rows only)."""

    def __init__(self, features: np.ndarray, groups: np.ndarray, count: int) -> None:
        whole, without = moments_leave_one_out(features, groups, count if count > 1 else 0)
        self.moments: list[Moments] = [whole, *without]
        self.inverse = np.array([1 / m.count for m in self.moments])


def _shares(n: int, m: int, width: int, points: int, vary: Vary) -> np.ndarray:
    """(points,) sample sizes as shares of all images, ascending to 1."""
    fewest = min(n, m) if vary == "both" else m
    least = 2 * (width + 1)
    if fewest < least:
        raise ValueError(
            f"FD-infinity of {width} features needs at least {least} images, got {fewest}: give more "
            "images, or use KID, which needs no extrapolation"
        )
    start = max(min(LARGEST_START, m * START_SHARE) / m, (width + 1) / fewest)
    return np.linspace(start, 1.0, points)


def _blocks(orders: list[np.ndarray], share: float, vary: Vary) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of real and fake images, for as many disjoint samples of this size as there are."""
    n, m = (round(share * len(order)) for order in orders)
    count = len(orders[1]) // m
    if vary == "both":
        count = min(count, len(orders[0]) // n)
    for b in range(count):
        yield orders[0][b * n : (b + 1) * n], orders[1][b * m : (b + 1) * m]


def _intercepts(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Intercepts, (K,), of least-squares lines through the columns of x and y, (points, K) each."""
    centered = x - x.mean(0)
    slope = (centered * y).sum(0) / (centered**2).sum(0)
    return y.mean(0) - slope * x.mean(0)


SUITE_POINTS = 5  # of the line in an evaluation: as steady as 15, a third of the time
MAX_WIDTH = 256  # features beyond which an interval takes hours


def _leave_one_out(inputs: EvaluationInputs) -> LeaveOneOut:
    groups = inputs.real_groups(inputs.real.features), inputs.fake_groups(inputs.fake.features)
    return fd_infinity_leave_one_out(*groups, points=SUITE_POINTS)


METRIC = Metric(
    "FD-infinity",
    "lower",
    VERSION,
    value=lambda x: fd_infinity(x.real.features, x.fake.features, points=SUITE_POINTS),
    leave_one_out=_leave_one_out,
    parameters={"points": SUITE_POINTS, "vary": "both"},
    needs=(enough_for_width(MAX_WIDTH, lambda width: 2 * (width + 1)),),
    target="population",
    lowest=-np.inf,
    stage="detailed",
)
