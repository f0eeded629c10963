"""Ground-truth precision and recall on `shapes`, whose generative factors are all known: no features needed.

A sample is rendered inversely into kind, color, background, radius, position and rotation
(`data.datasets.shapes_inverse`). True precision is the share of samples that `shapes` could have drawn; true
recall is the share of cells of the factor space in which such samples lie.
"""

from __future__ import annotations

from itertools import pairwise
from math import lgamma
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincinv

from triptych.core.config import Record
from triptych.data.datasets import shapes
from triptych.data.datasets.shapes_inverse import PERIODS, Reading, read
from triptych.metrics.stats.binomial import clopper_pearson
from triptych.metrics.stats.quantiles import normal_quantile

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

VERSION = 1
TOLERANCE = 0.15  # residual; the best rendering of a wrong kind leaves 0.19 or more (4,000 images, 32 px)
REAL_QUANTILE = 0.995  # of real images' residuals: the threshold is never below it
MOST_REAL = 1000  # test images on which the inverse renderer itself is measured
PLACES = 3  # bins of radius, x and y in the cells
BINS = 6  # of radius, x, y and turn in the tables of factors
NORMAL = normal_quantile(0.975)
FACTORS = {"kind", "color", "ground", "radius", "x", "y", "turn"}


class InverseRendererAccuracy(Record):
    """How accurately the inverse renderer reads test images, whose factors are known."""

    n: int
    kind: float
    """Share read correctly."""
    color: float
    ground: float
    radius_px: float
    """Mean absolute error, pixels."""
    x_px: float
    y_px: float
    turn_degrees: float
    """Median absolute error within the kind's period, of kinds that have a turn."""
    residual: float
    """The 99.5% quantile of their residuals."""
    valid: float
    """Share of them that is valid: what true precision can reach."""


class CellCoverage(Record):
    """In how many cells of the factor space valid samples lie. Real images are uniform over them."""

    name: str
    cells: int
    hit: int
    """Cells with at least one valid sample."""
    hit_expected: float
    """The same of as many real images, on average."""
    recall: float
    """Estimated share of all cells that the model reaches, including those that so few samples missed."""
    low: float
    high: float


class FactorTable(Record):
    """Histogram of one factor over the valid samples. The data's own is uniform."""

    name: str
    bins: tuple[str, ...]
    shares: tuple[float, ...]
    n: int
    distance: float
    """Total variation from the uniform histogram: 0 for the data, 1 - 1 / bins for a single bin."""
    distance_expected: float
    """The same of n real images, on average."""


class GroundTruthScores(Record):
    """True precision and recall of samples on `shapes`."""

    n: int
    valid: int
    precision: float
    """Share of samples with a residual of at most `tolerance`."""
    precision_low: float
    """Ends of the exact binomial 95% interval."""
    precision_high: float
    recall: float
    """Of kind x color x ground x radius x place, the last of `grids`."""
    recall_low: float
    recall_high: float
    tolerance: float
    residuals: tuple[float, float, float]
    """Of all samples: the 10%, 50% and 90% quantiles."""
    grids: tuple[CellCoverage, ...]
    factors: tuple[FactorTable, ...]
    reader: InverseRendererAccuracy


def has_known_factors(dataset: Dataset) -> bool:
    """Whether every factor of an image is known and can be read back: of `shapes` in color."""
    return set(dataset.test.factors) >= FACTORS and dataset.spec.channels == 3


def ground_truth_scores(
    samples: np.ndarray, dataset: Dataset, tolerance: float = TOLERANCE, most_real: int = MOST_REAL
) -> GroundTruthScores:
    """True precision and recall of samples of a model of `shapes`, with 95% intervals.

    A sample is valid if its residual (`shapes_inverse.read`) is at most `tolerance`, or at most the 99.5%
    quantile of real test images' residuals where that is more.

    Recall: the factor space is cut into cells that are equally likely in the data. From the numbers of cells
    that valid samples hit once and twice it is estimated how many the model reaches in all
    (`estimate_reached`), so the share does not depend on how many samples are valid, only its interval does;
    as an estimate from below it counts little of cells that the model hardly ever draws.

    Args:
        samples: (N, S, S, 3) uint8, N >= 1.
        dataset: `shapes` in color at the same size.
        tolerance: largest residual of a valid sample, > 0.
        most_real: test images on which the inverse renderer itself is measured, at most.

    Returns:
        The scores, a histogram of each factor, and the accuracy of the inverse renderer.

    Raises:
        ValueError: for another source, another shape of samples, none, or a tolerance that is not above 0.
    """
    split = dataset.test
    if not has_known_factors(dataset):
        raise ValueError(
            f"true precision and recall need known factors, which {dataset.name} does not have: use shapes"
        )
    if len(samples) == 0 or samples.shape[1:] != split.pixels.shape[1:]:
        raise ValueError(f"expected samples (N, {split.pixels.shape[1:]}), N >= 1, got {samples.shape}")
    if tolerance <= 0:
        raise ValueError(f"tolerance must be a residual above 0, got {tolerance}: {TOLERANCE} is usual")
    real = read(np.asarray(split.pixels[:most_real]))
    threshold = max(tolerance, float(np.quantile(real.residual, REAL_QUANTILE)))
    reading = read(samples)
    valid = reading.residual <= threshold
    factors = {name: values[valid] for name, values in reading.factors.items()}
    count = int(valid.sum())
    low, high = clopper_pearson(count, len(samples))
    grids = cell_coverages(factors)
    return GroundTruthScores(
        n=len(samples),
        valid=count,
        precision=count / len(samples),
        precision_low=low,
        precision_high=high,
        recall=grids[-1].recall,
        recall_low=grids[-1].low,
        recall_high=grids[-1].high,
        tolerance=threshold,
        residuals=tuple(np.quantile(reading.residual, (0.1, 0.5, 0.9)).tolist()),
        grids=grids,
        factors=factor_tables(factors),
        reader=inverse_renderer_accuracy(real, split.factors, split.pixels.shape[1], threshold),
    )


