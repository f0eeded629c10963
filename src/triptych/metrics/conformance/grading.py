"""Grade a metric written elsewhere: correct, or which of the well-known mistakes it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from triptych.metrics.conformance.vectors import golden, lattice
from triptych.metrics.fid import Moments, fid
from triptych.metrics.kid import COEF, DEGREE, kid
from triptych.metrics.prdc import PRECISION_K, precision_recall

Metric = Callable[[np.ndarray, np.ndarray], Any]
Kind = Literal["fid", "kid", "precision_recall"]
RELATIVE = 1e-6
ROUGH = 1e-3  # within this: the right formula, in float32 or with a term added to the diagonal
BATCHES = (32, 50, 64, 100, 128, 250, 256)


class Grade(BaseModel):
    """The verdict on a function."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Kind
    right: bool
    mistakes: tuple[str, ...]
    """What is wrong, as far as its values show; empty if it is correct."""
    expected: tuple[float, ...]
    got: tuple[float, ...]
    """Its values on the golden vectors."""


def grade(function: Metric, kind: Kind = "fid", k: int = PRECISION_K) -> Grade:
    """Run a metric on known vectors and identify its mistake from the value it returns.

    Not used by the package itself: it is for users who want to check a metric of their own, for example
    `grade(my_fid)` or `grade(my_precision_recall, "precision_recall", k=5)`.

    Args:
        function: takes (real, fake), float64 features (N, D) each, and returns a number, or for
            "precision_recall" the two in this order.
        kind: "fid", "kid" or "precision_recall".
        k: number of neighbors that the function's precision and recall use.

    Returns:
        The verdict, with the mistakes in words.

    Raises:
        ValueError: if the kind is unknown or the function returns something else.
    """
    v = golden()
    right: tuple[float, ...]
    if kind == "fid":
        right, wrong = (fid(v.real, v.fake),), _wrong_fids(v.real, v.fake)
    elif kind == "kid":
        right, wrong = (kid(v.real, v.fake),), _wrong_kids(v.real, v.fake)
    elif kind == "precision_recall":
        right, wrong = precision_recall(v.real, v.fake, k), _wrong_pairs(v.real, v.fake, k)
    else:
        raise ValueError(f"unknown kind {kind!r}: expected fid, kid or precision_recall")
    got = _called(function, v.real, v.fake, len(right))
    mistakes = [] if _near(got, right) else [_mistake(got, right, wrong)]
    mistakes += _order_dependence(function, v.real, v.fake, got)
    if kind == "precision_recall" and not mistakes:
        mistakes += _boundary(function, k)
    return Grade(kind=kind, right=not mistakes, mistakes=tuple(mistakes), expected=tuple(right), got=got)


def _called(function: Metric, real: np.ndarray, fake: np.ndarray, count: int) -> tuple[float, ...]:
    values = np.asarray(function(real.copy(), fake.copy()), dtype=np.float64).ravel()
    if len(values) != count:
        raise ValueError(f"the function must return {count} number{'s' * (count > 1)}, got {len(values)}")
    return tuple(values.tolist())


def _near(got: tuple[float, ...], wanted: tuple[float, ...], relative: float = RELATIVE) -> bool:
    return all(abs(a - b) <= relative * abs(b) + 1e-12 for a, b in zip(got, wanted, strict=True))


def _mistake(got: tuple[float, ...], right: tuple[float, ...], wrong: Mapping[str, tuple[float, ...]]) -> str:
    for mistake, value in wrong.items():
        if _near(got, value):
            return mistake
    if _near(got, right, ROUGH):
        return "imprecise: float32 statistics, or a term added to the diagonal"
    return f"an unknown mistake: {', '.join(f'{x:.10g}' for x in got)} instead of " + ", ".join(
        f"{x:.10g}" for x in right
    )


def _order_dependence(
    function: Metric, real: np.ndarray, fake: np.ndarray, before: tuple[float, ...]
) -> list[str]:
    """Shuffle the images: a mean over batches, or over random subsets, changes the value."""
    shuffle = np.random.default_rng(1)
    after = _called(function, shuffle.permutation(real), shuffle.permutation(fake), len(before))
    if _near(after, before):
        return []
    return ["it depends on the order of the images: a mean over batches, or over random subsets"]


def _boundary(function: Metric, k: int) -> list[str]:
    v = lattice(k)
    precision = _called(function, v.real, v.fake, 2)[0]
    if _near((precision,), precision_recall(v.real, v.fake, k)[:1]):
        return []
    return ["an image at exactly the radius is excluded: < instead of <="]


def _wrong_fids(real: np.ndarray, fake: np.ndarray) -> dict[str, tuple[float, ...]]:
    right = fid(real, fake)
    gap = Moments.from_features(real).mean - Moments.from_features(fake).mean
    variances = [x.var(0, ddof=1) for x in (real, fake)]
    diagonal = float(((np.sqrt(variances[0]) - np.sqrt(variances[1])) ** 2).sum() + gap @ gap)
    values = {
        "covariances are divided by N, not by N - 1 (ddof 0)": right - _divisor_effect(real, fake),
        "it is the square root: FID is the squared distance": right**0.5,
        "the means are left out": right - float(gap @ gap),
        "the covariances are left out": float(gap @ gap),
        "only variances are compared: the covariances are taken as diagonal": diagonal,
    }
    for size in BATCHES:
        values[f"it is the mean of FIDs of batches of {size}"] = _batched(fid, real, fake, size)
    return {name: (value,) for name, value in values.items()}


def _divisor_effect(real: np.ndarray, fake: np.ndarray) -> float:
    """Decrease of FID if covariances are divided by N: for N = M they all shrink by one factor."""
    gap = Moments.from_features(real).mean - Moments.from_features(fake).mean
    return (fid(real, fake) - float(gap @ gap)) / len(real)


def _wrong_kids(real: np.ndarray, fake: np.ndarray) -> dict[str, tuple[float, ...]]:
    right = kid(real, fake)
    values = {
        "it is biased: each image is paired with itself": _biased(real, fake),
        "it is multiplied by 1,000": 1000 * right,
        "it is the square root: KID is the squared discrepancy": right**0.5,
        "x.y is not divided by the number of features": kid(*(x * x.shape[1] ** 0.5 for x in (real, fake))),
    }
    for size in BATCHES:
        values[f"it is the mean of KIDs of batches of {size}"] = _batched(kid, real, fake, size)
    return {name: (value,) for name, value in values.items()}


def _biased(real: np.ndarray, fake: np.ndarray) -> float:
    """The V-statistic."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(((a @ b.T / a.shape[1] + COEF) ** DEGREE).mean())

    return kernel(real, real) + kernel(fake, fake) - 2 * kernel(real, fake)


def _batched(metric: Metric, real: np.ndarray, fake: np.ndarray, size: int) -> float:
    starts = range(0, len(real), size)
    return float(
        np.mean([metric(real[s : s + size], fake[s : s + size]) for s in starts if len(real[s:]) > 1])
    )


def _wrong_pairs(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, tuple[float, ...]]:
    right = precision_recall(real, fake, k)
    values: dict[str, tuple[float, ...]] = {"precision and recall are swapped": right[::-1]}
    if k > 1:
        fewer = precision_recall(real, fake, k - 1)
        values["each image is counted as its own nearest neighbor"] = fewer
        values["... and precision and recall are swapped"] = fewer[::-1]
    return values | {f"it uses the {j}th neighbor": precision_recall(real, fake, j) for j in (3, 5, 10)}
