"""What the conformance kit found, as records."""

from __future__ import annotations

from typing import Literal

from triptych.core.config import Record

Verdict = Literal["agrees", "differs", "differs as known", "does not run", "not installed"]


class Check(Record):
    """One known answer, and what this installation says."""

    name: str
    why: str
    """Where the answer comes from."""
    expected: float
    got: float
    tolerance: float
    """Largest |got - expected| that passes."""
    passed: bool

    @classmethod
    def of(cls, name: str, got: float, expected: float, tolerance: float, why: str) -> Check:
        """A check, passed or not; NaN never passes."""
        passed = abs(got - expected) <= tolerance
        return cls(name=name, why=why, expected=expected, got=got, tolerance=tolerance, passed=bool(passed))


class Agreement(Record):
    """One metric on one set of vectors by another library and by this one."""

    peer: str
    version: str
    """Of the peer; empty if it is not installed."""
    metric: str
    vectors: str
    ours: float | None
    theirs: float | None
    verdict: Verdict
    """agrees: within 1e-6 relative; differs as known: for `why`, a difference of definition or arithmetic
    that was expected here; does not run: it raised what `why` says."""
    why: str = ""


class Conformance(Record):
    """All checks and agreements of one installation."""

    versions: dict[str, str]
    checks: tuple[Check, ...]
    agreements: tuple[Agreement, ...]

    @property
    def passed(self) -> bool:
        """Whether every known answer was met and no peer differs without a known reason."""
        return all(check.passed for check in self.checks) and all(
            agreement.verdict != "differs" for agreement in self.agreements
        )