def inverse_renderer_accuracy(
    reading: Reading, factors: dict[str, np.ndarray], size_px: int, tolerance: float
) -> InverseRendererAccuracy:
    """Compare what was read from the first images of a split with their true factors.

    Args:
        reading: factors and residuals of N images.
        factors: the true ones of all images of the split, by name.
        size_px: side of the images, pixels.
        tolerance: largest residual of a valid image.

    Returns:
        The accuracies and errors.
    """
    n = len(reading.residual)
    true = {name: values[:n] for name, values in factors.items()}
    right = {
        name: float((reading.factors[name] == true[name]).mean()) for name in ("kind", "color", "ground")
    }
    off = {
        name: float(np.abs(reading.factors[name] - true[name]).mean()) * size_px
        for name in ("radius", "x", "y")
    }
    period = _periods(true["kind"])
    turned = (period > 0) & (reading.factors["kind"] == true["kind"])
    gap = (reading.factors["turn"] - true["turn"])[turned] / period[turned]
    gap = np.abs(gap - np.round(gap)) * period[turned]  # a whole period is no error
    return InverseRendererAccuracy(
        n=n,
        **right,
        radius_px=off["radius"],
        x_px=off["x"],
        y_px=off["y"],
        turn_degrees=float(np.degrees(np.median(gap))) if turned.any() else 0.0,
        residual=float(np.quantile(reading.residual, REAL_QUANTILE)),
        valid=float((reading.residual <= tolerance).mean()),
    )


def cell_coverages(factors: dict[str, np.ndarray]) -> tuple[CellCoverage, ...]:
    """Coverage of cells of appearance, of position, and of both; factors as from `shapes.draw_factors`."""
    what = (factors["kind"] * len(shapes.COLORS) + factors["color"]) * len(shapes.GROUNDS) + factors["ground"]
    whats = len(shapes.KINDS) * len(shapes.COLORS) * len(shapes.GROUNDS)
    placed = [np.minimum((share * PLACES).astype(np.int64), PLACES - 1) for share in _even(factors).values()]
    where, wheres = (placed[0] * PLACES + placed[1]) * PLACES + placed[2], PLACES**3
    return (
        _coverage("kind x color x ground", what, whats),
        _coverage("radius x place", where, wheres),
        _coverage("all together", what * wheres + where, whats * wheres),
    )


def _coverage(name: str, cell: np.ndarray, cells: int) -> CellCoverage:
    counts = np.bincount(cell, minlength=cells)
    estimate, low, high = estimate_reached(counts)
    missed = (1 - 1 / cells) ** len(cell)  # chance that so many real images miss a given cell
    return CellCoverage(
        name=name,
        cells=cells,
        hit=int((counts > 0).sum()),
        hit_expected=cells * (1 - missed),
        recall=estimate / cells,
        low=low / cells,
        high=high / cells,
    )


