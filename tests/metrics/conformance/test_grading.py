from __future__ import annotations

import numpy as np
import pytest

from triptych.metrics.conformance.grading import Kind, Metric, grade
from triptych.metrics.fid import fid
from triptych.metrics.kid import kid
from triptych.metrics.prdc import precision_recall


def textbook_fid(real: np.ndarray, fake: np.ndarray, ddof: int = 1) -> float:
    """By the eigenvalues of the product, as other toolkits do: nothing of ours in it."""
    gap = real.mean(0) - fake.mean(0)
    s1, s2 = (np.cov(x, rowvar=False, ddof=ddof) for x in (real, fake))
    cross = np.sqrt(np.linalg.eigvals(s1 @ s2).astype(complex)).real.sum()
    return float(gap @ gap + np.trace(s1) + np.trace(s2) - 2 * cross)


def batched(real: np.ndarray, fake: np.ndarray) -> float:
    return float(np.mean([textbook_fid(real[s : s + 100], fake[s : s + 100]) for s in range(0, 500, 100)]))


def biased_kid(real: np.ndarray, fake: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    return float(kernel(real, real).mean() + kernel(fake, fake).mean() - 2 * kernel(real, fake).mean())


def pair(real: np.ndarray, fake: np.ndarray, k: int = 3, strict: bool = False) -> tuple[float, float]:
    """Precision and recall by whole matrices of distances; k + 1 because the image itself is in its row."""

    def inside(centres: np.ndarray, others: np.ndarray) -> float:
        own = np.linalg.norm(centres[:, None] - centres, axis=2)
        radii = np.sort(own, axis=1)[:, k]
        cross = np.linalg.norm(centres[:, None] - others, axis=2)
        hit = cross < radii[:, None] if strict else cross <= radii[:, None]
        return float(hit.any(0).mean())

    return inside(real, fake), inside(fake, real)


@pytest.mark.parametrize(
    ("kind", "function"),
    [("fid", fid), ("fid", textbook_fid), ("kid", kid), ("precision_recall", precision_recall)],
)
def test_correct_metrics_are_graded_correct(kind: Kind, function: Metric) -> None:
    graded = grade(function, kind)
    assert graded.right and graded.mistakes == ()
    assert graded.got == pytest.approx(graded.expected, rel=1e-9)


def test_independent_implementation_is_graded_correct() -> None:
    assert grade(pair, "precision_recall").right
    assert grade(lambda real, fake: pair(real, fake, 5), "precision_recall", k=5).right


@pytest.mark.parametrize(
    ("kind", "function", "mistake"),
    [
        ("fid", lambda r, f: textbook_fid(r, f, ddof=0), "ddof 0"),
        ("fid", lambda r, f: textbook_fid(r, f) ** 0.5, "root"),
        ("fid", lambda r, f: textbook_fid(r - r.mean(0), f - f.mean(0)), "means are left out"),
        ("fid", lambda r, f: float(((r.mean(0) - f.mean(0)) ** 2).sum()), "covariances are left out"),
        ("fid", batched, "batches of 100"),
        ("fid", lambda r, f: textbook_fid(r, f) + 1e-4, "imprecise"),
        ("fid", lambda r, f: 7.0, "unknown mistake: 7 instead of 1.19"),
        ("kid", biased_kid, "biased"),
        ("kid", lambda r, f: 1000 * kid(r, f), "multiplied by 1,000"),
        ("precision_recall", lambda r, f: pair(r, f)[::-1], "swapped"),
        ("precision_recall", lambda r, f: pair(r, f, strict=True), "< instead of <="),
        ("precision_recall", lambda r, f: pair(r, f, k=2), "its own nearest neighbor"),
        ("precision_recall", lambda r, f: pair(r, f, k=5), "5th neighbor"),
    ],
)
def test_mistakes_are_identified(kind: Kind, function: Metric, mistake: str) -> None:
    graded = grade(function, kind)
    assert not graded.right
    assert mistake in graded.mistakes[0]


def test_batched_metrics_depend_on_the_order() -> None:
    assert any("order of the images" in mistake for mistake in grade(batched).mistakes)
    assert len(grade(biased_kid, "kid").mistakes) == 1


def test_invalid_functions_raise_value_error() -> None:
    with pytest.raises(ValueError, match="must return 2 numbers, got 1"):
        grade(fid, "precision_recall")
    with pytest.raises(ValueError, match="unknown kind 'is': expected fid, kid"):
        grade(fid, "is")  # type: ignore[arg-type]
