"""Grades somebody's metric: right, or which of the well-known mistakes it makes."""

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
ROUGH = 1e-3  # within it: the right formula, in float32 or with something added to the diagonal
BATCHES = (32, 50, 64, 100, 128, 250, 256)


class Grade(BaseModel):
    """The verdict on a function."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Kind
    right: bool
    mistakes: tuple[str, ...]
    """What is wrong with it, as far as its values tell; empty if it is right."""
    expected: tuple[float, ...]
    got: tuple[float, ...]
    """On the golden vectors."""


def grade(function: Metric, kind: Kind = "fid", k: int = PRECISION_K) -> Grade:
    """Run a metric of one's own on known vectors and name its mistake by the value it returns.

    function: takes (real, fake), float64 features (N, D) each; returns a number, for
    "precision_recall" the two of them in this order. kind: "fid", "kid" or "precision_recall". k: the
    neighbour that the function's precision and recall count to. Raises ValueError for an unknown
    kind and for a function that returns something else.
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
        raise ValueError(f"unknown kind {kind!r}: there are fid, kid and precision_recall")
    got = _called(function, v.real, v.fake, len(right))
    mistakes = [] if _near(got, right) else [_named(got, right, wrong)]
    mistakes += _of_order(function, v.real, v.fake, got)
    if kind == "precision_recall" and not mistakes:
        mistakes += _on_the_rim(function, k)
    return Grade(kind=kind, right=not mistakes, mistakes=tuple(mistakes), expected=tuple(right), got=got)


def _called(function: Metric, real: np.ndarray, fake: np.ndarray, count: int) -> tuple[float, ...]:
    made = np.asarray(function(real.copy(), fake.copy()), dtype=np.float64).ravel()
    if len(made) != count:
        raise ValueError(f"the function must return {count} number{'s' * (count > 1)}, got {len(made)}")
    return tuple(made.tolist())


def _near(got: tuple[float, ...], wanted: tuple[float, ...], relative: float = RELATIVE) -> bool:
    return all(abs(a - b) <= relative * abs(b) + 1e-12 for a, b in zip(got, wanted, strict=True))


def _named(got: tuple[float, ...], right: tuple[float, ...], wrong: Mapping[str, tuple[float, ...]]) -> str:
    for mistake, value in wrong.items():
        if _near(got, value):
            return mistake
    if _near(got, right, ROUGH):
        return "imprecise: float32 statistics, or something added to the diagonal"
    return f"an unknown mistake: {', '.join(f'{x:.10g}' for x in got)} in place of " + ", ".join(
        f"{x:.10g}" for x in right
    )


def _of_order(function: Metric, real: np.ndarray, fake: np.ndarray, before: tuple[float, ...]) -> list[str]:
    """The same pictures shuffled: whoever averages over batches, or draws some, gives another value."""
    shuffle = np.random.default_rng(1)
    after = _called(function, shuffle.permutation(real), shuffle.permutation(fake), len(before))
    if _near(after, before):
        return []
    return ["it depends on the order of the pictures: a mean over batches, or over some drawn at random"]


def _on_the_rim(function: Metric, k: int) -> list[str]:
    rim = lattice(k)
    precision = _called(function, rim.real, rim.fake, 2)[0]
    if _near((precision,), precision_recall(rim.real, rim.fake, k)[:1]):
        return []
    return ["a picture on the rim is left out: < in place of <="]


def _wrong_fids(real: np.ndarray, fake: np.ndarray) -> dict[str, tuple[float, ...]]:
    right = fid(real, fake)
    gap = Moments.from_features(real).mean - Moments.from_features(fake).mean
    variances = [x.var(0, ddof=1) for x in (real, fake)]
    apart = float(((np.sqrt(variances[0]) - np.sqrt(variances[1])) ** 2).sum() + gap @ gap)
    values = {
        "covariances are divided by N, not by N - 1 (ddof 0)": right - _of_divisor(real, fake),
        "the root is taken: a distance, FID is its square": right**0.5,
        "the means are left out": right - float(gap @ gap),
        "the covariances are left out": float(gap @ gap),
        "only variances are compared: the covariances are taken as diagonal": apart,
    }
    for size in BATCHES:
        values[f"it is the mean of FIDs of batches of {size}"] = _batched(fid, real, fake, size)
    return {name: (value,) for name, value in values.items()}


def _of_divisor(real: np.ndarray, fake: np.ndarray) -> float:
    """How much FID falls if covariances are divided by N: with N = M they all shrink by one factor."""
    gap = Moments.from_features(real).mean - Moments.from_features(fake).mean
    return (fid(real, fake) - float(gap @ gap)) / len(real)


def _wrong_kids(real: np.ndarray, fake: np.ndarray) -> dict[str, tuple[float, ...]]:
    right = kid(real, fake)
    values = {
        "it is biased: each picture is paired with itself": _biased(real, fake),
        "it is times 1,000": 1000 * right,
        "the root is taken: KID is the squared discrepancy": right**0.5,
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
        values["each picture is counted as its own nearest neighbour"] = fewer
        values["... and precision and recall are swapped"] = fewer[::-1]
    return values | {f"it counts to the {j}th neighbour": precision_recall(real, fake, j) for j in (3, 5, 10)}
