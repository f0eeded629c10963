"""Other libraries on the same vectors, each adapted in a few lines. None of them is required."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any

import numpy as np
import torch
from torch import nn

from triptych.metrics.conformance.records import Agreement, Verdict
from triptych.metrics.conformance.vectors import Vectors, golden, lattice
from triptych.metrics.fid import fid
from triptych.metrics.inception_score import inception_score
from triptych.metrics.kid import kid
from triptych.metrics.prdc import density_coverage, precision_recall

RELATIVE = 1e-6  # difference between float64 implementations, as published by torch-fidelity
STRICT = "it uses < where eq. 1 of Kynkaanniemi et al. 2019 has <="
SUMS = "raw second moments lose digits where the mean is large relative to the standard deviation"
Values = dict[str, float]


@dataclass(frozen=True)
class Case:
    """Some metrics on one set of vectors, computed by a peer and by this library."""

    vectors: Vectors
    theirs: Callable[[np.ndarray, np.ndarray], Values]
    ours: Callable[[np.ndarray, np.ndarray], Values]
    expected_difference: str = ""
    """Reason why they are expected to differ here, if they are."""


@dataclass(frozen=True)
class Peer:
    """A library: its module, its distribution, and what to compare."""

    module: str
    distribution: str
    cases: Callable[[], list[Case]]


def agreements() -> list[Agreement]:
    """Results for all peers; one entry for a peer that is not installed."""
    results: list[Agreement] = []
    for peer in PEERS:
        if util.find_spec(peer.module) is None:
            results.append(_agreement(peer, "", "all", "", None, None, "not installed"))
            continue
        version = metadata.version(peer.distribution)
        for case in peer.cases():
            results += _compare(peer, version, case)
    return results


def _compare(peer: Peer, version: str, case: Case) -> Iterator[Agreement]:
    ours = case.ours(case.vectors.real, case.vectors.fake)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            theirs = case.theirs(case.vectors.real, case.vectors.fake)
    except Exception as error:  # any error of another library is a result, not a failure of ours
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        for metric, value in ours.items():
            yield _agreement(peer, version, metric, case.vectors.name, value, None, "does not run", why)
        return
    for metric, value in ours.items():
        gap = abs(value - theirs[metric])
        verdict: Verdict = "agrees"
        if not gap <= RELATIVE * max(abs(value), abs(theirs[metric])):
            verdict = "differs as known" if case.expected_difference else "differs"
        why = case.expected_difference if verdict != "agrees" else ""
        yield _agreement(peer, version, metric, case.vectors.name, value, theirs[metric], verdict, why)


def _agreement(
    peer: Peer,
    version: str,
    metric: str,
    vectors: str,
    ours: float | None,
    theirs: float | None,
    verdict: Verdict,
    why: str = "",
) -> Agreement:
    return Agreement(
        peer=peer.distribution,
        version=version,
        metric=metric,
        vectors=vectors,
        ours=ours,
        theirs=theirs,
        verdict=verdict,
        why=why,
    )


# --- vectors, and our metrics ---


def _far() -> Vectors:
    v = golden()
    return Vectors("golden + 10,000", v.real + 1e4, v.fake + 1e4)


def _few() -> Vectors:
    rng = np.random.default_rng(5)
    return Vectors("60 images, 100 features", rng.standard_normal((60, 100)), rng.standard_normal((60, 100)))


def _logits() -> Vectors:
    v = golden()
    return Vectors("golden as logits", v.real, 3 * v.fake)


def _fid(real: np.ndarray, fake: np.ndarray) -> Values:
    return {"FID": fid(real, fake)}


def _kid(real: np.ndarray, fake: np.ndarray) -> Values:
    return {"KID": kid(real, fake)}


def _score(splits: int) -> Callable[[np.ndarray, np.ndarray], Values]:
    def ours(real: np.ndarray, fake: np.ndarray) -> Values:
        p = np.exp(fake - fake.max(1, keepdims=True))
        return {f"IS, {splits} splits": inception_score(p / p.sum(1, keepdims=True), splits)}

    return ours


def _precision(k: int) -> Callable[[np.ndarray, np.ndarray], Values]:
    def ours(real: np.ndarray, fake: np.ndarray) -> Values:
        return dict(
            zip((f"precision, k = {k}", f"recall, k = {k}"), precision_recall(real, fake, k), strict=True)
        )

    return ours


def _all_four(k: int) -> Callable[[np.ndarray, np.ndarray], Values]:
    def ours(real: np.ndarray, fake: np.ndarray) -> Values:
        names = (f"density, k = {k}", f"coverage, k = {k}")
        return _precision(k)(real, fake) | dict(zip(names, density_coverage(real, fake, k), strict=True))

    return ours


# --- torchmetrics ---


class _Identity(nn.Module):
    """Takes the place of an Inception network: its inputs already are features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def _torchmetrics() -> list[Case]:
    def distance(module: str, name: str, metric: str, **options: Any) -> Callable[..., Values]:
        def theirs(real: np.ndarray, fake: np.ndarray) -> Values:
            kind = getattr(importlib.import_module(f"torchmetrics.image.{module}"), name)
            meter = kind(feature=_Identity(real.shape[1]), **options)
            meter.update(torch.from_numpy(real), real=True)
            meter.update(torch.from_numpy(fake), real=False)
            value = meter.compute()
            return {metric: float(value[0] if isinstance(value, tuple) else value)}

        return theirs

    def score(real: np.ndarray, fake: np.ndarray) -> Values:
        kind = importlib.import_module("torchmetrics.image.inception").InceptionScore
        meter = kind(feature=_Identity(fake.shape[1]), splits=1)
        meter.update(torch.from_numpy(fake))
        return {"IS, 1 splits": float(meter.compute()[0])}

    frechet = distance("fid", "FrechetInceptionDistance", "FID")
    kernel = distance("kid", "KernelInceptionDistance", "KID", subsets=1, subset_size=500)
    return [
        Case(golden(), frechet, _fid),
        Case(_far(), frechet, _fid, SUMS),
        Case(_few(), frechet, _fid),
        Case(golden(), kernel, _kid),
        Case(_logits(), score, _score(1)),
    ]


