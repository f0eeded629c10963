"""Learning-rate schedules at their ends, in the middle and during warm-up."""

from __future__ import annotations

import pytest

from triptych.core.lr_schedules import constant, cosine_to, warmup_cosine


def test_cosine_decays_from_one_to_its_end() -> None:
    values = [cosine_to(progress, end=0.2) for progress in (0.0, 0.5, 1.0)]
    assert values == pytest.approx([1.0, 0.6, 0.2])
    assert cosine_to(1.0) == pytest.approx(0.0)


def test_warmup_rises_linearly_above_zero_and_ends_at_zero() -> None:
    assert 0 < warmup_cosine(0.0) < 0.01
    assert warmup_cosine(0.01) == pytest.approx(0.505 * cosine_to(0.01))
    assert warmup_cosine(0.5) == pytest.approx(0.5)
    assert warmup_cosine(0.1, warmup=0.5) == pytest.approx(0.2002 * cosine_to(0.1))
    assert warmup_cosine(1.0) == pytest.approx(0.0)


def test_constant_is_one() -> None:
    assert constant(0.0) == constant(1.0) == 1.0
