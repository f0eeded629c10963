from __future__ import annotations

import json
import sys
from types import ModuleType

import numpy as np
import pytest

from triptych import cli
from triptych.metrics.conformance import peers, vectors
from triptych.metrics.conformance.printing import markdown
from triptych.metrics.conformance.records import Agreement, Check, Conformance
from triptych.metrics.conformance.running import conformance
from triptych.metrics.prdc import density_coverage, precision_recall


@pytest.fixture(scope="module")
def result() -> Conformance:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "PEERS", ())
        return conformance()


def test_this_installation_passes_all_checks(result: Conformance) -> None:
    assert [check.name for check in result.checks if not check.passed] == []
    assert len(result.checks) > 40 and result.passed
    assert len({check.name for check in result.checks}) == len(result.checks)


def test_a_wrong_metric_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
        precision, recall = precision_recall(real, fake, k)
        return recall, precision

    monkeypatch.setattr(vectors, "precision_recall", swapped)
    failed = {check.name for check in [*vectors._golden(), *vectors._neighbors()] if not check.passed}
    assert {"precision, k = 3", "recall under mode collapse", "precision of noise"} <= failed
    assert "coverage, k = 5" not in failed


def test_nan_never_passes() -> None:
    assert not Check.of("x", float("nan"), 0, 1e9, "").passed
    assert Check.of("x", 1.5, 1, 0.5, "").passed and not Check.of("x", 1.6, 1, 0.5, "").passed


def prdc_that(strict: bool, shift: float = 0.0) -> ModuleType:
    """A stand-in for the PRDC library, which compares strictly."""

    def compute_prdc(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
        print("Num real")  # as the library does
        precision, recall = precision_recall(real, fake, k)
        density, coverage = density_coverage(real, fake, k)
        if strict and real.shape[1] == 1:
            precision -= 0.5
        return {"precision": precision + shift, "recall": recall, "density": density, "coverage": coverage}

    module = ModuleType("prdc")
    module.compute_prdc = compute_prdc  # type: ignore[attr-defined]
    return module


@pytest.fixture
def with_prdc(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(peers, "PEERS", tuple(p for p in peers.PEERS if p.module == "prdc"))
    monkeypatch.setattr(peers.util, "find_spec", lambda name: name)
    monkeypatch.setattr(peers.metadata, "version", lambda name: "0.2")
    return monkeypatch


def verdicts(results: list[Agreement]) -> dict[tuple[str, str], str]:
    return {(a.vectors, a.metric): a.verdict for a in results}


def test_peer_agrees_or_differs_as_expected(
    with_prdc: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_prdc.setitem(sys.modules, "prdc", prdc_that(strict=True))
    results = peers.agreements()
    by_name = verdicts(results)
    assert by_name[("golden", "precision, k = 5")] == by_name[("golden", "coverage, k = 3")] == "agrees"
    assert by_name[("at the radius", "precision, k = 3")] == "differs as known"
    assert by_name[("at the radius", "recall, k = 3")] == "agrees"
    assert Conformance(versions={}, checks=(), agreements=tuple(results)).passed
    assert capsys.readouterr().out == ""  # what a peer prints is not ours to print


def test_a_peer_that_differs_without_a_reason_fails(with_prdc: pytest.MonkeyPatch) -> None:
    with_prdc.setitem(sys.modules, "prdc", prdc_that(strict=False, shift=1e-3))
    results = peers.agreements()
    assert verdicts(results)[("golden", "precision, k = 5")] == "differs"
    assert not Conformance(versions={}, checks=(), agreements=tuple(results)).passed


def test_failing_peer_is_reported_and_not_raised(with_prdc: pytest.MonkeyPatch) -> None:
    with_prdc.setitem(sys.modules, "prdc", ModuleType("prdc"))
    results = peers.agreements()
    assert {a.verdict for a in results} == {"does not run"}
    assert "AttributeError" in results[0].why and results[0].ours is not None
    assert Conformance(versions={}, checks=(), agreements=tuple(results)).passed


def test_missing_peer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.util, "find_spec", lambda name: None)
    results = peers.agreements()
    assert [(a.peer, a.verdict) for a in results] == [(p.distribution, "not installed") for p in peers.PEERS]


def test_the_tables(
    result: Conformance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = markdown(result)
    assert "| FID | golden vector | 1.192694241 | 1.192694241 | 1e-09 | pass |" in text
    failing = result.model_copy(update={"checks": (Check.of("FID", 2, 1, 0, "made up"),)})
    for report, code in ((result, 0), (failing, 1)):
        monkeypatch.setattr("triptych.metrics.conformance.running.conformance", lambda report=report: report)
        assert cli.main(["conformance", "--json"]) == code
        caught = capsys.readouterr().out.strip().splitlines()
        assert len(json.loads(caught[-1])["checks"]) == len(report.checks)
    assert "FAIL" in "".join(caught)