# --- torch-fidelity ---


def _torch_fidelity() -> list[Case]:
    def part(name: str) -> Any:
        return importlib.import_module(f"torch_fidelity.metric_{name}")

    def frechet(real: np.ndarray, fake: np.ndarray) -> Values:
        both = [part("fid").fid_features_to_statistics(torch.from_numpy(x)) for x in (real, fake)]
        return {"FID": part("fid").fid_statistics_to_metric(*both, False)["frechet_inception_distance"]}

    def kernel(real: np.ndarray, fake: np.ndarray) -> Values:
        options = {"kid_subsets": 1, "kid_subset_size": len(real), "verbose": False}
        sets = [torch.from_numpy(x) for x in (real, fake)]
        return {"KID": part("kid").kid_features_to_metric(*sets, **options)["kernel_inception_distance_mean"]}

    def precision(real: np.ndarray, fake: np.ndarray) -> Values:
        sets = [torch.from_numpy(x) for x in (fake, real)]  # its first set is the generated one
        scores = part("prc").prc_features_to_metric(*sets, prc_neighborhood=3, verbose=False)
        return {"precision, k = 3": float(scores["precision"]), "recall, k = 3": float(scores["recall"])}

    def score(real: np.ndarray, fake: np.ndarray) -> Values:
        scores = part("isc").isc_features_to_metric(torch.from_numpy(fake), splits=10, shuffle=False)
        return {"IS, 10 splits": scores["inception_score_mean"]}

    return [
        Case(golden(), frechet, _fid),
        Case(_far(), frechet, _fid),
        Case(_few(), frechet, _fid),
        Case(golden(), kernel, _kid),
        Case(golden(), precision, _precision(3)),
        Case(lattice(), precision, _precision(3)),
        Case(_logits(), score, _score(10)),
    ]


# --- prdc, clean-fid ---


def _prdc() -> list[Case]:
    def all_four(k: int) -> Callable[[np.ndarray, np.ndarray], Values]:
        def theirs(real: np.ndarray, fake: np.ndarray) -> Values:
            scores = importlib.import_module("prdc").compute_prdc(real, fake, k)
            return {f"{name}, k = {k}": float(value) for name, value in scores.items()}

        return theirs

    return [
        Case(golden(), all_four(5), _all_four(5)),
        Case(golden(), all_four(3), _all_four(3)),
        Case(lattice(), all_four(3), _all_four(3), STRICT),
    ]


def _clean_fid() -> list[Case]:
    def part() -> Any:
        return importlib.import_module("cleanfid.fid")

    def frechet(real: np.ndarray, fake: np.ndarray) -> Values:
        moments = [x for y in (real, fake) for x in (y.mean(0), np.cov(y, rowvar=False))]
        return {"FID": float(part().frechet_distance(*moments))}

    def kernel(real: np.ndarray, fake: np.ndarray) -> Values:
        return {"KID": part().kernel_distance(real, fake, num_subsets=1, max_subset_size=len(real))}

    return [Case(golden(), frechet, _fid), Case(_few(), frechet, _fid), Case(golden(), kernel, _kid)]


PEERS = (
    Peer("torchmetrics", "torchmetrics", _torchmetrics),
    Peer("torch_fidelity", "torch-fidelity", _torch_fidelity),
    Peer("prdc", "prdc", _prdc),
    Peer("cleanfid", "clean-fid", _clean_fid),
)