def estimate_reached(counts: np.ndarray) -> tuple[float, float, float]:
    """How many cells the model reaches, from how often each was hit: (estimate, low, high).

    Chao's estimate S + f1 (f1 - 1) / (2 (f2 + 1)), with S cells hit, f1 once, f2 twice: right on average
    where the reached cells are equally likely, too low where not. The 95% interval is the wider of two:
    the logarithm of the number of unhit cells taken for normal (Chao 1987), and f2 taken for Poisson, with
    its exact interval, which matters where few cells are hit twice. Where no cell is hit twice or more,
    nothing bounds it from above. All are at most `cells`.

    Args:
        counts: how often each cell was hit, (cells,).

    Returns:
        (estimate, low, high).

    References:
        Chao (1984): Nonparametric estimation of the number of classes in a population, bias-corrected form.
        Chao (1987): Estimating the population size for capture-recapture data with unequal catchability.
    """
    cells, n = len(counts), int(counts.sum())
    hit, f1, f2 = (int(np.sum(x)) for x in (counts > 0, counts == 1, counts == 2))
    if f1 == n:
        return min(hit + f1 * (f1 - 1) / 2, cells), float(hit), float(cells)
    unhit = f1 * (f1 - 1) / (2 * (f2 + 1))
    low, high = _unhit_interval(unhit, f1, f2, hit)
    left = hit / np.expm1(min(n / hit, 700.0))  # unhit if all were equally likely: where f1 and f2 are near 0
    high = max(high, np.ceil(left + NORMAL * np.sqrt(left)) if left > 0.025 else 0.0)
    return min(hit + unhit, cells), min(hit + np.floor(low), cells), min(hit + np.ceil(high), cells)


def _unhit_interval(unhit: float, f1: int, f2: int, hit: int) -> tuple[float, float]:
    if unhit == 0:
        return 0.0, 0.0
    variance = unhit + f1 * (2 * f1 - 1) ** 2 / (4 * (f2 + 1) ** 2)
    if f2 > 0:
        variance += f1**2 * f2 * (f1 - 1) ** 2 / (4 * (f2 + 1) ** 4)
    else:
        variance -= f1**4 / (4 * (hit + unhit))
    ratio = float(np.exp(NORMAL * np.sqrt(np.log1p(max(variance, 0.0) / unhit**2))))
    pairs = f1 * (f1 - 1) / 2
    most, least = gammaincinv(f2 + 1, 0.975), gammaincinv(f2, 0.025) if f2 else 0.0  # of f2's mean
    return min(unhit / ratio, pairs / most), max(unhit * ratio, pairs / least if least else np.inf)


def factor_tables(factors: dict[str, np.ndarray]) -> tuple[FactorTable, ...]:
    """Each factor's histogram against the uniform one; factors as from `shapes.draw_factors`."""
    tables = [
        _table(name, factors[name], tuple(names))
        for name, names in (("kind", shapes.KINDS), ("color", shapes.COLORS), ("ground", shapes.GROUNDS))
    ]
    period = _periods(factors["kind"])
    turned = period > 0
    shares = _even(factors) | {"turn": factors["turn"][turned] % period[turned] / period[turned]}
    ranges = {"radius": shapes.RADII, "x": (-1.0, 1.0), "y": (-1.0, 1.0), "turn": (0.0, 1.0)}
    for name, share in shares.items():
        edges = np.linspace(*ranges[name], BINS + 1)
        names = tuple(f"{a:.2f} to {b:.2f}" for a, b in pairwise(edges))
        tables.append(_table(name, np.minimum((share * BINS).astype(np.int64), BINS - 1), names))
    return tuple(tables)


def _table(name: str, values: np.ndarray, bins: tuple[str, ...]) -> FactorTable:
    n, even = len(values), 1 / len(bins)
    shares = np.bincount(values, minlength=len(bins)) / max(n, 1)
    return FactorTable(
        name=name,
        bins=bins,
        shares=tuple(shares.tolist()),
        n=n,
        distance=float(np.abs(shares - even).sum() / 2) if n else 0.0,
        distance_expected=len(bins) * mean_deviation(n, even) / 2 / n if n else 0.0,
    )


def mean_deviation(n: int, p: float) -> float:
    """E|X - np| of a binomial X: 2 m C(n, m) p^m (1 - p)^(n - m + 1), m = floor(np) + 1 (de Moivre 1730).

    Args:
        n: trials, >= 1.
        p: probability, in (0, 1).

    Returns:
        The mean absolute deviation, >= 0.
    """
    m = int(n * p) + 1
    ways = lgamma(n + 1) - lgamma(m + 1) - lgamma(n - m + 1)
    return float(2 * m * np.exp(ways + m * np.log(p) + (n - m + 1) * np.log1p(-p)))


def _even(factors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Radius, x and y as numbers that are uniform in [0, 1) and independent in the data."""
    low, high = shapes.RADII
    reach = 0.5 - factors["radius"] - shapes.MARGIN
    shares = {"radius": (factors["radius"] - low) / (high - low)}
    shares |= {axis: ((factors[axis] - 0.5) / reach + 1) / 2 for axis in ("x", "y")}
    return {name: np.clip(share, 0, 1) for name, share in shares.items()}


def _periods(kinds: np.ndarray) -> np.ndarray:
    """Each kind's smallest rotation that changes nothing, radians; 0 where no rotation does. (N,) -> (N,)."""
    return np.array([PERIODS.get(name, 0.0) for name in shapes.KINDS])[kinds]
