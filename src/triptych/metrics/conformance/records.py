"""Results of the conformance kit."""

from __future__ import annotations

from typing import Literal

from triptych.core.config import Record

Verdict = Literal["agrees", "differs", "differs as known", "does not run", "not installed"]


class Check(Record):
    """One known answer, and the value of this installation."""

    name: str
    why: str
    """Source of the answer."""
    expected: float
    got: float
    tolerance: float
    """Largest |got - expected| that passes."""
    passed: bool

    @classmethod
    def of(cls, name: str, got: float, expected: float, tolerance: float, why: str) -> Check:
        """Compare a value with a known answer; NaN never passes.

        Args:
            name: of the check.
            got: value of this installation.
            expected: the known answer.
            tolerance: largest absolute difference that passes.
            why: source of the answer.

        Returns:
            The check, passed or not.
        """
        passed = abs(got - expected) <= tolerance
        return cls(name=name, why=why, expected=expected, got=got, tolerance=tolerance, passed=bool(passed))


class Agreement(Record):
    """One metric on one set of vectors, computed by another library and by this one."""

    peer: str
    version: str
    """Version of the peer; empty if it is not installed."""
    metric: str
    vectors: str
    ours: float | None
    theirs: float | None
    verdict: Verdict
    """agrees: within 1e-6 relative; differs as known: for the reason `why`, an expected difference of
    definition or arithmetic; does not run: it raised the error in `why`."""
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
